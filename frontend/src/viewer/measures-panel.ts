/** Stored measurements: the server's values, with who measured. */
import { button, h } from './dom';
import type { Measurement } from './types';

export interface MeasureActions {
  goto(measurement: Measurement): void;
  remove(measurement: Measurement): void;
}

export class MeasuresPanel {
  readonly element = h('div', { class: 'measures-panel' });
  private key = '';

  constructor(private readonly actions: MeasureActions) {}

  update(measurements: readonly Measurement[], mayMeasure: boolean): void {
    const key = JSON.stringify([measurements, mayMeasure]);
    if (key === this.key) return;
    this.key = key;
    if (!measurements.length) {
      const hint = mayMeasure ? 'Take the length tool (L) and drag, or the probe (P) and click.' : 'Claim the case to measure.';
      this.element.replaceChildren(h('div', { class: 'empty' }, h('h3', { text: 'No measurements' }), h('span', { text: hint })));
      return;
    }
    this.element.replaceChildren(
      ...measurements.map((measurement) => {
        const show = h('button', { class: 'finding-goto', title: 'Show in the images', attrs: { type: 'button' } },
          h('span', { class: 'strong num', text: measurement.text }),
          h('span', { class: 'muted small', text: `${measurement.tool}, ${measurement.by}` }),
        );
        show.addEventListener('click', () => this.actions.goto(measurement));
        const remove = mayMeasure ? button('Delete', () => this.actions.remove(measurement), { class: 'btn btn--small btn--quiet' }) : null;
        return h('div', { class: 'layer-row', data: { measurement: String(measurement.id) } }, h('div', { class: 'grow' }, show), remove);
      }),
    );
  }
}
