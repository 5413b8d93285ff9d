/** The panes on screen: their protocol, layers, planes and looks, put on the stage. */
import { apply, dot, type Grid, invert, subtract, type Vec3 } from '../affine';
import { NO_TURN, obliqueAxes, type PaneAxes, paneAxes, patientAxes, slicePosition, stepPoint, turned } from './orientation';
import { type PanePlan, paneLook, planOf } from './pane-spec';
import { opacityCurve, withThreshold } from './presets';
import { chooseProtocol, PLAIN, type Protocol } from './protocols';
import type { Scene } from './scene';
import type { Projection } from './slab';
import type { Framing, Look, PaneName } from './stage';
import { type LayerSettings, paneLookKey } from './state';
import type { Layer } from './types';

const FITTED: Framing = { scale: 1, anchorWorld: null, anchorCanvas: [0.5, 0.5] };

/** Drawn black on white. */
export function isLight(settings: LayerSettings | undefined): boolean {
  return settings?.colormap === 'grey' && settings.invert;
}

export class PaneSet {
  protocol: Protocol = PLAIN;
  plans: readonly PanePlan[] = [];
  /** Of the panes that cut a plane; a rotating MIP has none. */
  axes: Record<PaneName, PaneAxes> = {};
  /** Elements of the panes; the viewer gives a pane one when it comes on screen. */
  place: (plans: readonly PanePlan[]) => ReadonlyMap<PaneName, HTMLDivElement> = () => new Map();

  constructor(private readonly scene: Scene) {
    scene.stage.moved = (pane) => this.followCamera(pane);
  }

  private get state() {
    return this.scene.store.state;
  }

  /** Which panes there are, of which layers, in which planes. */
  compose(): void {
    const { scene, state } = this;
    const content = { layers: scene.layers, reference: scene.reference };
    // A layer in its own space, and a pair side by side, are read in the three planes.
    const isPlain = state.alone !== null || scene.beside !== null;
    this.protocol = isPlain ? PLAIN : chooseProtocol(content, scene.view.case.pathway, state.protocol);
    const fused = { reference: scene.base, overlays: scene.overlays, layers: scene.layers, tried: (layer: Layer) => scene.trying(layer) !== null };
    this.plans = this.protocol.panes.flatMap((spec) => planOf(spec, fused) ?? []);
    if (!this.planar.length) {
      this.protocol = PLAIN;
      this.plans = PLAIN.panes.flatMap((spec) => planOf(spec, fused) ?? []);
    }
    if (!this.plans.some((plan) => plan.spec.id === state.pane)) state.pane = this.planar[0]!.spec.id;
    this.orient();
  }

  /** Axes from planes, tilts and turns. */
  orient(): void {
    this.axes = Object.fromEntries(this.planar.map((plan) => [plan.spec.id, this.axesOf(plan)]));
  }

  private axesOf(plan: PanePlan): PaneAxes {
    return turned(this.upright(plan), this.state.turns[plan.spec.id] ?? NO_TURN);
  }

  /** Axes of a pane before it is turned or mirrored. */
  upright(plan: PanePlan): PaneAxes {
    const { id, plane, frame } = plan.spec;
    const grid = this.grid(plan);
    const straight = ((frame ?? this.state.planes) === 'patient' ? patientAxes(grid) : paneAxes(grid))[plane];
    return obliqueAxes(grid, straight, this.state.tilts[id]);
  }

  /** Tells apart what the stage must hold: panes and their bases, and the series beside. */
  get key(): string {
    return JSON.stringify([this.plans.map((plan) => [plan.spec.id, plan.base.id, plan.linked]), this.scene.beside?.id]);
  }

  /** Panes that cut a plane, in the order of the protocol. */
  get planar(): PanePlan[] {
    return this.plans.filter((plan) => plan.spec.kind !== 'rotating-mip');
  }

  get names(): PaneName[] {
    return this.planar.map((plan) => plan.spec.id);
  }

  plan(pane: PaneName): PanePlan {
    const plan = this.plans.find((one) => one.spec.id === pane);
    if (!plan) throw new Error(`no pane ${pane} in layout ${this.protocol.id}`);
    return plan;
  }

  has(pane: PaneName): boolean {
    return this.plans.some((plan) => plan.spec.id === pane);
  }

  /** The lattice whose planes a pane steps through. */
  grid(plan: PanePlan): Grid {
    return plan.linked ? this.scene.baseGrid : this.scene.grid(plan.base.id);
  }

  /** The point that a pane's plane goes through, as the reader set it. */
  cursor(pane: PaneName): Vec3 {
    const plan = this.plan(pane);
    if (!plan.linked) return this.state.cursors[plan.base.id] ?? this.grid(plan).centre;
    return (this.state.links.scroll ? undefined : this.state.stands[pane]) ?? this.scene.focus;
  }

  /** The same on the nearest voxel centre, where the plane lies along voxels. */
  point(pane: PaneName): Vec3 {
    const point = this.cursor(pane);
    return this.axes[pane]?.axis === null ? point : this.grid(this.plan(pane)).snap(point);
  }

  /** Moves the cursor: of all linked panes, or of a pane in its own space. */
  moveTo(pane: PaneName, point: Vec3): void {
    const plan = this.plan(pane);
    if (plan.linked) this.scene.store.patch({ focus: point, ...(this.state.links.scroll ? {} : { stands: {} }) });
    else this.scene.store.patch({ cursors: { ...this.state.cursors, [plan.base.id]: point } });
  }

  position(pane: PaneName): number {
    return slicePosition(this.grid(this.plan(pane)), this.axes[pane]!, this.cursor(pane));
  }

  step(pane: PaneName, slices: number): void {
    const plan = this.plan(pane);
    const axes = this.axes[pane];
    if (!axes) return;
    const point = stepPoint(this.grid(plan), axes, this.cursor(pane), slices);
    if (plan.linked && !this.state.links.scroll) this.scene.store.patch({ stands: { ...this.state.stands, [pane]: point } });
    else this.moveTo(pane, point);
  }

  /** True where the pane's plane goes through the reader's cursor: then the cross is drawn. */
  showsCursor(pane: PaneName): boolean {
    const axes = this.axes[pane]!;
    const cursor = this.plan(pane).linked ? this.scene.focus : this.cursor(pane);
    return Math.abs(dot(subtract(cursor, this.point(pane)), axes.normal)) <= axes.step / 2 + 1e-6;
  }

  /** Linked panes whose plane crosses that of a pane. */
  crossing(pane: PaneName): PanePlan[] {
    const own = this.axes[pane];
    if (!own || !this.plan(pane).linked) return [];
    return this.planar.filter((plan) => plan.linked && Math.abs(dot(this.axes[plan.spec.id]!.normal, own.normal)) < 0.97);
  }

  /** A point in the layer's own LPS, for panes that stand in a space of their own. */
  own(plan: PanePlan, point: Vec3): Vec3 {
    return plan.linked ? point : apply(invert(this.scene.matrix(plan.base)), point);
  }

  ownDirection(plan: PanePlan, direction: Vec3): Vec3 {
    return plan.linked ? direction : subtract(this.own(plan, direction), this.own(plan, [0, 0, 0]));
  }

  slab(pane: PaneName): Projection | null {
    const chosen = this.state.slabs[pane];
    return chosen === undefined ? (this.plan(pane).spec.projection ?? null) : chosen;
  }

  // ---- layers ---------------------------------------------------------------------------------

  /** What the stage holds in a pane. The base of the space comes first, seen or not: it sets planes and zoom. */
  private mounted(plan: PanePlan): Layer[] {
    if (!plan.linked) return [plan.base];
    const base = this.scene.base;
    return [base, ...(plan.base.id === base.id ? [] : [plan.base]), ...plan.overlays.filter((layer) => layer.id !== base.id && !this.scene.parked.has(layer.id))];
  }

  /** Overlays that the reader has on in a pane. */
  visible(pane: PaneName): Layer[] {
    const on = this.scene.visibleOverlays;
    return this.plan(pane).overlays.filter((layer) => on.some((other) => other.id === layer.id));
  }

  /** True where a comparison of the registered pair is drawn. */
  compares(pane: PaneName): boolean {
    const { compared, comparing, base } = this.scene;
    const plan = this.plan(pane);
    return comparing !== 'blend' && plan.base.id === base.id && plan.overlays.some((layer) => layer.id === compared?.id);
  }

  /** Settings of a layer as one pane draws it. */
  settings(pane: PaneName, layer: Layer): LayerSettings | undefined {
    const settings = this.scene.store.settings(layer.id);
    if (!settings || !this.has(pane)) return settings;
    const plan = this.plan(pane);
    const { window, ...look } = plan.base.id === layer.id ? paneLook(plan) : {};
    return { ...settings, ...look, ...(window ? { width: window[0], centre: window[1] } : {}), ...this.state.paneLooks[paneLookKey(pane, layer.id)] };
  }

  /** Changes a layer's looks where the reader is: in this pane only, where the pane has looks of its own. */
  patch(pane: PaneName, layer: Layer, change: Partial<LayerSettings>): void {
    const { store } = this.scene;
    const plan = this.has(pane) ? this.plan(pane) : null;
    const look: object = plan?.base.id === layer.id ? paneLook(plan) : {};
    const isWindow = (key: string): boolean => key === 'width' || key === 'centre';
    const isOwn = (key: string): boolean => (isWindow(key) ? 'window' in look || !this.state.links.window : key in look);
    const entries = Object.entries(change);
    const own = plan ? Object.fromEntries(entries.filter(([key]) => isOwn(key))) : {};
    const shared = Object.fromEntries(entries.filter(([key]) => !(key in own)));
    if (Object.keys(own).length) {
      const key = paneLookKey(pane, layer.id);
      store.patch({ paneLooks: { ...this.state.paneLooks, [key]: { ...this.state.paneLooks[key], ...own } } });
    }
    if (Object.keys(shared).length) store.patchLayer(layer.id, shared);
  }

  // ---- stage ----------------------------------------------------------------------------------

  async mount(): Promise<void> {
    const { stage } = this.scene;
    this.compose();
    stage.assign(this.place(this.plans));
    await stage.clearUnused();
    await Promise.all(this.planar.map((plan) => stage.show(plan.spec.id, this.mounted(plan).map((layer) => layer.id))));
    this.turn();
    for (const pane of this.names) {
      const framing = this.state.framings[pane] ?? FITTED;
      if (JSON.stringify(framing) !== JSON.stringify(stage.framing(pane))) stage.frame(pane, framing);
    }
    this.styleAll();
    this.aim();
  }

  /** Turns the cameras as the axes say. */
  turn(): void {
    this.orient();
    for (const pane of this.names) {
      if (!this.scene.stage.has(pane)) continue;
      const axes = this.axes[pane]!;
      this.scene.stage.orient(pane, axes.normal, axes.up);
    }
    this.aim();
  }

  /** Moves the panes' planes to their points. */
  aim(): void {
    for (const pane of this.names) if (this.scene.stage.has(pane)) this.scene.stage.look(pane, this.point(pane));
  }

  styleAll(): void {
    for (const plan of this.planar) {
      if (!this.scene.stage.has(plan.spec.id)) continue;
      const base = this.settings(plan.spec.id, plan.base);
      this.scene.stage.background(plan.spec.id, isLight(base));
      for (const layer of this.mounted(plan)) {
        const look = this.look(plan, layer);
        if (look) this.scene.stage.style(plan.spec.id, layer.id, look);
      }
    }
  }

  private look(plan: PanePlan, layer: Layer): Look | null {
    const pane = plan.spec.id;
    const settings = this.settings(pane, layer);
    if (!settings) return null;
    const isBase = layer.id === plan.base.id;
    const labels = layer.kind === 'segmentation';
    const stored = (value: number): number => (value - layer.intercept) / layer.slope;
    const over = !this.compares(pane) && this.visible(pane).some((other) => other.id === layer.id);
    return {
      lower: labels ? 0 : stored(settings.centre - settings.width / 2),
      upper: labels ? 1 : stored(settings.centre + settings.width / 2),
      colormap: settings.colormap,
      invert: settings.invert,
      // A slab is drawn over the picture, of all its layers.
      visible: this.slab(pane) === null && (isBase || over),
      opacity: withThreshold(opacityCurve(layer, isBase, settings.opacity), isBase ? null : settings),
      nearest: labels || (settings.nearest ?? false),
    };
  }

  /** Zoom and pan of a pane given to all that show the same plane of the same space. */
  followCamera(pane: PaneName): void {
    const plan = this.plan(pane);
    if (!this.state.links.camera || !plan.linked) return;
    const { stage } = this.scene;
    const framing = stage.framing(pane);
    for (const other of this.planar) {
      if (other.spec.id === pane || !other.linked || other.spec.plane !== plan.spec.plane || !stage.has(other.spec.id)) continue;
      stage.frame(other.spec.id, framing);
    }
  }

  /** Framings of a pane and of those that follow it, to be kept. */
  framings(pane: PaneName): Partial<Record<PaneName, Framing>> {
    const plan = this.plan(pane);
    const framing = this.scene.stage.framing(pane);
    const group = this.state.links.camera && plan.linked ? this.planar.filter((other) => other.linked && other.spec.plane === plan.spec.plane) : [plan];
    return Object.fromEntries(group.map((one) => [one.spec.id, framing]));
  }

  fit(): void {
    for (const pane of this.names) if (this.scene.stage.has(pane)) this.scene.stage.frame(pane, FITTED);
  }
}
