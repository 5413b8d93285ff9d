/** Keyboard: from a key to the action it has now (`keymap.ts`). Off while a text field has the focus. */
import { type ExtraActions, type Situation } from './actions';
import type { Commands } from './commands';
import { keymap } from './keymap';
import { isMarkTool } from './marks/tools';

type Pressed = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey'> & { code?: string; altKey?: boolean; getModifierState?: (name: string) => boolean };

/**
 * `Shift+L`, `Ctrl+Z`, `ArrowLeft`, `l`, `Ctrl+Shift+ArrowUp`, `?`. Letters by what is printed on the key; where that is
 * no Latin letter (Cyrillic, or Alt on a Mac), by the key's place. Shift is not named beside signs that need it.
 */
export function chordOf(event: Pressed): string {
  const { code = '', shiftKey } = event;
  // AltGr makes signs: on many keyboards [ ] are typed so.
  const isSign = event.getModifierState?.('AltGraph') ?? false;
  const ctrl = (event.ctrlKey || event.metaKey) && !isSign;
  const alt = Boolean(event.altKey) && !isSign;
  const place = /^Key([A-Z])$/.exec(code)?.[1];
  // What Shift makes of a digit depends on the keyboard.
  const digit = /^Digit([0-9])$/.exec(code)?.[1];
  let key = event.key === ' ' ? 'Space' : event.key;
  if (place && (alt || !/^[\x20-\x7e]+$/.test(key))) key = place;
  else if (digit && (shiftKey || alt || ctrl) && !isSign) key = digit;
  const isLetter = /^[a-z]$/i.test(key);
  const named = isLetter || key.length > 1 || /^[0-9]$/.test(key);
  const shift = shiftKey && named;
  if (isLetter) key = ctrl || alt || shift ? key.toUpperCase() : key.toLowerCase();
  return `${ctrl ? 'Ctrl+' : ''}${alt ? 'Alt+' : ''}${shift ? 'Shift+' : ''}${key}`;
}

/** True for a modifier alone, and for what an input method has not finished. */
export function isUnfinished({ key }: Pick<KeyboardEvent, 'key'>): boolean {
  return ['Shift', 'Control', 'Alt', 'Meta', 'AltGraph', 'CapsLock', 'Dead', 'Process', 'Unidentified'].includes(key);
}

/** True where letters belong to the element: text fields, and buttons for Enter and Space. */
export function typingIn(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.closest('dialog[open]')) return true;
  if (target instanceof HTMLInputElement) {
    if (['checkbox', 'radio', 'button', 'submit'].includes(target.type)) return key === ' ' || key === 'Enter';
    if (target.type === 'range') return key.startsWith('Arrow') || ['Home', 'End', 'PageUp', 'PageDown'].includes(key);
    return true;
  }
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return (key === ' ' || key === 'Enter') && target.closest('button, a, summary') !== null;
}

/** True for keys that would scroll or act on a part of the page outside the viewer. */
function belongsToPage(target: EventTarget | null, key: string, root: HTMLElement): boolean {
  const scrolls = key.startsWith('Arrow') || ['PageUp', 'PageDown', 'Home', 'End', ' ', 'Enter'].includes(key);
  return scrolls && target instanceof Node && target !== document.body && !root.contains(target);
}

function situations(commands: Commands): ReadonlySet<Situation> {
  const { scene } = commands;
  const now = new Set<Situation>();
  const { tool } = scene.store.state;
  if (isMarkTool(tool) || tool === 'landmark') now.add('measuring');
  if (scene.comparing !== 'blend') now.add('comparing');
  return now;
}

export function installKeys(root: HTMLElement, commands: () => Commands | null, extra: ExtraActions): void {
  window.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || isUnfinished(event) || typingIn(event.target, event.key)) return;
    if (belongsToPage(event.target, event.key, root)) return;
    if (extra.aligning(event)) {
      event.preventDefault();
      return;
    }
    const current = commands();
    if (!current) return;
    const now = situations(current);
    const chord = chordOf(event);
    // Shift alone changes nothing where no key with it is bound.
    const plain = /^Shift\+(.+)$/.exec(chord)?.[1];
    const action = keymap().find(chord, now) ?? (plain ? keymap().find(plain.length === 1 ? plain.toLowerCase() : plain, now) : undefined);
    if (!action) return;
    event.preventDefault();
    action.run(current, extra);
  });
}
