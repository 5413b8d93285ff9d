/** The tools as buttons with icon and text: the four used most, and two menus with all the others. */
import { t } from '../i18n';
import { FIRST_RATE, RATES } from './cine';
import type { Commands } from './commands';
import { h } from './dom';
import { icon, type IconName } from '../icons';
import { titled } from './keymap';
import { isMarkTool, nameOf } from './marks/tools';
import { Menu, menuItem } from './menu';
import type { Tool } from './state';

export interface ToolActions {
  toggleCine(): void;
  cineRate(rate: number): void;
  readonly playing: boolean;
  keepImage(): void;
  flipVertically(): void;
}

interface Item {
  tool: Tool;
  symbol: IconName;
}

const FIRST: readonly Item[] = [
  { tool: 'window', symbol: 'sun-medium' },
  { tool: 'crosshair', symbol: 'crosshair' },
  { tool: 'length', symbol: 'ruler' },
  { tool: 'probe', symbol: 'pipette' },
];
const MEASURE: readonly Item[] = [
  { tool: 'length', symbol: 'ruler' },
  { tool: 'bidirectional', symbol: 'move-diagonal' },
  { tool: 'angle', symbol: 'triangle-right' },
  { tool: 'ellipse', symbol: 'ellipse' },
  { tool: 'freehand', symbol: 'lasso' },
  { tool: 'sphere', symbol: 'globe' },
  { tool: 'threshold', symbol: 'flame' },
  { tool: 'probe', symbol: 'pipette' },
  { tool: 'arrow', symbol: 'arrow-down-left' },
  { tool: 'text', symbol: 'type' },
];
const MOVE: readonly Item[] = [
  { tool: 'zoom', symbol: 'zoom-in' },
  { tool: 'pan', symbol: 'hand' },
  { tool: 'scroll', symbol: 'chevrons-up-down' },
  { tool: 'magnify', symbol: 'scan-search' },
];
const REGISTER: readonly Item[] = [
  { tool: 'align', symbol: 'move' },
  { tool: 'landmark', symbol: 'map-pin' },
];

/** The magnifier's key works while it is held, whatever the tool. */
function commandOf(tool: Tool): string {
  return tool === 'magnify' ? 'lens.hold' : `tool.${tool}`;
}

function toolName(tool: Tool): string {
  if (isMarkTool(tool)) return nameOf(tool);
  switch (tool) {
    case 'window': return t('Window');
    case 'crosshair': return t('Crosshair');
    case 'zoom': return t('Zoom');
    case 'pan': return t('Pan');
    case 'scroll': return t('Scroll');
    case 'magnify': return t('Magnifier');
    case 'align': return t('Align');
    case 'landmark': return t('Landmark');
  }
}

export class ToolMenus {
  readonly elements: readonly HTMLElement[];
  private readonly buttons = new Map<HTMLButtonElement, Tool>();
  private readonly measure: Menu;
  private readonly view: Menu;
  private readonly play: HTMLButtonElement;
  private playing: boolean | null = null;

  constructor(
    private readonly commands: Commands,
    private readonly actions: ToolActions,
  ) {
    const items = (list: readonly Item[]): HTMLButtonElement[] => list.map(({ tool, symbol }) => this.item(tool, menuItem(toolName(tool), symbol, commandOf(tool), () => commands.setTool(tool), { tool })));
    this.measure = new Menu(t('Measure'), 'pencil-line', [
      ...items(MEASURE),
      menuItem(t('Key image'), 'image-plus', 'image.keep', () => actions.keepImage(), { act: 'key-image' }),
    ], t('Measure and mark'));
    this.view = new Menu(t('View'), 'eye', [
      ...items(MOVE),
      menuItem(t('Rotate right'), 'rotate-cw', 'view.turn-right', () => commands.view.turn(1), { act: 'rotate-right' }),
      menuItem(t('Rotate left'), 'rotate-ccw', 'view.turn-left', () => commands.view.turn(-1), { act: 'rotate-left' }),
      menuItem(t('Flip left to right'), 'flip-horizontal-2', 'view.flip', () => commands.view.flip(), { act: 'flip' }),
      menuItem(t('Flip top to bottom'), 'flip-vertical-2', 'view.flip-vertical', () => actions.flipVertically(), { act: 'flip-vertical' }),
      menuItem(t('Invert'), 'contrast', 'layer.invert', () => commands.invert(), { act: 'invert' }),
    ], t('Zoom, pan, turn'));
    this.play = h('button', { class: 'btn btn--small', attrs: { type: 'button' }, data: { act: 'cine', command: 'slice.cine' } });
    this.play.addEventListener('click', () => actions.toggleCine());
    const rate = h('select', { class: 'input cine-rate', title: t('Images a second of the cine'), attrs: { 'aria-label': t('Images a second of the cine') } }, ...RATES.map((n) => h('option', { text: `${n}/s`, attrs: { value: String(n) } })));
    rate.value = String(FIRST_RATE);
    rate.addEventListener('change', () => actions.cineRate(Number(rate.value)));
    const direct = [...FIRST, ...REGISTER].map(({ tool, symbol }) => {
      const name = toolName(tool);
      const made = h('button', { class: 'btn btn--small', title: name, attrs: { type: 'button' }, data: { tool, command: commandOf(tool) } }, icon(symbol), h('span', { text: name }));
      made.addEventListener('click', () => commands.setTool(tool));
      return this.item(tool, made);
    });
    this.elements = [...direct.slice(0, FIRST.length), this.measure.element, this.view.element, this.play, rate, ...direct.slice(FIRST.length)];
  }

  private item(tool: Tool, made: HTMLButtonElement): HTMLButtonElement {
    this.buttons.set(made, tool);
    return made;
  }

  update(): void {
    const { view, store } = this.commands.scene;
    const { tool } = store.state;
    for (const [made, its] of this.buttons) {
      made.setAttribute('aria-pressed', String(its === tool));
      if (its === 'align' || its === 'landmark') made.disabled = !view.case.can.decide_registration;
      else if (isMarkTool(its) && its !== 'probe') made.disabled = !view.case.can.measure;
    }
    // The chosen tool of a menu is named on its button, unless it has a button of its own.
    const chosen = (list: readonly Item[]): { name: string; symbol: IconName } | null => {
      const item = FIRST.some((one) => one.tool === tool) ? undefined : list.find((one) => one.tool === tool);
      return item ? { name: toolName(item.tool), symbol: item.symbol } : null;
    };
    this.measure.show(chosen(MEASURE));
    this.view.show(chosen(MOVE));
    const { playing } = this.actions;
    if (playing === this.playing) return;
    this.playing = playing;
    this.play.replaceChildren(icon(playing ? 'square' : 'play'), h('span', { text: playing ? t('Stop') : t('Cine') }));
    titled(this.play, playing ? t('Stop the cine') : t('Play the slices of this pane'));
    this.play.setAttribute('aria-pressed', String(playing));
  }
}
