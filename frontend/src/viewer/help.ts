/** The `?` dialog: keys and mouse, from the same table that makes them work. */
import { t } from '../i18n';
import { button, h } from './dom';
import { ALIGN_KEYS, BINDINGS, type Binding } from './keys';

const NAMES: Record<string, string> = {
  ArrowDown: '↓', ArrowUp: '↑', ArrowLeft: '←', ArrowRight: '→', PageDown: 'PgDn', PageUp: 'PgUp', ' ': 'Space', Escape: 'Esc',
};

const REPORT: readonly (readonly [string, string])[] = [
  ['F2', t('to the report text')],
  ['Ctrl+Enter', t('open sign-off')],
];

const MOUSE: readonly (readonly [string, string])[] = [
  [t('Left drag'), t('the active tool')],
  [t('Right drag'), t('zoom')],
  [t('Middle drag'), t('pan')],
  [t('Wheel'), t('slices (Shift: five at once, Ctrl: zoom)')],
  [t('Double click'), t('one pane and back')],
  [t('Click on a mark'), t('select that finding')],
];

const GROUPS: Record<Binding['group'], string> = {
  Slices: t('Slices'), 'Window and colours': t('Window and colours'), Layers: t('Layers'), Tools: t('Tools'),
  Compare: t('Compare'), Align: t('Align'), View: t('View'),
};

function kbd(key: string): HTMLElement {
  return h('kbd', { class: 'kbd', text: NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key) });
}

export function helpDialog(): HTMLDialogElement {
  const groups = [...new Set(BINDINGS.map((binding) => binding.group))];
  const section = (group: Binding['group']): HTMLElement =>
    h('section', {},
      h('h3', { text: GROUPS[group] }),
      h('dl', { class: 'facts small' },
        ...BINDINGS.filter((binding) => binding.group === group).flatMap((binding) => [
          h('dt', {}, ...binding.keys.flatMap((key) => [kbd(key), ' '])),
          h('dd', { text: binding.help }),
        ]),
        ...(group === 'Align' ? ALIGN_KEYS.flatMap(([keys, text]) => [h('dt', {}, ...keys.flatMap((key) => [kbd(key), ' '])), h('dd', { text })]) : [])),
    );
  const mouse = h('section', {},
    h('h3', { text: t('Mouse') }),
    h('dl', { class: 'facts small' }, ...MOUSE.flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text })])),
  );
  const report = h('section', {},
    h('h3', { text: t('Report') }),
    h('dl', { class: 'facts small' }, ...REPORT.flatMap(([name, text]) => [h('dt', {}, h('kbd', { class: 'kbd', text: name })), h('dd', { text })])),
  );
  const dialog = h('dialog', { class: 'dialog dialog--wide', attrs: { 'aria-label': t('Keys and mouse') } });
  dialog.append(
    h('header', {}, h('h2', { text: t('Keys and mouse') }), button(t('Close'), () => dialog.close())),
    h('div', { class: 'columns' }, ...groups.map(section), report, mouse),
    h('p', { class: 'muted small', text: t('Keys rest while a text field has the focus, except those of the report. Values of length and probe are computed on the server from the stored geometry.') }),
  );
  return dialog;
}
