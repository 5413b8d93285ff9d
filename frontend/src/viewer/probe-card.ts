/** The answer of the probe beside the point that was clicked: every fused layer in its own unit. */
import { t } from '../i18n';
import type { Vec3 } from '../affine';
import { button, h } from './dom';
import type { Point2 } from './stage';
import type { ProbeValue } from './types';

export class ProbeCard {
  private readonly element = h('div', { class: 'probe-card', attrs: { role: 'status' } });

  show(pane: HTMLElement, at: Point2, point: Vec3, values: readonly ProbeValue[], keep: HTMLElement | null): void {
    const rows = values.map((value) => h('tr', { data: { layer: String(value.layer) } }, h('td', { text: value.label }), h('td', { class: 'right num strong', text: value.text })));
    this.element.replaceChildren(
      h('table', {}, h('tbody', {}, ...rows)),
      h('div', { class: 'muted small num', text: `${point.map((mm) => mm.toFixed(1).replace('-', '−')).join(', ')} mm` }),
      h('div', { class: 'row' }, keep, button(t('Close'), () => this.hide(), { class: 'btn btn--small btn--quiet' })),
    );
    this.element.addEventListener('pointerdown', (event) => event.stopPropagation());
    pane.append(this.element);
    // Beside the point, on whichever side has room.
    const [x, y] = at;
    const right = x + 16 + this.element.offsetWidth <= pane.clientWidth;
    const top = Math.min(Math.max(y - 20, 4), Math.max(pane.clientHeight - this.element.offsetHeight - 4, 4));
    this.element.style.left = `${right ? x + 16 : Math.max(x - 16 - this.element.offsetWidth, 4)}px`;
    this.element.style.top = `${top}px`;
  }

  hide(): void {
    this.element.remove();
  }
}
