/** The `?` dialog: keys and mouse, from the same table that makes them work. */
import { button, h } from './dom';
import { ALIGN_KEYS, BINDINGS } from './keys';

const NAMES: Record<string, string> = {
  ArrowDown: '↓', ArrowUp: '↑', ArrowLeft: '←', ArrowRight: '→', PageDown: 'PgDn', PageUp: 'PgUp', ' ': 'Space', Escape: 'Esc',
};

const REPORT: readonly (readonly [string, string])[] = [
  ['F2', 'to the report text'],
  ['Ctrl+Enter', 'open sign-off'],
];

const MOUSE: readonly (readonly [string, string])[] = [
  ['Left drag', 'the active tool'],
  ['Right drag', 'zoom'],
  ['Middle drag', 'pan'],
  ['Wheel', 'slices (Shift: five at once, Ctrl: zoom)'],
  ['Double click', 'one pane and back'],
  ['Click on a mark', 'select that finding'],
];

function kbd(key: string): HTMLElement {
  return h('kbd', { class: 'kbd', text: NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key) });
}

export function helpDialog(): HTMLDialogElement {
  const groups = [...new Set(BINDINGS.map((binding) => binding.group))];
  const section = (group: string): HTMLElement =>
    h('section', {},
      h('h3', { text: group }),
      h('dl', { class: 'facts small' },
        ...BINDINGS.filter((binding) => binding.group === group).flatMap((binding) => [
          h('dt', {}, ...binding.keys.flatMap((key) => [kbd(key), ' '])),
          h('dd', { text: binding.help }),
        ]),
        ...(group === 'Align' ? ALIGN_KEYS.flatMap(([keys, text]) => [h('dt', {}, ...keys.flatMap((key) => [kbd(key), ' '])), h('dd', { text })]) : [])),
    );
  const mouse = h('section', {},
    h('h3', { text: 'Mouse' }),
    h('dl', { class: 'facts small' }, ...MOUSE.flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text })])),
  );
  const report = h('section', {},
    h('h3', { text: 'Report' }),
    h('dl', { class: 'facts small' }, ...REPORT.flatMap(([name, text]) => [h('dt', {}, h('kbd', { class: 'kbd', text: name })), h('dd', { text })])),
  );
  const dialog = h('dialog', { class: 'dialog dialog--wide', attrs: { 'aria-label': 'Keys and mouse' } });
  dialog.append(
    h('header', {}, h('h2', { text: 'Keys and mouse' }), button('Close', () => dialog.close())),
    h('div', { class: 'columns' }, ...groups.map(section), report, mouse),
    h('p', { class: 'muted small', text: 'Keys rest while a text field has the focus, except those of the report. Values of length and probe are computed on the server from the stored geometry.' }),
  );
  return dialog;
}
