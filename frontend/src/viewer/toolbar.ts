/** Buttons above the panes. */
import { t } from '../i18n';
import { COLORMAP_LABELS, type ColormapName } from './colormaps';
import { type Commands, TILES } from './commands';
import { COMPARE_LABELS, type CompareMode } from './comparison';
import { icon, type IconName } from '../icons';
import { button, h } from './dom';
import { keyLabel, keymap, onKeymap } from './keymap';
import { presetsOf } from './presets';
import { type ToolActions, ToolMenus } from './tool-menus';
import { ViewBar } from './view-bar';

const OFFERED: readonly ColormapName[] = ['grey', 'hot-iron', 'viridis', 'probability'];

export interface PageActions {
  editKeys(): void;
  /** Null in the second window itself. */
  secondWindow: (() => void) | null;
}

export class Toolbar {
  readonly element = h('div', { class: 'viewer-toolbar', attrs: { role: 'toolbar', 'aria-label': t('Viewer tools') } });
  private readonly tools: ToolMenus;
  private readonly view: ViewBar;
  private readonly layer = h('select', { class: 'input', attrs: { 'aria-label': t('Layer that window and colours act on') } });
  private readonly preset = h('select', { class: 'input', attrs: { 'aria-label': t('Window preset') } });
  private readonly colormap = h('select', { class: 'input', attrs: { 'aria-label': t('Colour map') } });
  private readonly fusion: HTMLButtonElement;
  private readonly cross: HTMLButtonElement;
  private readonly layout: HTMLButtonElement;
  private readonly beside: HTMLButtonElement;
  private readonly compare = h('select', { class: 'input', title: t('How the registered pair is compared'), attrs: { 'aria-label': t('Comparison of the registered pair') }, data: { compare: '' } });
  private readonly amount = h('input', { class: 'compare-amount', attrs: { type: 'range', 'aria-label': t('Amount of the comparison') }, data: { amount: '' } });
  private layerKey = '';
  private presetKey = '';

  constructor(
    private readonly commands: Commands,
    openHelp: () => void,
    openLayouts: () => void,
    page: PageActions,
    toolActions: ToolActions,
  ) {
    this.tools = new ToolMenus(commands, toolActions);
    this.view = new ViewBar(commands, openLayouts);
    this.fusion = button(t('Fusion'), () => commands.toggleFusion(), { title: t('Fusion on / off'), data: { action: 'fusion', command: 'fusion.toggle' } });
    this.cross = button(t('Lines'), () => commands.toggleCrosshair(), { title: t('Crosshair lines on / off'), data: { command: 'view.crosshair' } });
    this.layout = button('1-up', () => commands.toggleOneUp(commands.scene.store.state.pane), { title: t('One pane / all panes (also double click)'), data: { command: 'view.one-up' } });
    for (const name of OFFERED) this.colormap.append(h('option', { text: COLORMAP_LABELS[name], attrs: { value: name } }));
    this.layer.addEventListener('change', () => commands.setActive(Number(this.layer.value)));
    this.preset.addEventListener('change', () => {
      if (this.preset.value !== '') commands.preset(Number(this.preset.value));
    });
    this.colormap.addEventListener('change', () => commands.setColormap(this.colormap.value as ColormapName));
    const modes = (): void => {
      for (const mode of Object.keys(COMPARE_LABELS) as CompareMode[]) {
        const key = keymap().keysOf(`compare.${mode}`)[0];
        const option = this.compare.querySelector(`[value="${mode}"]`) ?? this.compare.appendChild(h('option', { attrs: { value: mode } }));
        option.textContent = key ? `${COMPARE_LABELS[mode]} (${keyLabel(key)})` : COMPARE_LABELS[mode];
      }
    };
    modes();
    onKeymap(modes);
    this.compare.addEventListener('change', () => {
      const mode = this.compare.value as CompareMode;
      if (mode !== commands.scene.store.state.compare) commands.setCompare(mode);
    });
    this.amount.addEventListener('input', () => this.amountChosen());
    this.beside = button(t('Side by side'), () => commands.toggleBeside(), { title: t('Reference and moving series in its own space, cursors linked'), data: { action: 'beside', command: 'compare.beside' } });
    const group = (...children: Node[]): HTMLElement => h('div', { class: 'tool-group' }, ...children);
    this.element.append(
      group(...this.tools.elements),
      group(button(t('Reset'), () => commands.reset(), { title: t('Reset zoom, pan, windows'), data: { command: 'view.reset' } }), ...this.pageButtons(openHelp, page)),
      group(this.layer, this.preset, this.colormap),
      group(this.fusion, this.compare, this.amount, this.beside),
      group(this.cross, this.layout),
      this.view.element,
    );
  }

  private pageButtons(openHelp: () => void, page: PageActions): HTMLElement[] {
    const symbol = (name: IconName, text: string, act: () => void, command: string, action: string): HTMLButtonElement => {
      const made = button('', act, { title: text, attrs: { 'aria-label': text }, data: { command, action } });
      made.append(icon(name));
      return made;
    };
    return [
      button('?', openHelp, { title: t('Keys and mouse'), data: { command: 'page.help', action: 'help' } }),
      symbol('keyboard', t('Change keys and mouse'), () => page.editKeys(), 'page.keys', 'keys'),
      ...(page.secondWindow ? [button(t('Second window'), page.secondWindow, { title: t('The same case on another monitor'), data: { command: 'page.second-window', action: 'second-window' } })] : []),
    ];
  }

  update(): void {
    const { commands } = this;
    const { state } = commands.scene.store;
    this.tools.update();
    this.view.update();
    const active = commands.active;
    const layers = commands.windowed;
    const layerKey = layers.map((layer) => `${layer.id}:${layer.label}`).join();
    if (layerKey !== this.layerKey) {
      this.layerKey = layerKey;
      this.layer.replaceChildren(...layers.map((layer) => h('option', { text: layer.label, attrs: { value: String(layer.id) } })));
    }
    this.layer.value = String(active.id);
    const presets = presetsOf(active, commands.scene.view.case.pathway);
    const presetKey = `${active.id}:${presets.map((p) => p.name).join()}`;
    if (presetKey !== this.presetKey) {
      this.presetKey = presetKey;
      this.preset.replaceChildren(
        h('option', { text: t('Custom'), attrs: { value: '' } }),
        ...presets.map((p, n) => h('option', { text: `${n + 1}  ${p.name}`, attrs: { value: String(n) } })),
      );
    }
    const settings = commands.settings(active);
    if (settings) {
      const chosen = presets.findIndex((p) => Math.abs(p.width - settings.width) < 1e-6 && Math.abs(p.centre - settings.centre) < 1e-6);
      this.preset.value = chosen < 0 ? '' : String(chosen);
      this.colormap.value = settings.colormap;
    }
    this.fusion.setAttribute('aria-pressed', String(state.fusion && state.alone === null));
    this.fusion.disabled = state.alone !== null || commands.scene.overlays.length === 0;
    this.updateCompare();
    this.cross.setAttribute('aria-pressed', String(state.crosshair));
    this.layout.setAttribute('aria-pressed', String(commands.scene.panes.has(state.layout)));
  }

  private updateCompare(): void {
    const { scene } = this.commands;
    const { state } = scene.store;
    const mode = scene.comparing;
    this.compare.value = mode;
    this.compare.disabled = scene.compared === null && state.layout !== 'beside';
    this.beside.setAttribute('aria-pressed', String(scene.beside !== null));
    this.beside.disabled = state.alone !== null || !scene.layers.some((layer) => layer.kind === 'series' && layer.id !== scene.reference.id);
    // The divider has its own handle in the pane; a blend has the opacity of the layer.
    const idle = mode !== 'checkerboard' && mode !== 'edges';
    // Its place stays: the images must not jump when a comparison is chosen.
    this.amount.style.visibility = idle ? 'hidden' : '';
    if (idle || document.activeElement === this.amount) return;
    const tiles = mode === 'checkerboard';
    this.amount.min = tiles ? '0' : '10';
    this.amount.max = tiles ? String(TILES.length - 1) : '95';
    this.amount.value = String(tiles ? TILES.findIndex((size) => size >= state.tile) : Math.round(100 - state.edge * 100));
    const words = tiles ? t('Tile {tile} mm', { tile: state.tile }) : t('Fewer or more edges');
    this.amount.title = words;
    this.amount.setAttribute('aria-label', tiles ? t('Tile size') : t('Amount of edges'));
    this.amount.setAttribute('aria-valuetext', tiles ? `${state.tile} mm` : `${this.amount.value} %`);
  }

  private amountChosen(): void {
    const { store } = this.commands.scene;
    const value = Number(this.amount.value);
    if (this.commands.scene.comparing === 'checkerboard') store.patch({ tile: TILES[value]! });
    else store.patch({ edge: (100 - value) / 100 });
  }
}
