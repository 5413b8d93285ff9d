/** Brings one pane's text and marks up to date with the scene. */
import { apply, invert, type Vec3 } from '../affine';
import { t } from '../i18n';
import { labelEdges } from './edges';
import type { Loaded } from './loaded';
import { differenceNote } from './compare-canvas';
import { COMPARE_LABELS } from './comparison';
import { millimetres } from './beside';
import type { MeasuredMarks } from './marks/measured';
import { drawMarks, findingMarks, textPlace, type LandmarkMark, type MissingPart, millimetresPerPixel, type Outlined } from './overlay';
import { drawnDirections } from './orientation';
import type { PanePlan } from './pane-spec';
import type { Pane, PaneText } from './panes';
import type { Scene } from './scene';
import { PROJECTION_NAMES, slabThickness } from './slab';
import { type Contour, type Plane, prepareContours } from './slicing';
import type { PaneName, Point2 } from './stage';
import { drawPlaneLines, planeLines } from './tilt-handles';
import type { Finding, Layer, Outline } from './types';

export interface DrawingActions {
  openFusion(layer: Layer): void;
  showAlone(id: number | null): void;
  /** Draws the slab of a pane, and the comparison in force, over its picture. */
  compare(pane: PaneName): void;
  swipe(pane: PaneName, shown: boolean, left: string, right: string): void;
  /** The reader's marks in a pane. */
  measured(pane: PaneName): MeasuredMarks | null;
  /** Puts the handles that turn the other planes in their place. */
  handles(pane: PaneName): void;
  landmarks(): LandmarkMark[];
  ring(pane: PaneName): { at: Point2; radius: number } | null;
}

export class Drawing {
  selectedFinding: number | null = null;
  private readonly contours = new WeakMap<Outline, Contour[]>();
  private readonly ownContours = new WeakMap<Outline, Contour[]>();

  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly panes: ReadonlyMap<PaneName, Pane>,
    private readonly actions: DrawingActions,
  ) {}

  plane(pane: PaneName): Plane {
    return { point: this.scene.panes.point(pane), normal: this.scene.axes[pane]!.normal };
  }

  private outlines(plan: PanePlan): Outlined[] {
    const { state } = this.scene.store;
    if (!state.outlines || !plan.linked) return [];
    const of = (outline: Outline): boolean => outline.fused && (!plan.base.prior || outline.layer === plan.base.id);
    const shown = this.scene.view.outlines.filter((outline) => (state.alone === null ? of(outline) : outline.layer === state.alone));
    const kept = state.alone === null ? this.contours : this.ownContours;
    return shown.map((outline) => {
      let contours = kept.get(outline);
      if (!contours) kept.set(outline, (contours = prepareContours(this.polygons(outline))));
      return { name: outline.name, color: outline.color, contours };
    });
  }

  /** Polygons come in reference LPS; a layer shown alone is in its own. */
  private polygons(outline: Outline): Vec3[][] {
    const layer = this.scene.layer(outline.layer);
    if (this.scene.store.state.alone === null || !layer) return outline.polygons;
    const back = invert(layer.matrix);
    return outline.polygons.map((polygon) => polygon.map((point) => apply(back, point)));
  }

  private missing(plan: PanePlan): MissingPart[] {
    const layers = [plan.base, ...this.scene.panes.visible(plan.spec.id).filter((layer) => layer.kind !== 'segmentation')];
    return layers
      .map((layer, n) => ({ grid: this.scene.grid(layer.id), ranges: this.loaded.missing(layer), base: n === 0 }))
      .filter((part) => part.ranges.length > 0);
  }

  /** Today's findings are not drawn on an earlier study: they would be taken for findings of that one. */
  private findings(plan: PanePlan): readonly Finding[] {
    const { state } = this.scene.store;
    return plan.linked && !plan.base.prior && state.alone === null && state.marks ? this.scene.view.findings : [];
  }

  private edges(pane: PaneName, toWorld: (at: Point2) => Vec3): [Point2, Point2][] {
    const element = this.panes.get(pane)!.image;
    return this.scene.panes.visible(pane)
      .filter((layer) => layer.kind === 'segmentation')
      .flatMap((layer) => {
        const pixels = this.scene.stage.pixels(layer.id);
        return pixels ? labelEdges(this.scene.grid(layer.id), pixels, toWorld, element.clientWidth, element.clientHeight) : [];
      });
  }

  draw(name: PaneName): void {
    const pane = this.panes.get(name);
    const { scene } = this;
    if (!pane?.element.clientWidth || pane.element.hidden || !scene.axes[name] || !scene.stage.has(name)) return;
    const plan = scene.panes.plan(name);
    const { linked, base } = plan;
    const point = scene.panes.point(name);
    const compares = scene.panes.compares(name);
    const { stage, store } = scene;
    const { state } = store;
    const toWorld = (at: Point2): Vec3 => stage.toWorld(name, at);
    const mmPerPixel = millimetresPerPixel(toWorld);
    const axes = scene.axes[name]!;
    const isTilted = linked && state.alone === null && Object.keys(state.tilts).length > 0;
    this.actions.compare(name);
    this.actions.swipe(name, compares && scene.comparing === 'swipe', base.label, scene.compared?.label ?? '');
    drawMarks(pane.marks, {
      plane: this.plane(name),
      halfStep: axes.step / 2,
      toCanvas: (point) => stage.toCanvas(name, point),
      missing: this.missing(plan),
      outlines: this.outlines(plan),
      edges: this.edges(name, toWorld),
      findings: this.findings(plan),
      selectedFinding: this.selectedFinding,
      measured: this.actions.measured(name),
      focus: state.crosshair && scene.panes.showsCursor(name) && !isTilted ? scene.panes.cursor(name) : null,
      landmarks: linked && state.alone === null ? this.actions.landmarks() : [],
      ring: linked ? this.actions.ring(name) : null,
      width: pane.element.clientWidth,
      mmPerPixel,
    });
    if (isTilted && state.crosshair) drawPlaneLines(pane.marks, planeLines(scene, name));
    this.actions.handles(name);
    const baseSettings = scene.panes.settings(name, base);
    if (!baseSettings) return;
    const drawn = drawnDirections(toWorld);
    pane.update({
      plane: plan.spec.plane,
      heading: plan.spec.title?.(),
      kind: this.kind(name, plan),
      axes,
      drawn: { right: scene.panes.ownDirection(plan, drawn.right), up: scene.panes.ownDirection(plan, drawn.up) },
      grid: scene.panes.grid(plan),
      point: scene.panes.own(plan, point),
      position: scene.position(name),
      zoom: stage.framing(name).scale,
      mmPerPixel,
      base,
      baseSettings,
      overlays: scene.panes.visible(name).flatMap((layer) => {
        const settings = scene.panes.settings(name, layer);
        return settings ? [{ layer, settings, trying: scene.trying(layer) }] : [];
      }),
      ...(base.id === scene.base.id ? {} : { linkedTo: { layer: base, trying: scene.trying(base) } }),
      compare: compares ? this.comparison() : linked ? null : { title: t('{layer}, own space', { layer: base.label }), notes: [['warn', t('Cursor not linked: not registered')]] },
      cursor: scene.beside ? `${scene.base.label} ${millimetres(scene.focus)}` : null,
      alone: state.alone !== null,
      coarse: this.coarse(name, plan),
      synthetic: scene.view.patient.synthetic || [base, ...scene.panes.visible(name)].some((layer) => layer.synthetic),
      onBadge: (layer) => this.actions.openFusion(layer),
      onBack: () => this.actions.showAlone(null),
    });
  }

  private comparison(): PaneText['compare'] {
    const { comparing, compared, base } = this.scene;
    const { tile } = this.scene.store.state;
    if (comparing === 'blend' || !compared) return null;
    const name = COMPARE_LABELS[comparing].toLowerCase();
    if (comparing === 'checkerboard') return { title: name, notes: [['info', t('{tile} mm tiles', { tile })]] };
    if (comparing === 'edges') return { title: t('edges of {label}', { label: compared.label }), notes: [] };
    if (comparing === 'swipe') return { title: name, notes: [] };
    const { text, doubtful } = differenceNote(base, compared);
    return { title: name, notes: [[doubtful ? 'warn' : 'info', text], ['info', t('Orange: {base} brighter, blue: {compared}', { base: base.label, compared: compared.label })]] };
  }

  /** True while what a pane shows, base and fused layers, is not full resolution everywhere. */
  private coarse(name: PaneName, { base, linked }: PanePlan): boolean {
    const { scene } = this;
    // A fused layer lies on a grid of its own: a pane cuts across many of its slices.
    if (scene.panes.visible(name).some((layer) => !this.loaded.lossless(layer))) return true;
    // Slices of another layer, or of a slab, are cut across.
    const isOwn = !linked || base.id === scene.base.id;
    if (scene.axes[name]!.axis !== 2 || !isOwn || scene.panes.slab(name)) return !this.loaded.lossless(base);
    return !this.loaded.isFine(base, Math.round(scene.grid(base.id).toIndex(scene.panes.point(name))[2]));
  }

  /** What kind of plane it is, in words, where it is not the plain one. */
  private kind(name: PaneName, plan: PanePlan): string[] {
    const { panes, axes, store } = this.scene;
    const words: string[] = [];
    if (store.state.tilts[name]) words.push(t('oblique'));
    else if (axes[name]!.axis === null) words.push(t('patient planes'));
    const slab = panes.slab(name);
    if (slab) {
      const mm = slabThickness(this.scene.grid(plan.base.id), axes[name]!.normal, slab.mm);
      words.push(`${PROJECTION_NAMES[slab.mode]} ${mm.toFixed(mm < 10 ? 1 : 0)} mm`);
    }
    return words;
  }

  /** The finding whose mark lies under a point of a pane. */
  findingAt(name: PaneName, at: Point2): Finding | undefined {
    return this.placedFindings(name).find(({ at: centre, radius }) => Math.hypot(at[0] - centre[0], at[1] - centre[1]) <= radius + 3)?.finding;
  }

  /** Where the texts of findings begin, if they are about so wide. */
  findingTexts(name: PaneName, width: number): Point2[] {
    return this.placedFindings(name).map((placed) => textPlace(placed, width, this.panes.get(name)!.element.clientWidth));
  }

  private placedFindings(name: PaneName): ReturnType<typeof findingMarks> {
    const { stage } = this.scene;
    return findingMarks({
      plane: this.plane(name),
      toCanvas: (point) => stage.toCanvas(name, point),
      findings: this.findings(this.scene.panes.plan(name)),
      halfStep: this.scene.axes[name]!.step / 2,
      mmPerPixel: millimetresPerPixel((p) => stage.toWorld(name, p)),
    });
  }
}
