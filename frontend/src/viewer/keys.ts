/** Keyboard: one table, shown by the help dialog as it is. Off while a text field has the focus. */
import { t } from '../i18n';
import type { Commands } from './commands';
import type { ReaderTools } from './reader-tools';

export interface Binding {
  keys: readonly string[];
  help: string;
  group: 'Slices' | 'Window and colours' | 'Layers' | 'Tools' | 'Compare' | 'Align' | 'View';
  run: (commands: Commands, extra: ExtraActions, key: string) => void;
}

export interface ExtraActions {
  help(): void;
  cancel(): void;
  stepFinding(step: number): void;
  layouts(): void;
  tools: ReaderTools;
  /** Keys that mean something else while a layer is aligned; true when one was used. */
  aligning(event: KeyboardEvent): boolean;
}

const FAR = 10;
const LAYOUT_KEYS = ['1', '2', '3', '4', '5', '6', '7', '8', '9'].map((digit) => `Shift+${digit}`);

export const BINDINGS: readonly Binding[] = [
  { keys: ['ArrowDown', 'ArrowUp'], help: t('Next / previous slice'), group: 'Slices', run: (c, _, key) => c.scroll(key === 'ArrowDown' ? 1 : -1) },
  { keys: ['PageDown', 'PageUp'], help: t('Ten slices on / back'), group: 'Slices', run: (c, _, key) => c.scroll(key === 'PageDown' ? FAR : -FAR) },
  { keys: ['Home', 'End'], help: t('First / last slice'), group: 'Slices', run: (c, _, key) => c.scroll(key === 'End' ? 1e6 : -1e6) },
  { keys: ['ArrowLeft', 'ArrowRight'], help: t('Previous / next pane'), group: 'Slices', run: (c, _, key) => c.nextPane(key === 'ArrowRight' ? 1 : -1) },
  { keys: ['n', 'b'], help: t('Next / previous finding'), group: 'Slices', run: (_c, extra, key) => extra.stepFinding(key === 'n' ? 1 : -1) },
  {
    keys: ['1', '2', '3', '4', '5', '6', '7', '8', '9', '0'],
    help: t('Window preset of the active layer, as numbered in the list (body part first)'),
    group: 'Window and colours',
    run: (c, _, key) => c.preset((Number(key) + 9) % 10),
  },
  { keys: ['i'], help: t('Invert the active layer'), group: 'Window and colours', run: (c) => c.invert() },
  { keys: ['f'], help: t('Fusion on / off'), group: 'Layers', run: (c) => c.toggleFusion() },
  { keys: ['e'], help: t('AI marks, heatmap and outlines on / off'), group: 'Layers', run: (c) => c.toggleAi() },
  { keys: ['[', ']'], help: t('Less / more opacity of the fused layer'), group: 'Layers', run: (c, _, key) => c.opacityBy(key === ']' ? 0.1 : -0.1) },
  { keys: [',', '.'], help: t('Previous / next volume of the active series (phase, b-value, echo)'), group: 'Layers', run: (c, _, key) => c.stepSibling(key === '.' ? 1 : -1) },
  { keys: ['w'], help: t('Window tool (left drag: right = wider, down = darker)'), group: 'Tools', run: (c) => c.setTool('window') },
  { keys: ['c'], help: t('Crosshair tool (click jumps the other panes)'), group: 'Tools', run: (c) => c.setTool('crosshair') },
  { keys: ['l'], help: t('Length tool'), group: 'Tools', run: (c) => c.setTool('length') },
  { keys: ['p'], help: t('Probe tool: every fused layer in its unit'), group: 'Tools', run: (c) => c.setTool('probe') },
  { keys: ['Shift+L'], help: t('Long and short axis (RECIST): drag the long one, then the short one'), group: 'Tools', run: (c) => c.setTool('bidirectional') },
  { keys: ['Shift+A'], help: t('Angle'), group: 'Tools', run: (c) => c.setTool('angle') },
  { keys: ['Shift+E', 'Shift+O'], help: t('Ellipse / freehand region'), group: 'Tools', run: (c, _, key) => c.setTool(key === 'Shift+E' ? 'ellipse' : 'freehand') },
  { keys: ['u', 'Shift+U'], help: t('PET volume by threshold / sphere'), group: 'Tools', run: (c, _, key) => c.setTool(key === 'u' ? 'threshold' : 'sphere') },
  { keys: ['Shift+P', 'Shift+T'], help: t('Arrow / text'), group: 'Tools', run: (c, _, key) => c.setTool(key === 'Shift+P' ? 'arrow' : 'text') },
  { keys: ['Shift+K'], help: t('Keep the pane as a key image'), group: 'Tools', run: (_c, extra) => void extra.tools.keepImage() },
  { keys: ['Delete', 'Backspace'], help: t('Delete the selected mark (Ctrl+Z brings it back)'), group: 'Tools', run: (_c, extra) => void extra.tools.hand.remove() },
  { keys: ['Ctrl+Z', 'Ctrl+Y'], help: t('Undo / redo: drawing, moving, deleting, labels'), group: 'Tools', run: (_c, extra, key) => void (key === 'Ctrl+Z' ? extra.tools.undo() : extra.tools.redo()) },
  { keys: ['z', 'Shift+Z', 'q'], help: t('Zoom / pan / scroll with the left button'), group: 'Tools', run: (c, _, key) => c.setTool(key === 'z' ? 'zoom' : key === 'q' ? 'scroll' : 'pan') },
  { keys: ['j'], help: t('Magnifier while held'), group: 'Tools', run: (_c, extra) => extra.tools.holdLens(true) },
  { keys: ['y'], help: t('Cine: play / stop'), group: 'Slices', run: (_c, extra) => extra.tools.toggleCine() },
  { keys: ['h', 'Shift+H'], help: t('Flip left to right / top to bottom'), group: 'View', run: (c, extra, key) => (key === 'h' ? c.view.flip() : extra.tools.flipVertically()) },
  { keys: ['Shift+ArrowRight', 'Shift+ArrowLeft'], help: t('Turn a quarter right / left'), group: 'View', run: (c, _, key) => c.view.turn(key === 'Shift+ArrowRight' ? 1 : -1) },
  { keys: ['k'], help: t('Checkerboard of reference and moving layer; again: blend'), group: 'Compare', run: (c) => c.setCompare('checkerboard') },
  { keys: ['s'], help: t('Swipe: reference left of the divider, moving layer right'), group: 'Compare', run: (c) => c.setCompare('swipe') },
  { keys: ['g'], help: t('Edges of the moving layer over the reference'), group: 'Compare', run: (c) => c.setCompare('edges') },
  { keys: ['d'], help: t('Difference (says most within one modality)'), group: 'Compare', run: (c) => c.setCompare('difference') },
  { keys: ['-', '+', '='], help: t('Smaller / larger tiles, fewer / more edges, divider left / right'), group: 'Compare', run: (c, _, key) => c.amountBy(key === '-' ? -1 : 1) },
  { keys: ['v'], help: t('Side by side: reference and moving series in its own space, cursors linked'), group: 'Compare', run: (c) => c.toggleBeside() },
  { keys: ['m'], help: t('Landmark tool: the same spot in both images'), group: 'Align', run: (c) => c.setTool('landmark') },
  { keys: ['a'], help: t('Align the layer by hand (its own keys below)'), group: 'Align', run: (c) => c.setTool('align') },
  { keys: ['o'], help: t('Layouts that suit the case'), group: 'View', run: (_c, extra) => extra.layouts() },
  { keys: LAYOUT_KEYS, help: t('Layout 1 to 9, as numbered in the list'), group: 'View', run: (c, _, key) => c.view.choose(Number(key.slice(-1)) - 1) },
  { keys: ['Shift+V'], help: t('Patient planes / planes as acquired'), group: 'View', run: (c) => c.view.togglePlanes() },
  { keys: ['Shift+M'], help: t('Slab of the pane: none, MIP, MinIP, mean'), group: 'View', run: (c) => c.view.nextSlab() },
  { keys: ['Shift+X'], help: t('Handles that turn the crossing planes (oblique)'), group: 'View', run: (c) => c.view.toggleHandles() },
  { keys: ['x'], help: t('Crosshair lines on / off'), group: 'View', run: (c) => c.toggleCrosshair() },
  { keys: ['t'], help: t('Text on / off (orientation stays)'), group: 'View', run: (c) => c.toggleText() },
  { keys: ['r', ' '], help: t('Reset zoom, pan, windows'), group: 'View', run: (c) => c.reset() },
  { keys: ['Enter'], help: t('One pane / all panes (also double click)'), group: 'View', run: (c) => c.toggleOneUp(c.scene.store.state.pane) },
  { keys: ['?'], help: t('This help'), group: 'View', run: (_c, extra) => extra.help() },
  { keys: ['Escape'], help: t('Close or cancel'), group: 'View', run: (_c, extra) => extra.cancel() },
];

/** While "Align by hand" is on; Shift makes a fifth of the step. Shown by the help dialog. */
export const ALIGN_KEYS: readonly (readonly [readonly string[], string])[] = [
  [['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], t('move the layer by one step (1 mm)')],
  [[',', '.'], t('turn it left / right about the pane’s centre (1°)')],
  [['Shift'], t('with these: a fifth of the step')],
  [['Ctrl+Z', 'Ctrl+Y'], t('undo / redo')],
];

/** `Shift+L`, `Ctrl+Z`, `ArrowLeft`, `l`. Ctrl+Shift+Z is the redo of Macs. */
export function chordOf({ key, code, ctrlKey, metaKey, shiftKey }: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey'> & { code?: string }): string {
  const isLetter = /^[a-z]$/i.test(key);
  if (ctrlKey || metaKey) return shiftKey && key.toLowerCase() === 'z' ? 'Ctrl+Y' : `Ctrl+${isLetter ? key.toUpperCase() : key}`;
  // What Shift makes of a digit depends on the keyboard.
  const digit = /^Digit([1-9])$/.exec(code ?? '');
  if (shiftKey && digit) return `Shift+${digit[1]}`;
  if (shiftKey && (isLetter || key.startsWith('Arrow'))) return `Shift+${isLetter ? key.toUpperCase() : key}`;
  return isLetter ? key.toLowerCase() : key;
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

export function installKeys(root: HTMLElement, commands: () => Commands | null, extra: ExtraActions): void {
  window.addEventListener('keydown', (event) => {
    if (typingIn(event.target, event.key)) return;
    if (!belongsToPage(event.target, event.key, root) && extra.aligning(event)) {
      event.preventDefault();
      return;
    }
    if (event.altKey || belongsToPage(event.target, event.key, root)) return;
    const named = chordOf(event);
    const plain = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const bound = (wanted: string): Binding | undefined => BINDINGS.find((candidate) => candidate.keys.includes(wanted));
    // Shift alone changes nothing where no key with it is bound; Ctrl belongs to the browser there.
    const held = event.ctrlKey || event.metaKey;
    const key = bound(named) || held ? named : plain;
    const binding = bound(key);
    const current = commands();
    if (!binding || !current) return;
    event.preventDefault();
    binding.run(current, extra, key);
  });
}
