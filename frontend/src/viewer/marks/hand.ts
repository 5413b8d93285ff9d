/** The reader's hand on the marks: drawing new ones, taking hold of handles, selecting, writing labels. */
import { subtract, type Vec3 } from '../../affine';
import { t } from '../../i18n';
import { toast } from '../../pages/toast';
import { isImage, isPet, isSuv } from '../presets';
import type { Scene } from '../scene';
import type { PaneName, Point2 } from '../stage';
import { distanceTo } from '../slicing';
import type { Layer, Measurement, MeasurementBody } from '../types';
import { type Book, idOf, keyOf } from './book';
import { Gesture } from './gesture';
import { labelField } from './label-field';
import { type Box, MarkLabels } from './labels';
import type { MeasuredMarks } from './measured';
import { type Hit, hit, type PaneView, placeMark, type PlacedMark, type ShownMark } from './placing';
import { type Frame, isDegenerate, movedBy, withHandleAt } from './shapes';
import { type Layers, marksShown } from './shown';
import { isPlanar, type MarkTool } from './tools';
import { volumeForm } from './volume-form';
import { preview } from './words';

export interface HandEvents {
  /** Marks must be drawn again. */
  changed(): void;
  /** A mark was selected: its row is shown. */
  selected(key: string | null): void;
  /** Where a pane looks; null where it is not in the reference's space, and nothing can be measured. */
  view(pane: PaneName): PaneView | null;
  element(pane: PaneName): HTMLElement;
  /** Where other text stands in a pane, CSS px. */
  occupied(pane: PaneName): Box[];
  /** Layers drawn in a pane, the base first. */
  visible(pane: PaneName): readonly Layer[];
}

interface Grab {
  key: string;
  tool: MarkTool;
  handle: number | null;
  from: Vec3;
  before: readonly Vec3[];
  points: readonly Vec3[];
  moved: boolean;
}

/** Freehand points are this far apart on screen; marks smaller than the other are slips of the hand. */
const FREEHAND_PX = 2;
const SLIP_PX = 3;

export class Hand {
  selected: string | null = null;
  private hovered: string | null = null;
  private drawn: { pane: PaneName; gesture: Gesture; view: PaneView } | null = null;
  /** Drawn, while its form is open. */
  private asking: { pane: PaneName; tool: MarkTool; points: readonly Vec3[] } | null = null;
  private grab: Grab | null = null;
  private closeForm: (() => void) | null = null;
  private written: string | null = null;
  private readonly labels = new Map<PaneName, MarkLabels>();
  private readonly placedIn = new Map<PaneName, readonly PlacedMark[]>();

  constructor(
    private readonly scene: Scene,
    readonly book: Book,
    private readonly events: HandEvents,
  ) {
    window.addEventListener('beforeunload', (event) => {
      if (book.dirty) event.preventDefault();
    });
  }

  /** A mark that was new got its row. */
  renamed(from: string, to: string): void {
    if (this.selected === from) this.selected = to;
    if (this.hovered === from) this.hovered = to;
    if (this.written === from) this.written = to;
  }

  get mayMeasure(): boolean {
    return this.scene.view.case.can.measure && this.scene.store.state.alone === null;
  }

  private refuse(): void {
    const { state } = this.scene.store;
    if (state.alone !== null) toast(t('Measure in the fused view: positions are stored in the reference space.'), 'warn');
    else if (!this.scene.view.case.can.measure) toast(t('Claim the case to measure.'), 'warn');
    else toast(t('This pane is not aligned with the reference: nothing can be measured in it.'), 'warn');
  }

  // ---- what a pane shows --------------------------------------------------------------------------

  /** Places the marks of a pane and writes their texts; null where there are none. */
  place(pane: PaneName): MeasuredMarks | null {
    const view = this.scene.store.state.alone === null ? this.events.view(pane) : null;
    const placed = view ? this.marks(pane).flatMap((mark) => placeMark(mark, view) ?? []) : [];
    this.placedIn.set(pane, placed);
    this.labelsOf(pane).update(placed, this.selected, [this.selected, this.hovered, 'draft'], this.written, () => this.events.occupied(pane));
    return { placed, selected: this.selected, hovered: this.hovered };
  }

  /** The texts of a pane's marks on a picture of it. */
  writeOn(pane: PaneName, context: CanvasRenderingContext2D): void {
    this.labelsOf(pane).writeOn(context);
  }

  private labelsOf(pane: PaneName): MarkLabels {
    let labels = this.labels.get(pane);
    if (!labels) {
      labels = new MarkLabels({
        select: (key) => this.select(key),
        edit: (key) => this.write(key, pane),
        retry: (key) => this.book.retry(key),
        discard: (key) => this.book.discard(key),
      });
      this.labels.set(pane, labels);
    }
    const host = this.events.element(pane);
    if (labels.element.parentElement !== host) host.append(labels.element);
    return labels;
  }

  private marks(pane: PaneName): ShownMark[] {
    const shown = marksShown(this.book, this.layers(pane)).map((mark) => (this.grab?.key === mark.key ? held(mark, this.grab) : mark));
    const { drawn, asking } = this;
    const draft = drawn?.pane === pane ? { tool: drawn.gesture.tool, points: drawn.gesture.points } : asking?.pane === pane ? asking : null;
    if (draft) shown.push({ key: 'draft', id: null, name: '', label: '', grown: null, reason: '', state: 'draft', brief: [], lines: preview(draft.tool, draft.points), ...draft });
    return shown;
  }

  private layers(pane: PaneName): Layers {
    const { scene } = this;
    return {
      shown: this.events.visible(pane).map((layer) => layer.id),
      find: (key) => scene.view.layers.find((layer) => layer.key === key),
      matrix: (layer) => scene.matrix(layer),
    };
  }

  // ---- pointer ------------------------------------------------------------------------------------

  /** True when a press of the left button belongs to a mark; then `drag` and `release` follow. */
  press(pane: PaneName, at: Point2, world: Vec3, tool: MarkTool | null): boolean {
    // Begun in another pane, or the slice went on meanwhile: it would not lie in one plane.
    if (this.drawn && (this.drawn.pane !== pane || Math.abs(distanceTo(this.drawn.view.plane, world)) > this.drawn.view.halfStep)) this.drawn = null;
    if (this.drawn) {
      this.drawn.gesture.press(world);
      return true;
    }
    const found = this.hit(pane, at, tool !== null);
    if (found && this.mayMeasure && (found.handle !== null || found.placed.mark.key === this.selected)) {
      const { mark } = found.placed;
      // What is on its way to the server cannot be taken hold of.
      if (mark.state === 'saving') return true;
      this.select(mark.key);
      this.grab = { key: mark.key, tool: mark.tool, handle: found.handle, from: world, before: mark.points, points: mark.points, moved: false };
      return true;
    }
    if (found && !tool) {
      this.select(found.placed.mark.key);
      return true;
    }
    if (this.selected && !found) this.select(null);
    if (!tool) return false;
    const view = this.events.view(pane);
    if (!this.mayMeasure || !view) {
      this.refuse();
      return true;
    }
    this.closeForm?.();
    this.drawn = { pane, view, gesture: new Gesture(tool, view.frame, world, FREEHAND_PX * this.mmPerPixel(view)) };
    this.events.changed();
    return true;
  }

  private mmPerPixel(view: PaneView): number {
    const [a, b] = [view.toCanvas(view.plane.point), view.toCanvas([...addScaled(view.plane.point, view.frame.right, 100)])];
    return 100 / Math.max(Math.hypot(b[0] - a[0], b[1] - a[1]), 1e-3);
  }

  /** The pointer moved over a pane, with or without a button. */
  move(pane: PaneName, at: Point2, world: Vec3, moved: boolean): void {
    if (this.drawn?.pane === pane) {
      this.drawn.gesture.move(world);
      this.events.changed();
    } else if (this.grab && moved) {
      this.pull(pane, world);
    } else if (!this.grab) {
      const key = this.hit(pane, at)?.placed.mark.key ?? null;
      if (key !== this.hovered) {
        this.hovered = key;
        this.events.changed();
      }
      this.events.element(pane).classList.toggle('is-on-mark', key !== null);
    }
  }

  private pull(pane: PaneName, world: Vec3): void {
    const view = this.events.view(pane);
    if (!this.grab || !view) return;
    const { tool, handle, before, from } = this.grab;
    this.grab.moved = true;
    this.grab.points = handle === null ? movedBy(before, subtract(world, from)) : withHandleAt(tool, before, handle, world, view.frame);
    this.events.changed();
  }

  release(pane: PaneName, world: Vec3, moved: boolean): void {
    const { grab } = this;
    if (grab) {
      if (moved) this.pull(pane, world);
      const { points } = this.grab!;
      this.grab = null;
      if (grab.moved) this.book.reshape(grab.key, points);
      this.events.changed();
      return;
    }
    const { drawn } = this;
    if (!drawn || drawn.pane !== pane) return;
    if (drawn.gesture.release(world, moved)) {
      this.drawn = null;
      this.complete(pane, drawn.gesture, drawn.view);
    }
    this.events.changed();
  }

  /** A drag that the system broke off leaves everything as it was. */
  breakOff(): void {
    this.grab = null;
    this.drawn = null;
    this.events.changed();
  }

  private hit(pane: PaneName, at: Point2, drawing = false): Hit | null {
    const placed = (this.placedIn.get(pane) ?? []).filter(({ mark, seen }) => mark.state !== 'draft' && seen === 'own');
    return hit(placed, at, drawing);
  }

  // ---- a mark is complete ---------------------------------------------------------------------------

  private complete(pane: PaneName, { tool, points, frame }: Gesture, view: PaneView): void {
    if (isDegenerate(tool, points, SLIP_PX * this.mmPerPixel(view))) {
      const radius = FIRST_RADIUS_MM[tool];
      if (!radius) return;
      points = [points[0]!, addScaled(points[0]!, frame.right, radius)];
    }
    if (tool === 'threshold') return this.ask(pane, points, frame);
    if (tool === 'text') return this.askText(pane, points, frame);
    const { key, stored } = this.book.add(this.body(tool, points, frame));
    this.select(key);
    if (tool === 'arrow') this.write(key, pane, stored);
  }

  private body(tool: MarkTool, points: readonly Vec3[], frame: Frame): MeasurementBody {
    return {
      tool,
      points,
      label: '',
      layers: this.scene.layers.filter((layer) => isImage(layer) || tool === 'probe').map((layer) => layer.id),
      ...(isPlanar(tool) ? { plane: { normal: frame.normal } } : {}),
    };
  }

  /** PET layers first: that is what volumes are grown in. */
  private ask(pane: PaneName, points: readonly Vec3[], frame: Frame): void {
    const images = [this.scene.base, ...this.scene.overlays].filter(isImage);
    const layers = images.filter(isSuv).length ? images.filter(isSuv) : images.filter(isPet);
    if (!layers.length) return void toast(t('No PET in SUV is fused here: a volume cannot be grown.'), 'warn');
    this.asking = { pane, tool: 'threshold', points };
    const view = this.events.view(pane)!;
    const active = layers.find((layer) => layer.id === this.scene.store.state.active) ?? layers.find((layer) => this.events.visible(pane).includes(layer)) ?? layers[0]!;
    this.closeForm = volumeForm(this.events.element(pane), view.toCanvas(points[0]!), view.toCanvas(points[1]!), layers, active.id, (grow) => {
      this.closeForm = null;
      this.asking = null;
      if (grow) this.select(this.book.add({ ...this.body('threshold', points, frame), layers: [grow.layer], threshold: grow.threshold }).key);
      this.events.changed();
    });
  }

  private askText(pane: PaneName, points: readonly Vec3[], frame: Frame): void {
    this.asking = { pane, tool: 'text', points };
    const at = this.events.view(pane)!.toCanvas(points[0]!);
    this.closeForm = labelField(this.events.element(pane), at, '', (label) => {
      this.closeForm = null;
      this.asking = null;
      if (label) this.select(this.book.add({ ...this.body('text', points, frame), label }).key);
      this.events.changed();
    });
  }

  // ---- the selected mark --------------------------------------------------------------------------------

  select(key: string | null): void {
    if (this.selected === key) return;
    this.selected = key;
    this.events.selected(key);
    this.events.changed();
  }

  selectId(id: number): void {
    const mark = this.book.find(id);
    if (mark) this.select(keyOf(mark));
  }

  /** Writes a label in place; of a new mark as soon as the server has it. */
  write(key: string, pane: PaneName, stored?: Promise<Measurement | null>): void {
    if (!this.mayMeasure) return this.refuse();
    const placed = (this.placedIn.get(pane) ?? []).find(({ mark }) => mark.key === key);
    const id = idOf(key);
    const text = id === null ? '' : (this.book.find(id)?.label ?? '');
    const end = this.drawnEnd(key, pane);
    if (!end) return;
    this.written = key;
    this.closeForm = labelField(this.events.element(pane), placed?.anchor ?? end, text, (label) => {
      // It may have got its row since.
      const now = this.written ?? key;
      const row = idOf(now);
      this.closeForm = null;
      this.written = null;
      this.events.changed();
      if (label === null || label === text) return;
      if (stored) void stored.then((measurement) => (measurement ? this.book.relabel(measurement.id, label) : this.book.labelUnsaved(now, label)));
      else if (row !== null) void this.book.relabel(row, label);
      else this.book.labelUnsaved(now, label);
    });
    this.events.changed();
  }

  private drawnEnd(key: string, pane: PaneName): Point2 | null {
    const view = this.events.view(pane);
    const mark = marksShown(this.book, this.layers(pane)).find((one) => one.key === key);
    return view && mark ? view.toCanvas(mark.points[mark.points.length - 1]!) : null;
  }

  remove(): boolean {
    const key = this.selected;
    if (!key) return false;
    const id = idOf(key);
    if (id === null) this.book.discard(key);
    else if (!this.mayMeasure) this.refuse();
    else void this.book.remove(id);
    this.select(null);
    return true;
  }

  /** Gives up what is being drawn, else the selection; false when there was neither. */
  cancel(): boolean {
    if (this.closeForm) this.closeForm();
    else if (this.drawn || this.grab) this.breakOff();
    else if (this.selected) this.select(null);
    else return false;
    this.events.changed();
    return true;
  }

  /** Something is half drawn: keys and the wheel leave it alone. */
  get busy(): boolean {
    return this.drawn !== null || this.grab !== null;
  }
}

/** Under a click: round a lesion for the volume tool; 3 cm across, as PERCIST wants its liver, for a sphere. */
const FIRST_RADIUS_MM: Partial<Record<MarkTool, number>> = { threshold: 20, sphere: 15 };

/** A mark in the hand: where it is now, and none of the numbers of where it was. */
function held(mark: ShownMark, { moved, points, tool }: Grab): ShownMark {
  return moved ? { ...mark, points, lines: preview(tool, points), brief: preview(tool, points), grown: null, state: 'draft' } : mark;
}

function addScaled(p: Vec3, v: Vec3, s: number): Vec3 {
  return [p[0] + v[0] * s, p[1] + v[1] * s, p[2] + v[2] * s];
}
