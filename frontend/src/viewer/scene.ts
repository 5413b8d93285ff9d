/** Puts the view JSON and the reader's settings on the stage: which volumes, where, and how drawn. */
import { preference } from '../preferences';
import { Grid, IDENTITY, type Mat4, type Vec3 } from '../affine';
import type { CompareMode } from './comparison';
import { memoryBudget, toPark } from './memory';
import { reduced, reducedNotices } from './reduced';
import { bytesOf, seriesKey, shown, siblings, step, toForget, withoutStranded } from './siblings';
import { type PaneAxes, type Plane, PLANES } from './orientation';
import { PaneSet } from './pane-set';
import { defaultColormap, defaultInvert, defaultOpacity, firstWindow, isImage, isPet } from './presets';
import type { PaneName, Stage } from './stage';
import type { LayerSettings, Store } from './state';
import type { Layer, View } from './types';

/** Voxels kept of siblings that were shown and are not now, so that stepping back is instant. */
const SPARE_BYTES = 384 * 1024 * 1024;

export class Scene {
  view: View;
  readonly panes: PaneSet;
  private readonly grids = new Map<number, Grid>();
  /** Registration -> the matrix tried on screen, not stored, and what the badge says of it. */
  private readonly trials = new Map<number, { matrix: Mat4; words: string }>();
  /** A deformed layer shown for a look before it is accepted. */
  private looked: { id: number; words: string } | null = null;
  /** Siblings in the order they were last shown. */
  private recent: number[] = [];
  /** Layers that there is no memory for now: not on screen, and seen longest ago. */
  readonly parked = new Set<number>();
  private readonly seen = new Map<number, number>();
  private looks = 0;
  /** Told which layers' voxels were given back. */
  unloaded: (ids: readonly number[]) => void = () => undefined;
  private queue: Promise<void> = Promise.resolve();

  constructor(
    view: View,
    readonly store: Store,
    readonly stage: Stage,
  ) {
    this.view = view;
    this.panes = new PaneSet(this);
    this.adopt(view);
  }

  /** Takes a newer view: new layers, moved layers, changed decisions. */
  adopt(view: View): void {
    const layers = view.layers.map((layer) => reduced(layer, memoryBudget()));
    this.view = { ...view, layers, notices: [...reducedNotices(layers), ...view.notices] };
    for (const layer of this.layers) {
      this.store.setDefault(layer.id, () => this.fresh(layer));
      this.placeLayer(layer);
    }
    const { state } = this.store;
    // What was set in its own space means nothing in the reference's.
    if (state.alone !== null && !this.layer(state.alone)) Object.assign(state, { alone: null, focus: null, stands: {}, framings: {} });
    if (state.active === null || !this.layer(state.active)) state.active = this.base.id;
    state.focus ??= this.baseGrid.centre;
    this.panes.compose();
  }

  private fresh(layer: Layer): LayerSettings {
    const isBase = layer.id === this.reference.id || layer.id === this.store.state.alone;
    const [width, centre] = firstWindow(layer, this.view.case.pathway);
    const hidesMaps = preference<{ heatmapFirst?: unknown }>('viewer.display')?.heatmapFirst === false;
    // An earlier study lies over today's images only when the reader asks for it.
    const isFused = (other: Layer): boolean => other.fusion.fused && !other.prior;
    const hasPet = this.layers.some((other) => isPet(other) && isFused(other));
    const shownAtFirst = isBase || ((isPet(layer) || layer.kind === 'deformed') && isFused(layer)) || layer.kind === 'segmentation' || (layer.kind === 'heatmap' && !hasPet && !hidesMaps);
    return {
      width,
      centre,
      colormap: defaultColormap(layer, isBase),
      invert: defaultInvert(layer, isBase),
      opacity: defaultOpacity(layer),
      visible: shownAtFirst,
    };
  }

  private placeLayer(layer: Layer): void {
    const own = new Grid(layer.shape, layer.affine);
    const isAlone = this.store.state.alone === layer.id;
    const grid = isAlone ? own : own.moved(this.matrix(layer));
    const before = this.grids.get(layer.id);
    this.grids.set(layer.id, grid);
    // Its voxels get room when it is mounted.
    if (this.stage.hasVolume(layer.id) && JSON.stringify(before?.affine) !== JSON.stringify(grid.affine)) this.stage.place(layer.id, grid);
  }

  layer(id: number): Layer | undefined {
    return this.view.layers.find((layer) => layer.id === id);
  }

  /** One layer per series, and the maps: what the layer list shows and the panes may draw. */
  get layers(): Layer[] {
    // A deformed layer that is neither accepted nor looked at stays in the registration panel.
    const listed = this.view.layers.filter((layer) => layer.kind !== 'deformed' || layer.fusion.fused || this.looked?.id === layer.id);
    return withoutStranded(shown(listed, this.store.state.siblings), this.looked?.id ?? null);
  }

  /** The reference series, as the volume of it that is shown. */
  get reference(): Layer {
    const main = this.view.layers.find((layer) => layer.id === this.view.reference);
    if (!main) throw new Error('the view has no reference layer');
    return this.layers.find((layer) => seriesKey(layer) === seriesKey(main)) ?? main;
  }

  /** Shows another volume of a series in the place, and with the looks, of the one shown now. */
  choose(id: number): void {
    const { store } = this;
    const next = this.layer(id);
    const before = next && this.layers.find((layer) => seriesKey(layer) === seriesKey(next));
    if (!next || !before || before.id === id) return;
    const { state } = store;
    const looks = store.settings(before.id);
    const alone = state.alone === before.id ? id : state.alone;
    this.recent = [...this.recent.filter((other) => other !== before.id && other !== id), before.id];
    // The window too, unless the numbers mean something else: b-values are compared at one window.
    const kept = looks && next.unit === before.unit && next.role === before.role ? { ...looks } : undefined;
    store.state = { ...state, alone, siblings: { ...state.siblings, [seriesKey(next)]: id } };
    const made = kept ?? { ...this.fresh(next), ...(looks ? { visible: looks.visible, opacity: looks.opacity } : {}) };
    store.remember(id, made);
    this.placeLayer(next);
    store.patch({ siblings: store.state.siblings, layers: store.state.layers, alone, active: state.active === before.id ? id : state.active });
  }

  siblings(layer: Layer): Layer[] {
    return siblings(layer, this.view.layers);
  }

  /** Gives back the voxels of siblings shown longest ago; their ids. */
  release(): number[] {
    const onScreen = new Set(this.layers.map((layer) => layer.id));
    const size = (id: number): number => bytesOf(this.layer(id)!);
    const shown = this.layers.filter((layer) => !this.parked.has(layer.id)).reduce((sum, layer) => sum + bytesOf(layer), 0);
    const spare = Math.max(Math.min(SPARE_BYTES, memoryBudget() - shown), 0);
    const gone = toForget(this.recent.filter((id) => this.layer(id)), onScreen, size, spare);
    for (const id of gone) {
      this.stage.removeVolume(id);
      this.grids.delete(id);
    }
    this.recent = this.recent.filter((id) => !gone.includes(id));
    return gone;
  }

  /** The volume at the bottom: the reference, or a layer shown alone. */
  get base(): Layer {
    const { alone } = this.store.state;
    return (alone === null ? undefined : this.layer(alone)) ?? this.reference;
  }

  get baseGrid(): Grid {
    return this.grid(this.base.id);
  }

  /** A layer's grid in the space that is on screen. */
  grid(id: number): Grid {
    const layer = this.grids.has(id) ? undefined : this.layer(id);
    // A volume of a series that the other window chose.
    if (layer) this.placeLayer(layer);
    const grid = this.grids.get(id);
    if (!grid) throw new Error(`no grid for layer ${id}`);
    return grid;
  }

  get focus(): Vec3 {
    return this.store.state.focus ?? this.baseGrid.centre;
  }

  /** Layer LPS -> reference LPS as drawn now: on record, or tried. */
  matrix(layer: Layer): Mat4 {
    const trial = layer.kind === 'series' && layer.registration_id !== null ? this.trials.get(layer.registration_id) : undefined;
    return trial?.matrix ?? layer.matrix ?? IDENTITY;
  }

  /** What the badge must say of a layer that is drawn otherwise than recorded; null for all others. */
  trying(layer: Layer): string | null {
    if (this.looked?.id === layer.id) return this.looked.words;
    if (layer.kind !== 'series' || layer.registration_id === null) return null;
    return this.trials.get(layer.registration_id)?.words ?? null;
  }

  /**
   * Layers over the base, bottom first. Nothing that is not fused is ever among them, but for a layer
   * that the reader is aligning or looking at before accepting it: `trying` says so on its badge.
   */
  get overlays(): Layer[] {
    if (this.store.state.alone !== null) return [];
    const rank = { series: 0, deformed: 0, heatmap: 1, segmentation: 2 };
    const reference = this.reference.id;
    return this.layers
      .filter((layer) => layer.id !== reference && (layer.fusion.fused || this.trying(layer) !== null))
      .sort((a, b) => rank[a.kind] - rank[b.kind] || Number(isPet(a)) - Number(isPet(b)));
  }

  /** Overlays that the reader has on; while a pair is compared, its moving layer only. */
  get visibleOverlays(): Layer[] {
    if (!this.store.state.fusion) return [];
    const { compared } = this;
    if (compared && this.comparing !== 'blend') return [compared];
    return this.overlays.filter((layer) => this.isOn(layer));
  }

  /** Drawn over the reference in the blend, as far as this layer goes. */
  isOn(layer: Layer): boolean {
    // Side by side the reference stands alone.
    if (isImage(layer) && this.beside) return false;
    if (this.trying(layer) !== null) return true;
    if (layer.deformed && this.trials.has(layer.deformed.registration)) return false;
    if (layer.kind === 'series' && this.looked && this.layer(this.looked.id)?.deformed?.registration === layer.registration_id) return false;
    // A deformed layer stands in for the one it was made from.
    const standsIn = (other: Layer): boolean => other.deformed?.registration === layer.registration_id && other.fusion.fused && (this.store.settings(other.id)?.visible ?? false);
    if (layer.kind === 'series' && layer.registration_id !== null && this.layers.some(standsIn)) return false;
    return this.store.settings(layer.id)?.visible ?? false;
  }

  /** The moving layer of the pair that is compared: the one tried, else the active, else the topmost. */
  get compared(): Layer | null {
    const images = this.overlays.filter((layer) => isImage(layer) && this.isOn(layer));
    const tried = images.find((layer) => this.trying(layer) !== null);
    return tried ?? images.find((layer) => layer.id === this.store.state.active) ?? images[images.length - 1] ?? null;
  }

  /** The comparison in force: `blend` where there is no pair. */
  get comparing(): CompareMode {
    const { state } = this.store;
    return state.alone === null && state.fusion && this.compared ? state.compare : 'blend';
  }

  /** The layer in the pane beside the reference, on its own grid. */
  get beside(): Layer | null {
    const { state } = this.store;
    if (state.layout !== 'beside' || state.alone !== null || state.beside === null) return null;
    const layer = this.layer(state.beside);
    return layer && layer.id !== this.reference.id ? layer : null;
  }

  /** Layers whose voxels are wanted: what is or may at once be on screen. */
  get wanted(): Layer[] {
    const { beside } = this;
    const more = [...this.panes.plans.map((plan) => plan.base), ...(beside ? [beside] : [])];
    const all = new Map([this.base, ...this.overlays, ...more].map((layer) => [layer.id, layer]));
    return [...all.values()].filter((layer) => !this.parked.has(layer.id));
  }

  get axes(): Record<PaneName, PaneAxes> {
    return this.panes.axes;
  }

  /** The plane point of the panes: the focus on the nearest voxel centre. */
  get snapped(): Vec3 {
    return this.baseGrid.snap(this.focus);
  }

  /** Where the reader looks, for the order in which slices come. */
  get streamFocus(): { layer: number; slice: number } {
    const { base } = this;
    const across = base.levels[base.finest ?? 0]!.factors[0];
    const slice = Math.round(this.baseGrid.toIndex(this.snapped)[2] * across + (across - 1) / 2);
    return { layer: base.id, slice };
  }

  /** The plane that a pane of any layout shows. */
  planeOf(pane: PaneName): Plane {
    return this.panes.has(pane) ? this.panes.plan(pane).spec.plane : (PLANES.find((plane) => plane === pane) ?? 'axial');
  }

  position(pane: PaneName): number {
    return this.panes.position(pane);
  }

  step(pane: PaneName, slices: number): void {
    this.panes.step(pane, slices);
  }

  /** Mounts volumes, then looks and planes; calls follow one another. */
  mount(): Promise<void> {
    const mounted = this.queue.then(async () => {
      this.park();
      await this.panes.mount();
      this.unload();
    });
    // Whoever called learns of a failure; the next call is not held up by it.
    this.queue = mounted.catch(() => undefined);
    return mounted;
  }

  /** Layers with pixels in a pane now: these are never given back. */
  private get onScreen(): Set<number> {
    const { beside } = this;
    return new Set([this.base, ...this.panes.plans.map((plan) => plan.base), ...this.visibleOverlays, ...(beside ? [beside] : [])].map((layer) => layer.id));
  }

  /** True when a layer came on screen whose voxels were given back: mount again. */
  get lacks(): boolean {
    return [...this.onScreen].some((id) => this.parked.has(id));
  }

  /** Bytes of voxels that the page holds. */
  get held(): number {
    return this.view.layers.filter((layer) => this.stage.hasVolume(layer.id)).reduce((sum, layer) => sum + bytesOf(layer), 0);
  }

  /**
   * Layers that may come on screen next, with room made for them within the budget: series that are listed and not
   * shown, then the neighbours of the volumes that are. `isHere`: nothing of it is missing.
   */
  expect(isHere: (layer: Layer) => boolean): number[] {
    const { onScreen, wanted } = this;
    const listed = this.layers.filter((layer) => !wanted.includes(layer) && !this.parked.has(layer.id));
    const neighbours = this.layers.filter((layer) => onScreen.has(layer.id)).flatMap((layer) => [1, -1].map((by) => step(layer, this.view.layers, by)));
    const next: number[] = [];
    let { held } = this;
    for (const layer of new Set([...listed, ...neighbours])) {
      if (onScreen.has(layer.id) || isHere(layer)) continue;
      if (!this.stage.hasVolume(layer.id)) {
        if (held + bytesOf(layer) > memoryBudget()) continue;
        held += bytesOf(layer);
        this.placeLayer(layer);
        this.stage.addVolume(layer.id, this.grid(layer.id), layer.dtype === 'int16' ? 2 : 1);
        this.recent = [layer.id, ...this.recent.filter((id) => id !== layer.id)];
      }
      next.push(layer.id);
    }
    return next;
  }

  private park(): void {
    this.panes.compose();
    const { onScreen } = this;
    this.looks += 1;
    for (const id of onScreen) this.seen.set(id, this.looks);
    const parked = toPark(this.layers, onScreen, this.seen, memoryBudget());
    this.parked.clear();
    for (const id of parked) this.parked.add(id);
    for (const layer of this.view.layers) {
      const isNeeded = onScreen.has(layer.id) || (!parked.has(layer.id) && this.layers.includes(layer));
      if (isNeeded && !this.stage.hasVolume(layer.id)) this.stage.addVolume(layer.id, this.grid(layer.id), layer.dtype === 'int16' ? 2 : 1);
    }
  }

  /** Gives back the voxels of what is parked, and of layers that a newer analysis replaced. */
  private unload(): void {
    const known = new Set(this.view.layers.map((layer) => layer.id));
    const gone = this.stage.held.filter((id) => this.parked.has(id) || !known.has(id));
    for (const id of gone) this.stage.removeVolume(id);
    if (gone.length) this.unloaded(gone);
  }

  /** Window, colours and opacity of all layers as at first; what is visible stays so. */
  resetLooks(): void {
    for (const layer of this.wanted) {
      const { visible: _, ...looks } = this.fresh(layer);
      this.store.patchLayer(layer.id, { ...looks, nearest: false, threshold: null });
    }
    this.store.patch({ paneLooks: {} });
  }

  styleAll(): void {
    this.panes.styleAll();
  }

  aim(): void {
    this.panes.aim();
  }

  /** Tries a registration on screen without storing it; null takes it back. Mount when layers change. */
  tryMatrix(registration: number, trial: { matrix: Mat4; words: string } | null): void {
    if (trial) this.trials.set(registration, trial);
    else this.trials.delete(registration);
    for (const layer of this.view.layers) {
      if (layer.registration_id === registration && this.grids.has(layer.id)) this.placeLayer(layer);
    }
    this.stage.render();
  }

  /** Shows a deformed layer that is not accepted (its source is hidden meanwhile); null takes it back. */
  look(looked: { id: number; words: string } | null): void {
    this.looked = looked;
    const layer = looked && this.layer(looked.id);
    if (!layer) return;
    this.store.setDefault(layer.id, () => this.fresh(layer));
    this.placeLayer(layer);
  }

  /** Shows a layer alone in its own space, or (null) the fused view again. */
  async showAlone(id: number | null): Promise<void> {
    this.store.state.alone = id;
    for (const layer of this.layers) {
      this.store.setDefault(layer.id, () => this.fresh(layer));
      this.placeLayer(layer);
    }
    this.store.patch({ alone: id, active: this.base.id, focus: this.baseGrid.centre, stands: {}, framings: {} });
    await this.mount();
  }
}
