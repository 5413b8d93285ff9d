/** The rotating MIP of a series: wheel turns it, a click puts the crosshair on the peak behind, cine turns it by itself. */
import { add, dot, type Grid, scale, subtract, type Vec3 } from '../affine';
import { t } from '../i18n';
import type { Commands } from './commands';
import { button } from './dom';
import type { Loaded } from './loaded';
import { detectorOf, type Mip, peakBehind, project } from './mip';
import { windowButton } from './mouse';
import type { PanePlan } from './pane-spec';
import { scaleBar, Pane } from './panes';
import { edgeLetters } from './orientation';
import { drawCrosshair } from './marks/crosshair';
import { isImage, shown, unitLabel } from './presets';
import type { Scene } from './scene';
import { blend, shades } from './slab-canvas';
import type { PaneName, Point2 } from './stage';
import type { State } from './state';
import { h } from './dom';
import { MIP_STEP } from './view-commands';
import type { Layer } from './types';

const CINE_MS = 90;
const DOUBLE_MS = 500;
/** Angles kept of one state of the voxels: a whole turn. */
const KEPT = 360 / MIP_STEP;

export interface MipActions {
  redraw(): void;
  openFusion(layer: Layer): void;
}

export class MipPane {
  readonly pane = new Pane('mip');
  private readonly canvas = h('canvas', { class: 'beside-image mip-image' });
  private readonly kept = new Map<number, Mip>();
  private keptKey = '';
  /** Which series, and where it lies: a picture of another is never shown in its stead. */
  private keptOf = '';
  private drawn = '';
  private timer = 0;
  /** Where the cursors were before a click jumped; the first half of a double click is taken back. */
  private before: Pick<State, 'focus' | 'cursors' | 'stands'> | null = null;
  private cineTimer = 0;
  private readonly cine = button(t('Turn'), () => this.toggleCine(), { title: t('Turn the MIP by itself'), class: 'btn btn--small mip-cine' });
  private current: { grid: Grid; mip: Mip; box: { x: number; y: number; mm: number } } | null = null;

  constructor(
    private readonly scene: Scene,
    private readonly commands: Commands,
    private readonly loaded: Loaded,
    private readonly actions: MipActions,
  ) {
    this.pane.image.append(this.canvas);
    this.pane.element.append(this.cine);
    this.pane.element.hidden = true;
    this.cine.setAttribute('aria-pressed', 'false');
    this.install();
  }

  get plan(): PanePlan | null {
    return this.scene.panes.plans.find((plan) => plan.spec.kind === 'rotating-mip') ?? null;
  }

  private get id(): PaneName {
    return this.pane.name;
  }

  get angle(): number {
    return this.scene.store.state.angles[this.id] ?? 0;
  }

  toggleCine(): void {
    const isOn = this.cineTimer !== 0;
    window.clearInterval(this.cineTimer);
    this.cineTimer = isOn ? 0 : window.setInterval(() => {
      if (this.pane.element.hidden) this.toggleCine();
      else this.commands.view.rotateMip(this.id, 1);
    }, CINE_MS);
    this.cine.setAttribute('aria-pressed', String(!isOn));
  }

  /** The projection at an angle; while voxels still come it is made at most every second. */
  private projection(layer: Layer, grid: Grid): Mip | null {
    const pixels = this.scene.stage.pixels(layer.id);
    if (!pixels) return null;
    const of = JSON.stringify([layer.id, grid.affine]);
    const key = `${of} ${this.loaded.stamp(layer)}`;
    if (key !== this.keptKey) {
      const isYoung = this.keptOf === of && !this.loaded.complete(layer);
      const same = this.kept.get(this.angle);
      if (isYoung && same) {
        this.timer ||= window.setTimeout(() => {
          this.timer = 0;
          this.kept.clear();
          this.actions.redraw();
        }, 1000);
        return same;
      }
      [this.keptKey, this.keptOf] = [key, of];
      this.kept.clear();
    }
    let mip = this.kept.get(this.angle);
    if (!mip) {
      mip = project(grid, pixels, this.angle);
      if (this.kept.size >= KEPT) this.kept.clear();
      this.kept.set(this.angle, mip);
    }
    return mip;
  }

  draw(): void {
    const { plan } = this;
    const { layout } = this.scene.store.state;
    // One pane of another layout, or of none: all of this one are seen.
    const isShown = plan !== null && (layout === plan.spec.id || !this.scene.panes.has(layout));
    this.pane.element.hidden = !isShown;
    if (!isShown) return;
    if (this.pane.name !== plan.spec.id) this.pane.rename(plan.spec.id);
    const { clientWidth: width, clientHeight: height } = this.pane.image;
    if (!width || !height) return;
    const grid = this.scene.grid(plan.base.id);
    const mip = this.projection(plan.base, grid);
    const settings = this.scene.panes.settings(this.id, plan.base);
    if (!mip || !settings) return;
    const { detector } = mip;
    const mm = Math.max((detector.width * detector.bin[0]) / width, (detector.height * detector.bin[1]) / height);
    const [w, hgt] = [(detector.width * detector.bin[0]) / mm, (detector.height * detector.bin[1]) / mm];
    this.current = { grid, mip, box: { x: (width - w) / 2, y: (height - hgt) / 2, mm } };
    const key = JSON.stringify([this.keptKey, this.angle, settings]);
    if (key !== this.drawn) {
      this.drawn = key;
      this.paint(plan.base, mip);
    }
    Object.assign(this.canvas.style, { left: `${(width - w) / 2}px`, top: `${(height - hgt) / 2}px`, width: `${w}px`, height: `${hgt}px` });
    this.marks(plan, width, height);
    this.text(plan, mm, width);
  }

  private paint(layer: Layer, { detector, values }: Mip): void {
    const settings = this.scene.panes.settings(this.id, layer)!;
    const stored = (value: number): number => (value - layer.intercept) / layer.slope;
    const rgba = new Uint8ClampedArray(values.length * 4);
    const table = shades(layer, settings, true);
    for (let p = 0; p < rgba.length; p += 4) rgba.set([table[0]!, table[1]!, table[2]!, 255], p);
    blend(rgba, values, stored(settings.centre - settings.width / 2), stored(settings.centre + settings.width / 2), table);
    this.canvas.width = detector.width;
    this.canvas.height = detector.height;
    this.canvas.getContext('2d')?.putImageData(new ImageData(rgba, detector.width, detector.height), 0, 0);
    this.pane.image.style.background = `rgb(${[0, 1, 2].map((c) => Math.round(table[c]!)).join(' ')})`;
    this.pane.element.classList.toggle('is-light', table[0]! > 127);
  }

  private marks(plan: PanePlan, width: number, height: number): void {
    const { marks } = this.pane;
    const ratio = window.devicePixelRatio || 1;
    marks.width = Math.round(width * ratio);
    marks.height = Math.round(height * ratio);
    const context = marks.getContext('2d');
    if (!context || !this.scene.store.state.crosshair) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const cursor = plan.linked ? this.scene.focus : (this.scene.store.state.cursors[plan.base.id] ?? null);
    const at = cursor && this.toCanvas(cursor);
    if (at) drawCrosshair(context, at, width, height);
  }

  private text(plan: PanePlan, mm: number, width: number): void {
    const { base } = plan;
    const settings = this.scene.panes.settings(this.id, base)!;
    const detector = this.current!.mip.detector;
    this.pane.updateProjection({
      base,
      settings,
      letters: edgeLetters({ right: this.scene.panes.ownDirection(plan, detector.right), up: this.scene.panes.ownDirection(plan, detector.up) }),
      title: t('MIP · {layer}', { layer: base.label }),
      place: t('turned {angle}°', { angle: this.angle }),
      flags: [
        ...(this.scene.view.patient.synthetic || base.synthetic ? [['synthetic', 'SYNTHETIC'] as const] : []),
        ...(this.loaded.covered(base) ? [] : [['warn', t('Not all slices are here yet')] as const]),
        ...(this.loaded.covered(base) && !this.loaded.lossless(base) ? [['info', t('Coarse preview')] as const] : []),
        ...(base.lossy ? [['warn', t('{layer} lossy {ratio}', { layer: base.label, ratio: base.lossy })] as const] : []),
      ],
      trying: this.scene.trying(base),
      bar: scaleBar(mm, width),
      onBadge: (layer) => this.actions.openFusion(layer),
    });
  }

  /** CSS px of a point; the picture is a shadow, so depth does not matter. */
  toCanvas(point: Vec3): Point2 | null {
    if (!this.current) return null;
    const { box, mip } = this.current;
    const { detector } = mip;
    const from = subtract(point, detector.origin);
    return [box.x + (dot(from, detector.right) + detector.bin[0] / 2) / box.mm, box.y + (detector.bin[1] / 2 - dot(from, detector.up)) / box.mm];
  }

  /** The point of the detector's plane through the volume's middle. */
  toWorld(at: Point2): Vec3 | null {
    if (!this.current) return null;
    const { box, mip: { detector } } = this.current;
    return add(add(detector.origin, scale(detector.right, (at[0] - box.x) * box.mm - detector.bin[0] / 2)), scale(detector.up, detector.bin[1] / 2 - (at[1] - box.y) * box.mm));
  }

  /** Puts the crosshair on the voxel that is seen at a place of the picture. */
  jump(at: Point2): void {
    const { plan, current } = this;
    this.before = null;
    const pixels = plan && this.scene.stage.pixels(plan.base.id);
    if (!plan || !pixels || !current) return;
    const { box, grid } = current;
    const detector = detectorOf(grid, this.angle);
    const [column, row] = [Math.floor(((at[0] - box.x) * box.mm) / detector.bin[0]), Math.floor(((at[1] - box.y) * box.mm) / detector.bin[1])];
    const peak = peakBehind(grid, pixels, detector, column, row);
    if (!peak) return;
    const { focus, cursors, stands } = this.scene.store.state;
    this.before = { focus, cursors, stands };
    this.scene.panes.moveTo(this.id, grid.toLps(peak.ijk));
  }

  private install(): void {
    const { element } = this.pane;
    const where = (event: MouseEvent): Point2 => {
      const box = this.pane.image.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let start: Point2 | null = null;
    let last: Point2 = [0, 0];
    let button = 0;
    let moved = false;
    let jumpedAt = -DOUBLE_MS;
    element.addEventListener('pointerdown', (event) => {
      if ((event.target as Element).closest('button')) return;
      this.scene.store.patch({ pane: this.id });
      element.focus({ preventScroll: true });
      start = last = where(event);
      [button, moved] = [event.button, false];
      element.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    element.addEventListener('pointermove', (event) => {
      if (!start) return;
      const at = where(event);
      moved ||= Math.hypot(at[0] - start[0], at[1] - start[1]) > 3;
      if (!moved) return;
      const [dx, dy] = [at[0] - last[0], at[1] - last[1]];
      if (button === windowButton() && this.plan) {
        this.commands.windowBy(this.plan.base, dx, dy);
        last = at;
      } else if (Math.abs(dx) >= 8) {
        this.commands.view.rotateMip(this.id, Math.trunc(dx / 8));
        last = at;
      }
    });
    element.addEventListener('pointerup', (event) => {
      // The second half of a double click jumps nowhere.
      if (start && !moved && event.button === 0 && event.timeStamp - jumpedAt > DOUBLE_MS) {
        jumpedAt = event.timeStamp;
        this.jump(where(event));
      }
      start = null;
    });
    element.addEventListener('pointercancel', () => (start = null));
    element.addEventListener('focus', () => {
      if (this.scene.store.state.pane !== this.id) this.scene.store.patch({ pane: this.id });
    });
    element.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.commands.view.rotateMip(this.id, Math.sign(event.deltaY || event.deltaX));
    }, { passive: false });
    element.addEventListener('dblclick', (event) => {
      if ((event.target as Element).closest('button')) return;
      if (this.before) this.scene.store.patch(this.before);
      this.before = null;
      this.commands.toggleOneUp(this.id);
    });
    element.addEventListener('contextmenu', (event) => event.preventDefault());
  }

  /** For browser tests: the picture at the detector's own size. */
  get image(): HTMLCanvasElement {
    return this.canvas;
  }

  get readout(): object | null {
    const { plan } = this;
    if (!plan || !isImage(plan.base)) return null;
    return { pane: this.id, angle: this.angle, layer: plan.base.id, window: shown(this.scene.panes.settings(this.id, plan.base)?.width ?? 0, 1), unit: unitLabel(plan.base.unit) };
  }
}
