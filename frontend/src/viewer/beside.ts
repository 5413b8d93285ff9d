/** The pane beside the reference: the moving series in its own space, in its own planes, with its own zoom. */
import { Grid, type Vec3 } from '../affine';
import { t } from '../i18n';
import { paintWhere } from './comparison';
import { drawMarks, type LandmarkMark } from './overlay';
import type { LinkedCursor } from './linked-cursor';
import type { Loaded } from './loaded';
import { type ButtonAct, buttonAct, Wheel } from './mouse';
import { NativeView } from './native-view';
import { Pane } from './panes';
import { rasterOf, samplePlane } from './sampling';
import type { Scene } from './scene';
import type { Point2 } from './stage';
import type { LayerSettings } from './state';
import type { Layer } from './types';
import { type Plane, slicePosition, stepPoint } from './orientation';

export interface BesideActions {
  /** The reader chose a point here (own LPS mm). */
  landmark(point: Vec3): void;
  landmarks(): LandmarkMark[];
  openFusion(layer: Layer): void;
  close(): void;
  windowBy(layer: Layer, dx: number, dy: number): void;
  redraw(): void;
}

/** Of a drag that scrolls, per slice. */
const SCROLL_PX = 7;
const LOST = {
  outside: () => t('No counterpart here'),
  unknown: () => t('Counterpart not known: the server did not answer'),
};
const lostness = (there: Vec3 | null | undefined): keyof typeof LOST | null => (there ? null : there === null ? 'outside' : 'unknown');

export function millimetres(point: Vec3): string {
  return `${point.map((value) => value.toFixed(1).replace('-', '−')).join(', ')} mm`;
}

export class BesidePane {
  readonly pane = new Pane('moving');
  private readonly canvas = document.createElement('canvas');
  private view: NativeView | null = null;
  private of = 0;
  private drawn = '';
  /** What the cursor was last carried over from, so that it is asked for once. */
  private followed = '';
  /** Why the cursor here is not the counterpart of the reference's; null where it is, or is not linked. */
  private lost: 'outside' | 'unknown' | null = null;

  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly cursor: LinkedCursor,
    private readonly actions: BesideActions,
  ) {
    this.canvas.className = 'beside-image';
    this.pane.image.append(this.canvas);
    this.pane.element.hidden = true;
    this.pane.element.setAttribute('aria-label', t('Moving series, own space'));
    this.install();
  }

  /** The moving point under the cursor, in the series' own LPS; null where it has no counterpart. */
  get point(): Vec3 | null {
    return this.view && !this.lost ? this.view.cursor : null;
  }

  private open(layer: Layer): NativeView {
    if (!this.view || this.of !== layer.id) {
      this.view = new NativeView(new Grid(layer.shape, layer.affine), 'axial', new Grid(layer.shape, layer.affine).centre);
      [this.of, this.drawn, this.followed] = [layer.id, '', ''];
    }
    const { pane } = this.scene.store.state;
    const plane = this.scene.planeOf(pane);
    if (this.view.plane !== plane) {
      this.view.plane = plane;
      this.view.fit();
    }
    return this.view;
  }

  /** Brings the cursor here where the reference's is, through the transform. */
  private follow(layer: Layer, view: NativeView): void {
    if (!this.cursor.isLinked(layer)) {
      this.lost = null;
      return;
    }
    const key = JSON.stringify([layer.id, this.scene.focus, this.scene.matrix(layer), layer.fusion.refinement ?? null]);
    if (key === this.followed) return;
    this.followed = key;
    this.cursor.carry(layer, this.scene.focus, 'reference', (there) => {
      this.lost = lostness(there);
      if (there) view.cursor = there;
      this.actions.redraw();
    });
  }

  private choose(point: Vec3): void {
    const { beside, store } = this.scene;
    if (!beside || !this.view) return;
    this.view.cursor = point;
    if (!this.cursor.isLinked(beside)) {
      this.actions.redraw();
      return;
    }
    this.cursor.carry(beside, point, 'moving', (there) => {
      this.lost = lostness(there);
      if (there) {
        // The reader pointed here: the way back must not move the point again.
        this.followed = JSON.stringify([beside.id, there, this.scene.matrix(beside), beside.fusion.refinement ?? null]);
        store.patch({ focus: there });
      } else this.actions.redraw();
    });
  }

  private step(slices: number): void {
    if (this.view) this.choose(stepPoint(this.view.grid, this.view.pane, this.view.cursor, slices));
  }

  /** As the tools set them: of the pane whose plane is shown here, where windows are not linked. */
  private settings(layer: Layer): LayerSettings | undefined {
    return this.scene.panes.settings(this.scene.store.state.pane, layer);
  }

  draw(): void {
    const layer = this.scene.beside;
    this.pane.element.hidden = layer === null;
    if (!layer) return;
    const view = this.open(layer);
    const { clientWidth: width, clientHeight: height } = this.pane.image;
    if (!width || !height) return;
    view.resize(width, height);
    this.follow(layer, view);
    this.drawImage(layer, view, width, height);
    this.drawText(layer, view, width);
  }

  private drawImage(layer: Layer, view: NativeView, width: number, height: number): void {
    const settings = this.settings(layer);
    const pixels = this.scene.stage.pixels(layer.id);
    if (!settings || !pixels) return;
    const raster = rasterOf((at) => view.toWorld(at), width, height);
    const stored = (value: number): number => (value - layer.intercept) / layer.slope;
    const tone = { lower: stored(settings.centre - settings.width / 2), upper: stored(settings.centre + settings.width / 2), colormap: settings.colormap, invert: settings.invert };
    const key = JSON.stringify([raster, tone, this.loaded.stamp(layer)]);
    if (key === this.drawn) return;
    this.drawn = key;
    this.canvas.width = raster.width;
    this.canvas.height = raster.height;
    const rgba = paintWhere(samplePlane(view.grid, pixels, raster), tone, null, raster);
    this.canvas.getContext('2d')?.putImageData(new ImageData(rgba, raster.width, raster.height), 0, 0);
  }

  private drawText(layer: Layer, view: NativeView, width: number): void {
    const { pane: axes } = view;
    const { state } = this.scene.store;
    const settings = this.settings(layer)!;
    const linked = this.cursor.isLinked(layer);
    const ranges = this.loaded.missing(layer);
    drawMarks(this.pane.marks, {
      plane: { point: view.snapped, normal: axes.normal },
      halfStep: axes.step / 2,
      toCanvas: (point) => view.toCanvas(point),
      missing: ranges.length ? [{ grid: view.grid, ranges, base: true }] : [],
      outlines: [], edges: [], findings: [], selectedFinding: null, measured: null,
      focus: state.crosshair && !this.lost ? view.cursor : null,
      landmarks: this.actions.landmarks(),
      ring: null,
      width,
      mmPerPixel: view.mmPerPixel,
    });
    const fine = axes.axis === 2 ? this.loaded.isFine(layer, Math.round(view.grid.toIndex(view.snapped)[2])) : this.loaded.lossless(layer);
    this.pane.update({
      plane: view.plane,
      axes,
      grid: view.grid,
      point: view.snapped,
      position: slicePosition(view.grid, axes, view.cursor),
      zoom: view.zoom,
      mmPerPixel: view.mmPerPixel,
      base: layer,
      baseSettings: settings,
      overlays: [],
      linkedTo: { layer, trying: this.scene.trying(layer) },
      alone: false,
      coarse: !fine,
      synthetic: this.scene.view.patient.synthetic || layer.synthetic,
      compare: {
        title: t('{layer}, own space', { layer: layer.label }),
        notes: this.lost ? [['warn', LOST[this.lost]()]] : linked ? [] : [['warn', t('Cursor not linked: not registered')]],
      },
      cursor: this.lost ? null : `${layer.label} ${millimetres(view.cursor)}`,
      onBadge: (of) => this.actions.openFusion(of),
      onBack: () => this.actions.close(),
    });
  }

  private install(): void {
    const { element } = this.pane;
    let drag: ButtonAct | null = null;
    let scrolled = 0;
    let start: Point2 = [0, 0];
    let last: Point2 = [0, 0];
    const wheel = new Wheel();
    const where = (event: MouseEvent): Point2 => {
      const box = this.pane.image.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    element.addEventListener('pointerdown', (event) => {
      if ((event.target as Element).closest('button') || !this.view) return;
      element.focus({ preventScroll: true });
      start = last = where(event);
      drag = buttonAct(event.button);
      scrolled = 0;
      const { tool } = this.scene.store.state;
      if (drag === 'tool' && tool !== 'window') {
        const point = this.view.toWorld(start);
        this.choose(point);
        if (tool === 'landmark') this.actions.landmark(point);
      }
      element.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    element.addEventListener('pointermove', (event) => {
      const layer = this.scene.beside;
      if (!drag || !this.view || !layer) return;
      const at = where(event);
      const [dx, dy] = [at[0] - last[0], at[1] - last[1]];
      last = at;
      const { tool } = this.scene.store.state;
      if (drag === 'pan') this.view.panBy(dx, dy);
      else if (drag === 'zoom') this.view.zoomBy(Math.exp(-dy / 150), start);
      else if (drag === 'scroll') {
        const slices = Math.trunc((at[1] - start[1]) / SCROLL_PX) - scrolled;
        scrolled += slices;
        if (slices) this.step(slices);
        return;
      } else if (drag === 'window' || tool === 'window') return this.actions.windowBy(layer, dx, dy);
      else if (tool === 'crosshair') return this.choose(this.view.toWorld(at));
      this.actions.redraw();
    });
    for (const end of ['pointerup', 'pointercancel'] as const) element.addEventListener(end, () => (drag = null));
    element.addEventListener('wheel', (event) => {
      event.preventDefault();
      const turned = wheel.turn(event);
      if (!turned) return;
      if ('slices' in turned) return this.step(turned.slices);
      this.view?.zoomBy(turned.zoom, where(event));
      this.actions.redraw();
    }, { passive: false });
    element.addEventListener('keydown', (event) => {
      const slices = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (slices === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      this.step(slices);
      event.preventDefault();
      event.stopPropagation();
    });
    element.addEventListener('contextmenu', (event) => event.preventDefault());
    element.addEventListener('auxclick', (event) => event.preventDefault());
  }

  reset(): void {
    this.view?.fit();
    this.actions.redraw();
  }

  /** For browser tests. */
  get image(): HTMLCanvasElement {
    return this.canvas;
  }
  toCanvas(point: Vec3): Point2 | null {
    return this.view?.toCanvas(point) ?? null;
  }
  toWorld(at: Point2): Vec3 | null {
    return this.view?.toWorld(at) ?? null;
  }
  get plane(): Plane | null {
    return this.view?.plane ?? null;
  }
}
