/** Brings one pane's text and marks up to date with the scene. */
import { apply, invert, type Vec3 } from '../affine';
import { labelEdges } from './edges';
import type { Loaded } from './loaded';
import { differenceNote } from './compare-canvas';
import { COMPARE_LABELS } from './comparison';
import { millimetres } from './beside';
import { drawMarks, findingMarks, type LandmarkMark, type MissingPart, millimetresPerPixel, type Outlined } from './overlay';
import type { Pane, PaneText } from './panes';
import type { Scene } from './scene';
import { type Contour, type Plane, prepareContours } from './slicing';
import type { PaneName, Point2 } from './stage';
import type { Finding, Layer, Outline } from './types';

export interface DrawingActions {
  openFusion(layer: Layer): void;
  showAlone(id: number | null): void;
  /** Draws the comparison in force over a pane. */
  compare(pane: PaneName): void;
  swipe(pane: PaneName, shown: boolean, left: string, right: string): void;
  landmarks(): LandmarkMark[];
  ring(pane: PaneName): { at: Point2; radius: number } | null;
}

export class Drawing {
  selectedFinding: number | null = null;
  draft: { pane: PaneName; points: Vec3[] } | null = null;
  private readonly contours = new WeakMap<Outline, Contour[]>();
  private readonly ownContours = new WeakMap<Outline, Contour[]>();

  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly panes: Record<PaneName, Pane>,
    private readonly actions: DrawingActions,
  ) {}

  plane(pane: PaneName): Plane {
    return { point: this.scene.snapped, normal: this.scene.axes[pane].normal };
  }

  private outlines(): Outlined[] {
    const { state } = this.scene.store;
    if (!state.outlines) return [];
    const shown = this.scene.view.outlines.filter((outline) => (state.alone === null ? outline.fused : outline.layer === state.alone));
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

  private missing(): MissingPart[] {
    const layers = [this.scene.base, ...this.scene.visibleOverlays.filter((layer) => layer.kind !== 'segmentation')];
    return layers
      .map((layer, n) => ({ grid: this.scene.grid(layer.id), ranges: this.loaded.missing(layer), base: n === 0 }))
      .filter((part) => part.ranges.length > 0);
  }

  private findings(): readonly Finding[] {
    const { state } = this.scene.store;
    return state.alone === null && state.marks ? this.scene.view.findings : [];
  }

  private edges(pane: PaneName, toWorld: (at: Point2) => Vec3): [Point2, Point2][] {
    const element = this.panes[pane].image;
    return this.scene.visibleOverlays
      .filter((layer) => layer.kind === 'segmentation')
      .flatMap((layer) => {
        const pixels = this.scene.stage.pixels(layer.id);
        return pixels ? labelEdges(this.scene.grid(layer.id), pixels, toWorld, element.clientWidth, element.clientHeight) : [];
      });
  }

  draw(name: PaneName): void {
    const pane = this.panes[name];
    if (!pane.element.clientWidth || pane.element.hidden) return;
    const { scene } = this;
    const { stage, store } = scene;
    const { state } = store;
    const toWorld = (at: Point2): Vec3 => stage.toWorld(name, at);
    const mmPerPixel = millimetresPerPixel(toWorld);
    const axes = scene.axes[name];
    this.actions.compare(name);
    this.actions.swipe(name, scene.comparing === 'swipe', scene.base.label, scene.compared?.label ?? '');
    drawMarks(pane.marks, {
      plane: this.plane(name),
      halfStep: axes.step / 2,
      toCanvas: (point) => stage.toCanvas(name, point),
      missing: this.missing(),
      outlines: this.outlines(),
      edges: this.edges(name, toWorld),
      findings: this.findings(),
      selectedFinding: this.selectedFinding,
      measurements: state.alone === null ? scene.view.measurements : [],
      draft: this.draft?.pane === name ? this.draft.points : [],
      focus: state.crosshair ? scene.focus : null,
      landmarks: state.alone === null ? this.actions.landmarks() : [],
      ring: this.actions.ring(name),
      visibleLabels: [scene.base, ...scene.visibleOverlays].map((layer) => layer.label),
      width: pane.element.clientWidth,
      mmPerPixel,
    });
    const baseSettings = store.settings(scene.base.id);
    if (!baseSettings) return;
    pane.update({
      axes,
      grid: scene.baseGrid,
      point: scene.snapped,
      position: scene.position(name),
      zoom: stage.framing(name).scale,
      mmPerPixel,
      base: scene.base,
      baseSettings,
      overlays: scene.visibleOverlays.flatMap((layer) => {
        const settings = store.settings(layer.id);
        return settings ? [{ layer, settings, trying: scene.trying(layer) }] : [];
      }),
      compare: this.comparison(),
      cursor: scene.beside ? `${scene.base.label} ${millimetres(scene.focus)}` : null,
      alone: state.alone !== null,
      coarse: this.coarse(name),
      synthetic: scene.view.patient.synthetic || scene.base.synthetic,
      onBadge: (layer) => this.actions.openFusion(layer),
      onBack: () => this.actions.showAlone(null),
    });
  }

  private comparison(): PaneText['compare'] {
    const { comparing, compared, base } = this.scene;
    const { tile } = this.scene.store.state;
    if (comparing === 'blend' || !compared) return null;
    const name = COMPARE_LABELS[comparing].toLowerCase();
    if (comparing === 'checkerboard') return { title: name, notes: [['info', `${tile} mm tiles`]] };
    if (comparing === 'edges') return { title: `edges of ${compared.label}`, notes: [] };
    if (comparing === 'swipe') return { title: name, notes: [] };
    const { text, doubtful } = differenceNote(base, compared);
    return { title: name, notes: [[doubtful ? 'warn' : 'info', text], ['info', `Orange: ${base.label} brighter, blue: ${compared.label}`]] };
  }

  /** True while what a pane shows of the base is not full resolution everywhere. */
  private coarse(name: PaneName): boolean {
    const { base, baseGrid, axes } = this.scene;
    if (axes[name].axis !== 2) return !this.loaded.complete(base);
    return !this.loaded.isFine(base, Math.round(baseGrid.toIndex(this.scene.snapped)[2]));
  }

  /** The finding whose mark lies under a point of a pane. */
  findingAt(name: PaneName, at: Point2): Finding | undefined {
    const { stage } = this.scene;
    const marks = findingMarks({
      plane: this.plane(name),
      toCanvas: (point) => stage.toCanvas(name, point),
      findings: this.findings(),
      halfStep: this.scene.axes[name].step / 2,
      mmPerPixel: millimetresPerPixel((p) => stage.toWorld(name, p)),
    });
    return marks.find(({ at: centre, radius }) => Math.hypot(at[0] - centre[0], at[1] - centre[1]) <= radius + 3)?.finding;
  }
}
