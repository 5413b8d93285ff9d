/** The cheat sheet: keys in force and mouse, by group, in two columns; it can be printed. */
import { t } from '../i18n';
import { type Action, ACTIONS, ALIGN_KEYS, type Group, GROUP_NAMES, REPORT_KEYS } from './actions';
import { button, h } from './dom';
import { keyLabel, keymap } from './keymap';
import { mouse, mouseWords, SCHEME_NAMES } from './mouse';

type Row = readonly [readonly string[], string];

/** More keys than one action may have (`MOST_KEYS`): a family. */
const RUN = 6;

function kbd(chord: string): HTMLElement {
  return h('kbd', { class: 'kbd', text: keyLabel(chord) });
}

function section(name: string, rows: readonly Node[]): HTMLElement {
  return h('section', {}, h('h3', { text: name }), h('dl', { class: 'facts small' }, ...rows));
}

function keyRows(rows: readonly Row[]): Node[] {
  return rows.flatMap(([keys, text]) => {
    // Digits in a row are said by the first and the last.
    const shown = keys.length > RUN ? [kbd(keys[0]!), ' … ', kbd(keys.at(-1)!)] : keys.flatMap((key) => [kbd(key), ' ']);
    return [h('dt', {}, ...shown), h('dd', { text })];
  });
}

/** Actions alike share a line. An action without a key is not on the sheet. */
function rowsOf(group: Group): Row[] {
  const map = keymap();
  const rows = new Map<string, string[]>();
  const said = ({ family, name }: Action): string => family ?? name;
  for (const action of ACTIONS.filter((one) => one.group === group)) {
    const keys = map.keys(action);
    if (keys.length) rows.set(said(action), [...(rows.get(said(action)) ?? []), ...keys]);
  }
  return [...rows].map(([text, keys]) => [keys, text]);
}

export class CheatSheet {
  readonly element = h('dialog', { class: 'dialog dialog--wide key-sheet', attrs: { 'aria-label': t('Keys and mouse') } });

  constructor(private readonly change: () => void) {}

  open(): void {
    const groups = (Object.keys(GROUP_NAMES) as Group[]).map((group) => section(GROUP_NAMES[group], [
      ...keyRows(rowsOf(group)),
      ...(group === 'align' ? keyRows(ALIGN_KEYS) : []),
    ]));
    const chosen = mouse();
    const words = mouseWords(chosen).flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text })]);
    this.element.replaceChildren(
      h('header', {},
        h('h2', { text: t('Keys and mouse') }),
        h('div', { class: 'row' },
          button(t('Change'), () => {
            this.element.close();
            this.change();
          }, { data: { action: 'change-keys' } }),
          button(t('Print'), () => window.print(), { data: { action: 'print-keys' } }),
          button(t('Close'), () => this.element.close()))),
      h('div', { class: 'key-columns' },
        ...groups,
        section(t('Report'), keyRows(REPORT_KEYS.map(([key, text]) => [[key], text]))),
        section(t('Mouse: {scheme}', { scheme: SCHEME_NAMES[chosen.scheme] }), words)),
      h('p', { class: 'muted small', text: t('Keys rest while a text field has the focus, except those of the report. Values of length and probe are computed on the server from the stored geometry.') }),
    );
    if (!this.element.open) this.element.showModal();
  }
}
