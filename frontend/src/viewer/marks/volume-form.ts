/** How a PET volume is grown inside the ball that was drawn: chosen beside it, then the server measures. */
import { t } from '../../i18n';
import { button, h } from '../dom';
import type { Point2 } from '../stage';
import type { Layer, Threshold, ThresholdMethod } from '../types';

export interface Grow {
  threshold: Threshold;
  layer: number;
}

const GAP_PX = 14;

/** As it was chosen last, in this window. */
let last: { method: ThresholdMethod; value: number } = { method: '41%', value: 4 };

const METHODS: readonly ThresholdMethod[] = ['41%', '50%', 'fixed', 'percist'];

function words(method: ThresholdMethod): string {
  switch (method) {
    case '41%': return t('41 % of the maximum');
    case '50%': return t('50 % of the maximum');
    case 'fixed': return t('Fixed SUV');
    case 'percist': return t('PERCIST (1.5 × liver + 2 SD)');
  }
}

/** Opens the form beside a ball (its middle and rim in a pane); `done` is called once, with null when it was given up. Returns how to close it. */
export function volumeForm(pane: HTMLElement, middle: Point2, rim: Point2, layers: readonly Layer[], preferred: number, done: (grow: Grow | null) => void): () => void {
  let open = true;
  const close = (grow: Grow | null): void => {
    if (!open) return;
    open = false;
    form.remove();
    pane.focus({ preventScroll: true });
    done(grow);
  };
  const value = h('input', { class: 'input num', attrs: { type: 'number', min: '0.1', step: '0.1', required: '', 'aria-label': t('SUV from which a voxel belongs to the volume') } });
  value.value = String(last.value);
  const radios = METHODS.map((method) => {
    const radio = h('input', { attrs: { type: 'radio', name: 'grow', value: method } });
    radio.checked = method === last.method;
    return radio;
  });
  value.addEventListener('focus', () => {
    radios[METHODS.indexOf('fixed')]!.checked = true;
  });
  const layer = h('select', { class: 'input', attrs: { 'aria-label': t('Layer') } }, ...layers.map((one) => h('option', { text: one.label, attrs: { value: String(one.id) } })));
  layer.value = String(preferred);
  const form = h('form', { class: 'mark-form', attrs: { 'aria-label': t('Threshold of the volume') } },
    h('div', { class: 'strong small', text: t('Voxels that belong to the volume') }),
    layers.length > 1 ? layer : null,
    ...METHODS.map((method, n) => h('label', { class: 'check' }, radios[n]!, h('span', { text: words(method) }), method === 'fixed' ? value : null)),
    h('div', { class: 'row' },
      h('button', { class: 'btn btn--small btn--primary', text: t('Measure'), attrs: { type: 'submit' }, data: { grow: 'measure' } }),
      button(t('Cancel'), () => close(null), { class: 'btn btn--small btn--quiet', data: { grow: 'cancel' } })),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const method = METHODS[radios.findIndex((radio) => radio.checked)]!;
    last = { method, value: Number(value.value) };
    close({ threshold: { method, value: method === 'fixed' ? last.value : null }, layer: layers.length > 1 ? Number(layer.value) : preferred });
  });
  form.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Escape') close(null);
  });
  for (const kind of ['pointerdown', 'dblclick', 'wheel', 'contextmenu']) form.addEventListener(kind, (event) => event.stopPropagation());
  pane.append(form);
  // The lesion stays in sight: right of the ball, else left of it.
  const radius = Math.hypot(rim[0] - middle[0], rim[1] - middle[1]) + GAP_PX;
  const isRight = middle[0] + radius + form.offsetWidth <= pane.clientWidth;
  form.style.left = `${isRight ? middle[0] + radius : Math.max(middle[0] - radius - form.offsetWidth, 4)}px`;
  form.style.top = `${Math.min(Math.max(middle[1] - form.offsetHeight / 2, 4), Math.max(pane.clientHeight - form.offsetHeight - 4, 4))}px`;
  (radios.find((radio) => radio.checked) ?? radios[0]!).focus();
  return () => close(null);
}
