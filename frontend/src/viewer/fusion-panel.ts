/** What is behind a fusion badge: method, quality figures, verdict, and the reader's decision. */
import { type Mat4, multiply, rigidAbout, type Vec3 } from '../affine';
import { badgeLevel, badgeText } from './badge';
import { button, h } from './dom';
import type { DecisionKind, Layer, QualityFigure } from './types';

export interface FusionActions {
  centre(layer: Layer): Vec3;
  preview(layer: Layer, matrix: Mat4 | null): void;
  decide(layer: Layer, decision: DecisionKind, reason: string, matrix: Mat4 | null): Promise<boolean>;
  showAlone(layer: Layer): void;
  close(): void;
}

const STEPS: readonly (readonly [name: string, text: string, step: string, unit: string])[] = [
  ['tx', 'Left +', '0.5', 'mm'],
  ['ty', 'Back +', '0.5', 'mm'],
  ['tz', 'Head +', '0.5', 'mm'],
  ['rx', 'About left–right', '0.5', '°'],
  ['ry', 'About front–back', '0.5', '°'],
  ['rz', 'About head–feet', '0.5', '°'],
];

/** Names and units come as the analysis writes them: "estimated_error", "deg". */
function readable(name: string): string {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
const UNITS: Record<string, string> = { '1': '', deg: '°' };

function qualityTable(quality: readonly QualityFigure[]): HTMLElement | null {
  if (!quality.length) return null;
  const rows = quality.map((figure) => {
    const mark = figure.passed === null ? '' : figure.passed ? 'passed' : 'failed';
    return h('tr', {},
      h('td', { text: readable(figure.name), title: figure.basis }),
      h('td', { class: 'right num', text: `${String(Number(figure.value.toPrecision(4))).replace('-', '−')} ${UNITS[figure.unit] ?? figure.unit}` }),
      h('td', {}, mark ? h('span', { class: `badge badge--${figure.passed ? 'ok' : 'bad'}`, text: mark }) : ''),
    );
  });
  const head = h('tr', {}, h('th', { text: 'Quality figure' }), h('th', { class: 'right', text: 'Value' }), h('th', { text: '' }));
  return h('table', { class: 'table table--dense' }, h('thead', {}, head), h('tbody', {}, ...rows));
}

function facts(layer: Layer): HTMLElement {
  const { fusion } = layer;
  const list = h('dl', { class: 'facts small' });
  const add = (name: string, value: string): void => {
    if (value) list.append(h('dt', { text: name }), h('dd', { text: value }));
  };
  add('Method', fusion.method);
  add('Version', fusion.version);
  add('Verdict', fusion.verdict);
  if (fusion.decision) {
    const { decision, by, at, reason } = fusion.decision;
    add('Decision', `${decision} by ${by}, ${new Date(at).toLocaleString('sv-SE', { dateStyle: 'short', timeStyle: 'short' })}`);
    add('Reason', reason);
  }
  return list;
}

function nudgeForm(layer: Layer, actions: FusionActions, reason: () => string): HTMLElement {
  const form = h('form', { class: 'nudge', attrs: { 'aria-label': 'Nudge the registration' } });
  const inputs = STEPS.map(([name, text, step, unit]) => {
    const input = h('input', { class: 'input', attrs: { type: 'number', name, step, value: '0', 'aria-label': `${text} in ${unit}` } });
    form.append(h('label', { class: 'small' }, h('span', { text: `${text}, ${unit}` }), input));
    return input;
  });
  const matrix = (): Mat4 => {
    const [tx, ty, tz, rx, ry, rz] = inputs.map((input) => Number(input.value) || 0) as [number, number, number, number, number, number];
    return multiply(rigidAbout(actions.centre(layer), [tx, ty, tz], [rx, ry, rz]), layer.matrix);
  };
  form.addEventListener('input', () => actions.preview(layer, matrix()));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void actions.decide(layer, 'nudged', reason(), matrix());
  });
  const reset = button('Undo', () => {
    for (const input of inputs) input.value = '0';
    actions.preview(layer, null);
  });
  const store = h('button', { class: 'btn btn--small btn--primary', text: 'Store nudge', attrs: { type: 'submit' } });
  form.append(h('div', { class: 'row nudge-actions' }, store, reset, h('span', { class: 'muted small', text: 'Preview only until stored.' })));
  return form;
}

function decisions(layer: Layer, actions: FusionActions): Node[] {
  const reason = h('input', { class: 'input', attrs: { type: 'text', placeholder: 'Reason (kept with the decision)', 'aria-label': 'Reason' } });
  const act = (decision: DecisionKind) => () => void actions.decide(layer, decision, reason.value.trim(), null);
  const accept = button('Accept', act('accepted'), { class: 'btn btn--small btn--primary', data: { decision: 'accepted' } });
  accept.disabled = layer.fusion.verdict === 'refused';
  const reject = button('Reject', act('rejected'), { class: 'btn btn--small btn--danger', data: { decision: 'rejected' } });
  return [
    h('h3', { text: 'Your decision' }),
    reason,
    h('div', { class: 'row' }, accept, reject),
    h('h3', { text: 'Nudge' }),
    nudgeForm(layer, actions, () => reason.value.trim()),
  ];
}

export function fusionPanel(layer: Layer, mayDecide: boolean, actions: FusionActions): HTMLElement {
  const { fusion } = layer;
  const close = button('Back', () => {
    actions.preview(layer, null);
    actions.close();
  });
  const hasDecision = layer.registration_id !== null && fusion.state !== 'reference';
  const alone = layer.kind === 'series' ? button('Show alone', () => actions.showAlone(layer), { title: 'This series in its own space, nothing over it' }) : null;
  return h('section', { class: 'fusion-panel stack', attrs: { 'aria-label': `Fusion of ${layer.label}` } },
    h('header', { class: 'spread' }, h('h2', { text: layer.label }), h('div', { class: 'row' }, alone, close)),
    h('div', {}, h('span', { class: `badge badge--${badgeLevel(layer)}`, text: badgeText(layer) })),
    facts(layer),
    fusion.reasons.length ? h('ul', { class: 'small' }, ...fusion.reasons.map((text) => h('li', { text }))) : null,
    qualityTable(fusion.quality),
    ...(hasDecision && mayDecide ? decisions(layer, actions) : []),
    hasDecision && !mayDecide ? h('p', { class: 'muted small', text: 'Claim the case to accept, nudge or reject this registration.' }) : null,
    ...layer.notices.map((notice) => h('div', { class: `notice ${notice.severity === 'info' ? '' : notice.severity === 'refused' ? 'notice--bad' : 'notice--warn'}` }, h('span', { text: notice.message }))),
  );
}
