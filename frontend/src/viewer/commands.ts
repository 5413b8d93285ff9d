/** What a reader can do by key, button or mouse, each in one function. */
import type { ColormapName } from './colormaps';
import type { CompareMode } from './comparison';
import { windowSign } from './mouse';
import { isImage, isSuv, presetsOf } from './presets';
import type { Scene } from './scene';
import { step } from './siblings';
import type { PaneName } from './stage';
import type { LayerSettings, Layout, State, Tool } from './state';
import type { Layer } from './types';
import { ViewCommands } from './view-commands';

/** Sides of a checkerboard's tile, mm. */
export const TILES: readonly number[] = [5, 10, 15, 20, 30, 40, 60, 80, 120];

export class Commands {
  readonly view: ViewCommands;

  constructor(readonly scene: Scene) {
    this.view = new ViewCommands(scene);
  }

  private get store() {
    return this.scene.store;
  }
  private get state(): State {
    return this.store.state;
  }

  /** What window and colours act on: the chosen layer, or in a pane without it that pane's own. */
  get active(): Layer {
    const { panes } = this.scene;
    const chosen = (this.state.active === null ? undefined : this.scene.layer(this.state.active)) ?? this.scene.base;
    if (this.scene.beside || !panes.has(this.state.pane)) return chosen;
    const plan = panes.plan(this.state.pane);
    return [plan.base, ...plan.overlays].some((layer) => layer.id === chosen.id) ? chosen : plan.base;
  }

  /** Settings of a layer in the pane that has the focus. */
  settings(layer: Layer): LayerSettings | undefined {
    return this.scene.panes.settings(this.state.pane, layer);
  }

  private patch(layer: Layer, change: Partial<LayerSettings>): void {
    this.scene.panes.patch(this.state.pane, layer, change);
  }

  setTool(tool: Tool): void {
    this.store.patch({ tool });
  }

  setActive(id: number): void {
    this.store.patch({ active: id });
  }

  /** The next of what window and colours can act on, as the toolbar lists them. */
  stepActive(by: number): void {
    const all = this.windowed;
    const at = all.findIndex((layer) => layer.id === this.active.id);
    this.setActive(all[(at + by + all.length) % all.length]!.id);
  }

  get windowed(): Layer[] {
    const { scene } = this;
    const inPanes = scene.panes.plans.map((plan) => plan.base);
    return [...new Set([scene.base, ...scene.overlays, ...inPanes])].filter((layer) => layer.kind !== 'segmentation');
  }

  setWindow(layer: Layer, width: number, centre: number): void {
    // SUV windows start at 0: a raised floor hides faint uptake, a negative one means nothing.
    const top = Math.max(centre + width / 2, 0.1);
    if (isSuv(layer)) this.patch(layer, { width: top, centre: top / 2 });
    else this.patch(layer, { width: Math.max(width, 1e-6), centre });
  }

  /** A drag by pixels: right widens, down raises the centre (darker), or lowers it where the reader wants it so. */
  windowBy(layer: Layer, dx: number, dy: number): void {
    const settings = this.settings(layer);
    if (!settings) return;
    const perPixel = Math.max(layer.window[0], settings.width) / 250;
    this.setWindow(layer, Math.max(settings.width + dx * perPixel, perPixel), settings.centre + windowSign() * dy * perPixel);
  }

  preset(n: number): void {
    const preset = presetsOf(this.active, this.scene.view.case.pathway)[n];
    if (preset) this.setWindow(this.active, preset.width, preset.centre);
  }

  setColormap(colormap: ColormapName): void {
    this.patch(this.active, { colormap });
  }

  invert(): void {
    const settings = this.settings(this.active);
    if (settings) this.patch(this.active, { invert: !settings.invert });
  }

  /** Another volume of the active layer's series: phase, b-value, echo. */
  stepSibling(by: number): void {
    this.scene.choose(step(this.active, this.scene.view.layers, by).id);
  }

  setVisible(layer: Layer, visible: boolean): void {
    this.store.patchLayer(layer.id, { visible });
    if (visible && !this.state.fusion) this.store.patch({ fusion: true });
  }

  toggleFusion(): void {
    this.store.patch({ fusion: !this.state.fusion });
  }

  /** Model output on or off: heatmap, segmentation and finding marks. */
  toggleAi(): void {
    const marks = !this.state.marks;
    for (const layer of this.scene.overlays) {
      if (!isImage(layer)) this.store.patchLayer(layer.id, { visible: marks });
    }
    this.store.patch({ marks });
  }

  /** The layer whose opacity the keys change: the active one, else the topmost visible overlay. */
  private get faded(): Layer | undefined {
    const overlays = this.scene.visibleOverlays;
    return overlays.find((layer) => layer.id === this.active.id) ?? overlays.find((layer) => isImage(layer)) ?? overlays[0];
  }

  opacityBy(step: number): void {
    const layer = this.faded;
    if (layer) this.setOpacity(layer, (this.store.settings(layer.id)?.opacity ?? 0) + step);
  }

  setOpacity(layer: Layer, opacity: number): void {
    this.store.patchLayer(layer.id, { opacity: Math.round(Math.min(Math.max(opacity, 0), 1) * 100) / 100 });
  }

  setInterpolation(layer: Layer, nearest: boolean): void {
    this.store.patchLayer(layer.id, { nearest });
  }

  /** In the layer's unit; null: drawn from the bottom of its window. */
  setThreshold(layer: Layer, threshold: number | null): void {
    this.store.patchLayer(layer.id, { threshold: threshold !== null && Number.isFinite(threshold) ? threshold : null });
  }

  /** Chosen again, a comparison goes back to the blend. */
  setCompare(mode: CompareMode): void {
    const layout = this.state.layout === 'beside' ? 'mpr' : this.state.layout;
    this.store.patch({ compare: this.state.compare === mode ? 'blend' : mode, fusion: true, layout });
  }

  /** Larger tiles, more edges, divider to the right; negative the other way. */
  amountBy(step: number): void {
    const { compare, tile, edge, divider } = this.state;
    const inside = (value: number, least: number, most: number): number => Math.round(Math.min(Math.max(value, least), most) * 1000) / 1000;
    const next = TILES[inside(TILES.findIndex((size) => size >= tile) + step, 0, TILES.length - 1)]!;
    if (compare === 'checkerboard') this.store.patch({ tile: next });
    else if (compare === 'edges') this.store.patch({ edge: inside(edge - step * 0.05, 0.05, 0.9) });
    else if (compare === 'swipe') this.store.patch({ divider: inside(divider + step * 0.05, 0, 1) });
  }

  /** The reference and a series in its own space side by side; null: the fused panes again. */
  setBeside(id: number | null): void {
    this.store.patch(id === null ? { layout: 'mpr' } : { beside: id, layout: 'beside' });
  }

  toggleBeside(): void {
    const { scene } = this;
    if (this.state.layout === 'beside') return this.setBeside(null);
    const others = scene.layers.filter((layer) => layer.kind === 'series' && layer.id !== scene.reference.id);
    const registration = scene.compared?.registration_id ?? null;
    const layer = others.find((one) => one.id === this.state.active) ?? others.find((one) => registration !== null && one.registration_id === registration) ?? others[0];
    if (layer && this.state.alone === null) this.setBeside(layer.id);
  }

  toggleCrosshair(): void {
    this.store.patch({ crosshair: !this.state.crosshair });
  }

  toggleText(): void {
    this.store.patch({ text: !this.state.text });
  }

  setLayout(layout: Layout): void {
    this.store.patch({ layout, ...(layout === 'mpr' || layout === 'beside' ? {} : { pane: layout }) });
  }

  toggleOneUp(pane: PaneName): void {
    this.setLayout(this.state.layout === pane ? 'mpr' : pane);
  }

  scroll(slices: number, pane: PaneName = this.state.pane): void {
    if (this.scene.panes.has(pane) && this.scene.panes.plan(pane).spec.kind === 'rotating-mip') this.view.rotateMip(pane, slices);
    else this.scene.step(pane, slices);
  }

  nextPane(step: number): void {
    const all = this.scene.panes.plans.map((plan) => plan.spec.id);
    const pane = all[(all.indexOf(this.state.pane) + step + all.length) % all.length]!;
    this.store.patch({ pane, ...(this.scene.panes.has(this.state.layout) ? { layout: pane } : {}) });
  }

  /** Zoom, pan, windows and opacity back to the start; slice and layers stay. */
  reset(): void {
    this.scene.panes.fit();
    this.scene.resetLooks();
    this.store.patch({ framings: {} });
  }

  /** About the middle of the pane with the focus. */
  zoomBy(factor: number, pane: PaneName = this.state.pane): void {
    const { panes, stage } = this.scene;
    if (!panes.names.includes(pane) || !stage.has(pane)) return;
    const { clientWidth, clientHeight } = stage.canvas(pane);
    stage.zoomBy(pane, factor, [clientWidth / 2, clientHeight / 2]);
    this.rememberFraming(pane);
  }

  rememberFraming(pane: PaneName): void {
    this.store.patch({ framings: { ...this.state.framings, ...this.scene.panes.framings(pane) } });
  }
}
