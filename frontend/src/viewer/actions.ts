/** Everything a reader can do by one key: its stable name, what it says, its default keys. The keys in force: `keymap.ts`. */
import { t } from '../i18n';
import type { Commands } from './commands';
import type { ReaderTools } from './reader-tools';
import type { Tool } from './state';

export type Group = 'slices' | 'window' | 'layers' | 'tools' | 'crosshair' | 'compare' | 'align' | 'view' | 'page';
/** An action that is only there in a situation; its key may mean something else outside. */
export type Situation = 'measuring' | 'comparing';

export interface ExtraActions {
  help(): void;
  editKeys(): void;
  cancel(): void;
  stepFinding(step: number): void;
  layouts(): void;
  secondWindow(): void;
  focusOn(part: 'toolbar' | 'side'): void;
  /** Moves the crosshair by mm to the right and down, as the pane with the focus is drawn. */
  moveCrosshair(right: number, down: number): void;
  /** A point of the tool in hand, at the crosshair. */
  placePoint(): void;
  tools: ReaderTools;
  /** Keys that mean something else while a layer is aligned; true when one was used. */
  aligning(event: KeyboardEvent): boolean;
}

export interface Action {
  /** Kept in preferences: never renamed. */
  id: string;
  name: string;
  group: Group;
  keys: readonly string[];
  only?: Situation;
  /** Actions alike, by number: one line of the cheat sheet. */
  family?: string;
  /** Always on its keys: not offered for change. */
  fixed?: true;
  run(commands: Commands, extra: ExtraActions): void;
}

const FAR = 10;
const NEAR_MM = 1;
const FAR_MM = 10;

export const GROUP_NAMES: Record<Group, string> = {
  slices: t('Slices'), window: t('Window and colours'), layers: t('Layers'), tools: t('Tools'), crosshair: t('Crosshair by keys'),
  compare: t('Compare'), align: t('Align'), view: t('View'), page: t('Page'),
};

const tool = (which: Tool, name: string, key: string, group: Group = 'tools'): Action => ({ id: `tool.${which}`, name, group, keys: [key], run: (c) => c.setTool(which) });
const crosshair = (where: string, name: string, key: string, right: number, down: number): Action => ({
  id: `crosshair.${where}`, name, group: 'crosshair', keys: [key], run: (_c, extra) => extra.moveCrosshair(right, down),
});

export const ACTIONS: readonly Action[] = [
  { id: 'slice.next', name: t('Next slice'), group: 'slices', keys: ['ArrowDown'], run: (c) => c.scroll(1) },
  { id: 'slice.previous', name: t('Previous slice'), group: 'slices', keys: ['ArrowUp'], run: (c) => c.scroll(-1) },
  { id: 'slice.far-next', name: t('Ten slices on'), group: 'slices', keys: ['PageDown'], run: (c) => c.scroll(FAR) },
  { id: 'slice.far-previous', name: t('Ten slices back'), group: 'slices', keys: ['PageUp'], run: (c) => c.scroll(-FAR) },
  { id: 'slice.first', name: t('First slice'), group: 'slices', keys: ['Home'], run: (c) => c.scroll(-1e6) },
  { id: 'slice.last', name: t('Last slice'), group: 'slices', keys: ['End'], run: (c) => c.scroll(1e6) },
  { id: 'slice.cine', name: t('Cine: play / stop'), group: 'slices', keys: ['y'], run: (_c, extra) => extra.tools.toggleCine() },
  { id: 'pane.next', name: t('Next pane'), group: 'slices', keys: ['ArrowRight'], run: (c) => c.nextPane(1) },
  { id: 'pane.previous', name: t('Previous pane'), group: 'slices', keys: ['ArrowLeft'], run: (c) => c.nextPane(-1) },
  { id: 'finding.next', name: t('Next finding'), group: 'slices', keys: ['n'], run: (_c, extra) => extra.stepFinding(1) },
  { id: 'finding.previous', name: t('Previous finding'), group: 'slices', keys: ['b'], run: (_c, extra) => extra.stepFinding(-1) },

  ...['1', '2', '3', '4', '5', '6', '7', '8', '9', '0'].map((key, n): Action => ({
    id: `preset.${n + 1}`, name: t('Window preset {n}', { n: n + 1 }), group: 'window', keys: [key],
    family: t('Window preset of the active layer, as numbered in the list (body part first)'), run: (c) => c.preset(n),
  })),
  { id: 'layer.invert', name: t('Invert the active layer'), group: 'window', keys: ['i'], run: (c) => c.invert() },

  { id: 'fusion.toggle', name: t('Fusion on / off'), group: 'layers', keys: ['f'], run: (c) => c.toggleFusion() },
  { id: 'ai.toggle', name: t('AI marks, heatmap and outlines on / off'), group: 'layers', keys: ['e'], run: (c) => c.toggleAi() },
  { id: 'opacity.less', name: t('Less opacity of the fused layer'), group: 'layers', keys: ['['], run: (c) => c.opacityBy(-0.1) },
  { id: 'opacity.more', name: t('More opacity of the fused layer'), group: 'layers', keys: [']'], run: (c) => c.opacityBy(0.1) },
  { id: 'layer.next', name: t('Next layer for window and colours'), group: 'layers', keys: ['Shift+PageDown'], run: (c) => c.stepActive(1) },
  { id: 'layer.previous', name: t('Previous layer for window and colours'), group: 'layers', keys: ['Shift+PageUp'], run: (c) => c.stepActive(-1) },
  { id: 'volume.next', name: t('Next volume of the active series (phase, b-value, echo)'), group: 'layers', keys: ['.'], run: (c) => c.stepSibling(1) },
  { id: 'volume.previous', name: t('Previous volume of the active series'), group: 'layers', keys: [','], run: (c) => c.stepSibling(-1) },

  tool('window', t('Window tool'), 'w'),
  tool('crosshair', t('Crosshair tool (click jumps the other panes)'), 'c'),
  tool('length', t('Length tool'), 'l'),
  tool('probe', t('Probe tool: every fused layer in its unit'), 'p'),
  tool('bidirectional', t('Long and short axis (RECIST): drag the long one, then the short one'), 'Shift+L'),
  tool('angle', t('Angle'), 'Shift+A'),
  tool('ellipse', t('Ellipse'), 'Shift+E'),
  tool('freehand', t('Freehand region'), 'Shift+O'),
  tool('threshold', t('PET volume by threshold'), 'u'),
  tool('sphere', t('Sphere'), 'Shift+U'),
  tool('arrow', t('Arrow'), 'Shift+P'),
  tool('text', t('Text'), 'Shift+T'),
  tool('zoom', t('Zoom with the left button'), 'z'),
  tool('pan', t('Pan with the left button'), 'Shift+Z'),
  tool('scroll', t('Scroll with the left button'), 'q'),
  { id: 'lens.hold', name: t('Magnifier while held'), group: 'tools', keys: ['j'], run: (_c, extra) => extra.tools.holdLens(true) },
  { id: 'image.keep', name: t('Keep the pane as a key image'), group: 'tools', keys: ['Shift+K'], run: (_c, extra) => void extra.tools.keepImage() },
  { id: 'mark.delete', name: t('Delete the selected mark (undo brings it back)'), group: 'tools', keys: ['Delete', 'Backspace'], run: (_c, extra) => void extra.tools.hand.remove() },
  { id: 'edit.undo', name: t('Undo: drawing, moving, deleting, labels'), group: 'tools', keys: ['Ctrl+Z'], run: (_c, extra) => void extra.tools.undo() },
  { id: 'edit.redo', name: t('Redo'), group: 'tools', keys: ['Ctrl+Y', 'Ctrl+Shift+Z'], run: (_c, extra) => void extra.tools.redo() },

  crosshair('left', t('Crosshair 1 mm left'), 'Ctrl+ArrowLeft', -NEAR_MM, 0),
  crosshair('right', t('Crosshair 1 mm right'), 'Ctrl+ArrowRight', NEAR_MM, 0),
  crosshair('up', t('Crosshair 1 mm up'), 'Ctrl+ArrowUp', 0, -NEAR_MM),
  crosshair('down', t('Crosshair 1 mm down'), 'Ctrl+ArrowDown', 0, NEAR_MM),
  crosshair('far-left', t('Crosshair 10 mm left'), 'Ctrl+Shift+ArrowLeft', -FAR_MM, 0),
  crosshair('far-right', t('Crosshair 10 mm right'), 'Ctrl+Shift+ArrowRight', FAR_MM, 0),
  crosshair('far-up', t('Crosshair 10 mm up'), 'Ctrl+Shift+ArrowUp', 0, -FAR_MM),
  crosshair('far-down', t('Crosshair 10 mm down'), 'Ctrl+Shift+ArrowDown', 0, FAR_MM),
  { id: 'mark.point', name: t('With a measuring tool: a point at the crosshair'), group: 'crosshair', keys: ['Enter'], only: 'measuring', run: (_c, extra) => extra.placePoint() },

  { id: 'compare.checkerboard', name: t('Checkerboard of reference and moving layer; again: blend'), group: 'compare', keys: ['k'], run: (c) => c.setCompare('checkerboard') },
  { id: 'compare.swipe', name: t('Swipe: reference left of the divider, moving layer right'), group: 'compare', keys: ['s'], run: (c) => c.setCompare('swipe') },
  { id: 'compare.edges', name: t('Edges of the moving layer over the reference'), group: 'compare', keys: ['g'], run: (c) => c.setCompare('edges') },
  { id: 'compare.difference', name: t('Difference (says most within one modality)'), group: 'compare', keys: ['d'], run: (c) => c.setCompare('difference') },
  { id: 'compare.less', name: t('Smaller tiles, fewer edges, divider to the left'), group: 'compare', keys: ['-'], only: 'comparing', run: (c) => c.amountBy(-1) },
  { id: 'compare.more', name: t('Larger tiles, more edges, divider to the right'), group: 'compare', keys: ['+', '='], only: 'comparing', run: (c) => c.amountBy(1) },
  { id: 'compare.beside', name: t('Side by side: reference and moving series in its own space, cursors linked'), group: 'compare', keys: ['v'], run: (c) => c.toggleBeside() },

  tool('landmark', t('Landmark tool: the same spot in both images'), 'm', 'align'),
  tool('align', t('Align the layer by hand (its own keys below)'), 'a', 'align'),

  { id: 'view.zoom-in', name: t('Zoom in'), group: 'view', keys: ['+'], run: (c) => c.zoomBy(1.25) },
  { id: 'view.zoom-out', name: t('Zoom out'), group: 'view', keys: ['-'], run: (c) => c.zoomBy(0.8) },
  { id: 'view.reset', name: t('Reset zoom, pan, windows'), group: 'view', keys: ['r', 'Space'], run: (c) => c.reset() },
  { id: 'view.one-up', name: t('One pane / all panes (also double click)'), group: 'view', keys: ['Enter'], run: (c) => c.toggleOneUp(c.scene.store.state.pane) },
  { id: 'view.layouts', name: t('Layouts that suit the case'), group: 'view', keys: ['o'], run: (_c, extra) => extra.layouts() },
  ...['1', '2', '3', '4', '5', '6', '7', '8', '9'].map((digit, n): Action => ({
    id: `layout.${digit}`, name: t('Layout {n}', { n: digit }), group: 'view', keys: [`Shift+${digit}`],
    family: t('Layout 1 to 9, as numbered in the list'), run: (c) => c.view.choose(n),
  })),
  { id: 'view.flip', name: t('Flip left to right'), group: 'view', keys: ['h'], run: (c) => c.view.flip() },
  { id: 'view.flip-vertical', name: t('Flip top to bottom'), group: 'view', keys: ['Shift+H'], run: (_c, extra) => extra.tools.flipVertically() },
  { id: 'view.turn-right', name: t('Turn a quarter right'), group: 'view', keys: ['Shift+ArrowRight'], run: (c) => c.view.turn(1) },
  { id: 'view.turn-left', name: t('Turn a quarter left'), group: 'view', keys: ['Shift+ArrowLeft'], run: (c) => c.view.turn(-1) },
  { id: 'view.planes', name: t('Patient planes / planes as acquired'), group: 'view', keys: ['Shift+V'], run: (c) => c.view.togglePlanes() },
  { id: 'view.slab', name: t('Slab of the pane: none, MIP, MinIP, mean'), group: 'view', keys: ['Shift+M'], run: (c) => c.view.nextSlab() },
  { id: 'view.oblique', name: t('Handles that turn the crossing planes (oblique)'), group: 'view', keys: ['Shift+X'], run: (c) => c.view.toggleHandles() },
  { id: 'view.crosshair', name: t('Crosshair lines on / off'), group: 'view', keys: ['x'], run: (c) => c.toggleCrosshair() },
  { id: 'view.text', name: t('Text on / off (orientation stays)'), group: 'view', keys: ['t'], run: (c) => c.toggleText() },

  { id: 'page.toolbar', name: t('To the toolbar (arrows walk it, Esc comes back)'), group: 'page', keys: ['F8'], run: (_c, extra) => extra.focusOn('toolbar') },
  { id: 'page.side', name: t('To the panel of layers, findings, measurements'), group: 'page', keys: ['F9'], run: (_c, extra) => extra.focusOn('side') },
  { id: 'page.second-window', name: t('Second window'), group: 'page', keys: ['Shift+W'], run: (_c, extra) => extra.secondWindow() },
  { id: 'page.help', name: t('This cheat sheet'), group: 'page', keys: ['?'], run: (_c, extra) => extra.help() },
  { id: 'page.keys', name: t('Change keys and mouse'), group: 'page', keys: ['F1'], run: (_c, extra) => extra.editKeys() },
  { id: 'page.cancel', name: t('Close or cancel'), group: 'page', keys: ['Escape'], fixed: true, run: (_c, extra) => extra.cancel() },
];

/** Of the page, not of the viewer: also while typing; not for change. */
export const REPORT_KEYS: readonly (readonly [string, string])[] = [
  ['F2', t('to the report text')],
  ['Ctrl+Enter', t('open sign-off')],
];

/** While "Align by hand" is on; Shift makes a fifth of the step. Shown by the cheat sheet; not for change. */
export const ALIGN_KEYS: readonly (readonly [readonly string[], string])[] = [
  [['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], t('move the layer by one step (1 mm)')],
  [[',', '.'], t('turn it left / right about the pane’s centre (1°)')],
  [['Shift'], t('with these: a fifth of the step')],
  [['Ctrl+Z', 'Ctrl+Y'], t('undo / redo')],
];
