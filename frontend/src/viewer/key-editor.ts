/** The dialog that changes keys and mouse. Nothing is in force before Save; then it is, on every computer of the reader. */
import { t } from '../i18n';
import { type Action, ACTIONS, type Group, GROUP_NAMES } from './actions';
import { button, h } from './dom';
import { isFree, keyLabel, Keymap, keymap, saveKeymap } from './keymap';
import { chordOf, isUnfinished } from './keys';
import { mouse, type Mouse, mouseWords, saveMouse, SCHEME_NAMES, type Scheme, SCHEMES, WHEEL_SLICES } from './mouse';

const OFFERED = ACTIONS.filter((action) => !action.fixed);

export class KeyEditor {
  readonly element = h('dialog', { class: 'dialog dialog--wide key-editor', attrs: { 'aria-label': t('Change keys and mouse') } });
  private readonly search = h('input', { class: 'input', attrs: { type: 'search', placeholder: t('Search an action or a key'), 'aria-label': t('Search an action or a key') } });
  private readonly list = h('div', { class: 'key-list' });
  private readonly mouseForm = h('div', { class: 'mouse-form' });
  private readonly said = h('p', { class: 'small key-said', attrs: { role: 'status' } });
  private keys: Keymap = keymap();
  private mouse: Mouse = mouse();
  /** The action that waits for a key, and the key that another action would lose. */
  private waiting: Action | null = null;
  private asked: { action: Action; chord: string } | null = null;

  /** `saved`: the server has it. */
  constructor(private readonly saved: () => void) {
    this.search.addEventListener('input', () => this.show());
    this.element.addEventListener('keydown', (event) => this.capture(event), true);
    // Escape gives up the key that is waited for, not the dialog.
    this.element.addEventListener('cancel', (event) => {
      if (!this.waiting && !this.asked) return;
      event.preventDefault();
      this.stop();
    });
    this.element.replaceChildren(
      h('header', {}, h('h2', { text: t('Change keys and mouse') }), button(t('Close'), () => this.element.close())),
      this.mouseForm,
      h('div', { class: 'row' }, this.search, button(t('All keys as delivered'), () => this.change(new Keymap({})), { data: { action: 'reset-keys' } })),
      this.said,
      this.list,
      h('footer', {},
        button(t('Cancel'), () => this.element.close(), { class: 'btn' }),
        button(t('Save'), () => this.save(), { class: 'btn btn--primary', data: { action: 'save-keys' } })),
    );
  }

  open(): void {
    [this.keys, this.mouse, this.waiting, this.asked] = [keymap(), mouse(), null, null];
    this.search.value = '';
    this.say('');
    this.show();
    this.showMouse();
    this.element.showModal();
    this.search.focus();
  }

  private save(): void {
    this.element.close();
    void Promise.all([saveMouse(this.mouse), saveKeymap(this.keys)]).then(() => this.saved());
  }

  private change(keys: Keymap, focus?: Action): void {
    this.keys = keys;
    this.stop(focus);
  }

  private stop(focus: Action | null = this.waiting ?? this.asked?.action ?? null): void {
    [this.waiting, this.asked] = [null, null];
    this.show();
    if (focus) this.row(focus)?.querySelector<HTMLElement>('[data-key-add]')?.focus();
  }

  private say(text: string): void {
    this.said.textContent = text;
  }

  private row(action: Action): HTMLElement | null {
    return this.list.querySelector<HTMLElement>(`[data-key-row="${action.id}"]`);
  }

  // ---- the key that is pressed -------------------------------------------------------------------

  private capture(event: KeyboardEvent): void {
    const action = this.waiting;
    if (!action || event.key === 'Escape') return;
    event.preventDefault();
    event.stopPropagation();
    if (isUnfinished(event)) return;
    const chord = chordOf(event);
    if (!isFree(chord)) {
      this.say(t('{key} belongs to the page or the browser and cannot be chosen.', { key: keyLabel(chord) }));
      return;
    }
    const loser = this.keys.taker(chord, action);
    if (!loser) {
      this.say(t('{key}: {action}', { key: keyLabel(chord), action: action.name }));
      return this.change(this.keys.with(action, chord), action);
    }
    this.waiting = null;
    this.asked = { action, chord };
    this.say(t('{key} is the key of “{loser}”. It would lose it.', { key: keyLabel(chord), loser: loser.name }));
    this.show();
    this.row(action)?.querySelector<HTMLElement>('[data-key-take]')?.focus();
  }

  private await(action: Action): void {
    [this.waiting, this.asked] = [action, null];
    this.say(t('Press the key for “{action}”; Esc gives up.', { action: action.name }));
    this.show();
    this.row(action)?.querySelector<HTMLElement>('[data-key-add]')?.focus();
  }

  // ---- what is shown -----------------------------------------------------------------------------

  private show(): void {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = OFFERED.filter((action) => !wanted || action.name.toLowerCase().includes(wanted) || this.keys.keys(action).some((key) => keyLabel(key).toLowerCase() === wanted));
    const groups = [...new Set(shown.map((action) => action.group))];
    this.list.replaceChildren(
      ...groups.map((group) => this.section(group, shown.filter((action) => action.group === group))),
      ...(shown.length ? [] : [h('p', { class: 'muted', text: t('No action has this name or key.') })]),
    );
  }

  private section(group: Group, actions: readonly Action[]): HTMLElement {
    return h('section', {}, h('h3', { text: GROUP_NAMES[group] }), ...actions.map((action) => this.line(action)));
  }

  private line(action: Action): HTMLElement {
    const keys = this.keys.keys(action);
    const chips = keys.map((key) => h('span', { class: 'key-chip' },
      h('kbd', { class: 'kbd', text: keyLabel(key) }),
      button('×', () => this.change(this.keys.without(action, key), action), { class: 'btn btn--quiet btn--small', attrs: { 'aria-label': t('Take {key} away from {action}', { key: keyLabel(key), action: action.name }) } })));
    const { asked } = this;
    const taking = asked?.action === action ? [
      button(t('Take {key}', { key: keyLabel(asked.chord) }), () => {
        this.say('');
        this.change(this.keys.with(action, asked.chord), action);
      }, { class: 'btn btn--small btn--primary', data: { keyTake: '' } }),
      button(t('Leave it'), () => {
        this.say('');
        this.stop(action);
      }),
    ] : [];
    const waits = this.waiting === action;
    const add = button(waits ? t('Press a key…') : t('Add key'), () => this.await(action), { data: { keyAdd: '' }, attrs: { 'aria-pressed': String(waits), 'aria-label': t('Add a key for {action}', { action: action.name }) } });
    const reset = this.keys.isOwn(action) ? button(t('As delivered'), () => this.change(this.keys.reset(action), action), { data: { keyReset: '' } }) : null;
    return h('div', { class: 'key-line', data: { keyRow: action.id } }, h('span', { class: 'grow', text: action.name }), ...chips, ...taking, add, reset);
  }

  private showMouse(): void {
    const choose = <K extends keyof Mouse>(key: K, name: string, options: readonly (readonly [string, Mouse[K]])[]): HTMLElement => {
      const select = h('select', { class: 'input', data: { mouse: key } }, ...options.map(([text], n) => h('option', { text, attrs: { value: String(n) } })));
      select.value = String(options.findIndex(([, value]) => value === this.mouse[key]));
      select.addEventListener('change', () => {
        this.mouse = { ...this.mouse, [key]: options[Number(select.value)]![1] };
        this.showMouse();
        this.mouseForm.querySelector<HTMLElement>(`[data-mouse="${key}"]`)?.focus();
      });
      return h('label', { class: 'field' }, h('span', { text: name }), select);
    };
    this.mouseForm.replaceChildren(
      h('div', { class: 'row' },
        choose<'scheme'>('scheme', t('Mouse'), SCHEMES.map((one): [string, Scheme] => [SCHEME_NAMES[one], one])),
        choose<'darker'>('darker', t('Dragging a window darker'), [[t('down'), 'down'], [t('up'), 'up']]),
        choose<'slices'>('slices', t('Slices a notch of the wheel'), WHEEL_SLICES.map((n): [string, number] => [String(n), n]))),
      h('dl', { class: 'facts small mouse-words' }, ...mouseWords(this.mouse).flatMap(([name, text]) => [h('dt', { text: name }), h('dd', { text })])),
    );
  }
}
