/** Which keys are in force: the defaults of `actions.ts`, changed by the reader's own (preference `viewer.keys`). */
import { preference, savePreference } from '../preferences';
import { type Action, ACTIONS, REPORT_KEYS, type Situation } from './actions';

/** Action id -> its keys, of those the reader changed. */
export type OwnKeys = Readonly<Record<string, readonly string[]>>;

/** Of the page, of the browser's focus, or of what must always work. */
const KEPT: ReadonlySet<string> = new Set(['Escape', 'Tab', 'Shift+Tab', ...REPORT_KEYS.map(([key]) => key)]);
/** Browsers do not give these to a page. */
const BROWSERS: ReadonlySet<string> = new Set(['Ctrl+W', 'Ctrl+N', 'Ctrl+T', 'Ctrl+Shift+W', 'Ctrl+Shift+N', 'Ctrl+Shift+T', 'Alt+F4', 'F11', 'F12', 'Ctrl+Tab', 'Ctrl+Shift+Tab']);
const MOST_KEYS = 6;
const LONGEST = 40;

export function isFree(chord: string): boolean {
  return !KEPT.has(chord) && !BROWSERS.has(chord);
}

/** What an older release, or another program, kept is taken as far as it makes sense. */
export function ownKeys(kept: unknown): OwnKeys {
  if (typeof kept !== 'object' || kept === null || Array.isArray(kept)) return {};
  const known = new Set(ACTIONS.filter((action) => !action.fixed).map((action) => action.id));
  return Object.fromEntries(Object.entries(kept).flatMap(([id, keys]) => {
    if (!known.has(id) || !Array.isArray(keys)) return [];
    const fit = keys.filter((key): key is string => typeof key === 'string' && key.length > 0 && key.length <= LONGEST && isFree(key));
    return [[id, [...new Set(fit)].slice(0, MOST_KEYS)]];
  }));
}

const slot = (chord: string, only: Situation | undefined): string => `${only ?? ''} ${chord}`;

export class Keymap {
  private readonly table = new Map<string, Action>();

  /** What the reader chose comes before any default; a default whose key is taken has one key less. */
  constructor(readonly own: OwnKeys = {}) {
    for (const action of [...ACTIONS].sort((a, b) => Number(this.isOwn(b)) - Number(this.isOwn(a)))) {
      for (const chord of own[action.id] ?? action.keys) {
        const place = slot(chord, action.only);
        if (!this.table.has(place)) this.table.set(place, action);
      }
    }
  }

  isOwn(action: Action): boolean {
    return this.own[action.id] !== undefined;
  }

  keys(action: Action): readonly string[] {
    return (this.own[action.id] ?? action.keys).filter((chord) => this.table.get(slot(chord, action.only)) === action);
  }

  keysOf(id: string): readonly string[] {
    const action = ACTIONS.find((one) => one.id === id);
    return action ? this.keys(action) : [];
  }

  find(chord: string, now: ReadonlySet<Situation>): Action | undefined {
    for (const situation of now) {
      const action = this.table.get(slot(chord, situation));
      if (action) return action;
    }
    return this.table.get(slot(chord, undefined));
  }

  /** Whose key it is that `action` would get; null when it is free. */
  taker(chord: string, action: Action): Action | null {
    const has = this.table.get(slot(chord, action.only));
    return has && has !== action ? has : null;
  }

  /** The key belongs to this action alone from now on. */
  with(action: Action, chord: string): Keymap {
    const loser = this.taker(chord, action);
    const own: Record<string, readonly string[]> = { ...this.own, [action.id]: [...this.keys(action).filter((key) => key !== chord), chord] };
    if (loser) own[loser.id] = this.keys(loser).filter((key) => key !== chord);
    return new Keymap(own);
  }

  without(action: Action, chord: string): Keymap {
    return new Keymap({ ...this.own, [action.id]: this.keys(action).filter((key) => key !== chord) });
  }

  /** Default keys again; those that another action was given stay there. */
  reset(action: Action): Keymap {
    const { [action.id]: _, ...rest } = this.own;
    return new Keymap(rest);
  }
}

let inForce = new Keymap();
const listeners: (() => void)[] = [];

export function keymap(): Keymap {
  return inForce;
}

/** As the preferences have it now. */
export function loadKeymap(): void {
  inForce = new Keymap(ownKeys(preference('viewer.keys')));
  for (const listener of listeners) listener();
}

/** In force at once; resolves when the server has it. */
export function saveKeymap(changed: Keymap): Promise<void> {
  const sent = savePreference('viewer.keys', Object.keys(changed.own).length ? changed.own : null);
  loadKeymap();
  return sent;
}

export function onKeymap(listener: () => void): void {
  listeners.push(listener);
}

const SIGNS: Record<string, string> = {
  ArrowDown: '↓', ArrowUp: '↑', ArrowLeft: '←', ArrowRight: '→', PageDown: 'PgDn', PageUp: 'PgUp', Escape: 'Esc', Delete: 'Del', Backspace: '⌫',
};

/** `Shift+ArrowLeft` as a person reads it: `Shift+←`. */
export function keyLabel(chord: string): string {
  const [held = ''] = /^(?:(?:Ctrl|Alt|Shift)\+(?=.))*/.exec(chord) ?? [];
  const key = chord.slice(held.length);
  return held + (SIGNS[key] ?? (key.length === 1 ? key.toUpperCase() : key));
}

/** Writes the keys in force beside what does the same: titles, and the key of a menu's line (`data-command`). */
export function showKeys(root: ParentNode): void {
  for (const element of root.querySelectorAll<HTMLElement>('[data-command]')) {
    titled(element, element.dataset['title'] ?? element.title);
    const kbd = element.querySelector<HTMLElement>(':scope > .kbd');
    if (!kbd) continue;
    kbd.textContent = keysSaid(element)[0] ?? '';
    kbd.hidden = !kbd.textContent;
  }
}

/** A title, and the keys of the element's command after it. */
export function titled(element: HTMLElement, text: string): void {
  element.dataset['title'] = text;
  const keys = keysSaid(element);
  element.title = text && keys.length ? `${text} (${keys.join(', ')})` : text;
}

function keysSaid(element: HTMLElement): string[] {
  return inForce.keysOf(element.dataset['command'] ?? '').map(keyLabel);
}
