/** The reader's tools of one case put together: marks, key images, cine and the lens. */
import type { Vec3 } from '../affine';
import { t } from '../i18n';
import { toast } from '../pages/toast';
import { type Api, ApiError } from './api';
import { Cine } from './cine';
import type { Commands } from './commands';
import { Magnifier } from './magnifier';
import { Book, keyOf } from './marks/book';
import { Hand } from './marks/hand';
import { KeyImages } from './marks/key-images';
import type { Box } from './marks/labels';
import type { MeasuredMarks } from './marks/measured';
import type { PaneView } from './marks/placing';
import { MeasuresPanel } from './measures-panel';
import { drawnDirections } from './orientation';
import type { Pane } from './panes';
import { isImage } from './presets';
import type { Scene } from './scene';
import { slabThickness } from './slab';
import type { PaneName, Point2 } from './stage';
import { flipped } from './turning';

export interface ToolEvents {
  /** Marks and panels must be drawn again. */
  changed(): void;
  goto(point: Vec3): void;
  /** Where the texts of findings begin in a pane. */
  findings(pane: PaneName, width: number): Point2[];
}

/** About as wide as "1 AI, unverified". */
const FINDING_PX = 110;

export class ReaderTools {
  readonly book: Book;
  readonly hand: Hand;
  readonly images: KeyImages;
  readonly cine: Cine;
  readonly panel: MeasuresPanel;
  private readonly lens = new Magnifier();
  private lensKey = false;
  private pointer: { pane: PaneName; at: Point2 } | null = null;

  constructor(
    private readonly scene: Scene,
    private readonly commands: Commands,
    private readonly api: Api,
    private readonly panes: ReadonlyMap<PaneName, Pane>,
    private readonly events: ToolEvents,
  ) {
    this.book = new Book(
      { create: (body) => api.measure(body), change: (id, change) => api.changeMeasurement(id, change), hide: (id) => api.hideMark('measurement', id), restore: (id) => api.restoreMeasurement(id) },
      () => scene.view,
      () => events.changed(),
      (reason) => toast(reason, 'bad'),
      (key, measurement) => this.hand.renamed(key, keyOf(measurement)),
    );
    this.hand = new Hand(scene, this.book, {
      changed: () => events.changed(),
      selected: (key) => key && this.panel.reveal(key),
      view: (pane) => this.view(pane),
      element: (pane) => this.panes.get(pane)!.element,
      occupied: (pane) => this.occupied(pane),
      visible: (pane) => (scene.panes.has(pane) ? [scene.panes.plan(pane).base, ...scene.panes.visible(pane)] : []),
    });
    this.images = new KeyImages(scene, api, this.book.history, () => events.changed(), (pane, context) => this.hand.writeOn(pane, context));
    this.panel = new MeasuresPanel(this.hand, this.images, api, {
      goto: (measurement) => {
        if (!measurement.drawn) return toast(t('Its place is of the space of another series: it cannot be shown in these images.'), 'warn');
        this.hand.selectId(measurement.id);
        events.goto(measurement.points[0]!);
      },
      changed: () => events.changed(),
    });
    this.cine = new Cine({ advance: (pane) => this.advance(pane), changed: () => events.changed() });
    // Whichever key it was (`lens.hold` can be changed): held, it comes again at once.
    window.addEventListener('keyup', () => this.holdLens(false));
    window.addEventListener('blur', () => this.holdLens(false));
  }

  /** Where a pane looks, where its points are those of the reference; null elsewhere. */
  private view(pane: PaneName): PaneView | null {
    const { panes, stage, axes } = this.scene;
    const here = axes[pane];
    const element = this.panes.get(pane)?.element;
    if (!here || !element || !panes.has(pane) || !stage.has(pane)) return null;
    const plan = panes.plan(pane);
    if (!plan.linked) return null;
    const toWorld = (at: Point2): Vec3 => stage.toWorld(pane, at);
    const { right, up } = drawnDirections(toWorld);
    const slab = panes.slab(pane);
    return {
      plane: { point: panes.point(pane), normal: here.normal },
      frame: { right, down: [-up[0], -up[1], -up[2]], normal: here.normal },
      halfStep: here.step / 2,
      halfSlab: slab ? slabThickness(this.scene.grid(plan.base.id), here.normal, slab.mm) / 2 : 0,
      toCanvas: (point) => stage.toCanvas(pane, point),
      toWorld,
      width: element.clientWidth,
      height: element.clientHeight,
    };
  }

  /** The corners' texts, and those of the findings. */
  private occupied(pane: PaneName): Box[] {
    const { element } = this.panes.get(pane)!;
    const at = element.getBoundingClientRect();
    const corners = [...element.querySelectorAll('.pane-corner')].map((corner) => corner.getBoundingClientRect());
    const texts = corners.map((box) => ({ x: box.left - at.left, y: box.top - at.top, width: box.width, height: box.height }));
    return [...texts, ...this.events.findings(pane, FINDING_PX).map(([x, y]) => ({ x, y: y - 8, width: FINDING_PX, height: 16 }))];
  }

  /** Of a pane, to be drawn. */
  measured(pane: PaneName): MeasuredMarks | null {
    if (this.lens.shown) window.requestAnimationFrame(() => this.lens.draw());
    return this.hand.place(pane);
  }

  /** The values at a point become a mark. */
  keepProbe(point: Vec3): void {
    const layers = this.scene.layers.filter((layer) => isImage(layer) || layer.kind === 'heatmap').map((layer) => layer.id);
    this.hand.select(this.book.add({ tool: 'probe', points: [point], label: '', layers }).key);
  }

  async keepImage(): Promise<void> {
    const pane = this.panes.get(this.scene.store.state.pane);
    if (pane) await this.images.keep(pane);
  }

  async undo(): Promise<void> {
    const act = await this.book.history.undo();
    if (act) toast(t('Undone: {act}', { act }), 'info');
    this.events.changed();
  }

  async redo(): Promise<void> {
    const act = await this.book.history.redo();
    if (act) toast(t('Redone: {act}', { act }), 'info');
    this.events.changed();
  }

  /** Escape: what is drawn, the selection, or the cine; false when there was nothing. */
  cancel(): boolean {
    if (this.hand.cancel()) return true;
    if (!this.cine.playing) return false;
    this.cine.stop();
    return true;
  }

  /** Marks were changed, here or in another window: the list as the server has it now. */
  async fetch(): Promise<void> {
    for (;;) {
      const { version } = this.book;
      let marks: Awaited<ReturnType<Api['marks']>>;
      try {
        marks = await this.api.marks();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        // The next notice, or the next reload, brings it.
        return;
      }
      // What was changed meanwhile is not in this answer.
      if (version !== this.book.version) continue;
      [this.scene.view.measurements, this.scene.view.key_images] = [marks.measurements, marks.key_images];
      this.events.changed();
      return;
    }
  }

  flipVertically(): void {
    const { store } = this.scene;
    const { pane, turns } = store.state;
    store.patch({ turns: { ...turns, [pane]: flipped(turns[pane], 'vertical') } });
  }

  // ---- cine and lens ------------------------------------------------------------------------------

  toggleCine(): void {
    const { pane } = this.scene.store.state;
    this.cine.toggle(pane);
    // Escape must stop it, and the toolbar has an Escape of its own.
    this.panes.get(pane)?.element.focus({ preventScroll: true });
  }

  private advance(pane: PaneName): void {
    const { scene } = this;
    const axes = scene.axes[pane];
    if (!scene.panes.has(pane)) return this.cine.stop();
    // A rotating MIP turns on; slices begin again after the last.
    if (axes && scene.position(pane) >= axes.count) this.commands.scroll(1 - axes.count, pane);
    else this.commands.scroll(1, pane);
  }

  over(pane: PaneName, at: Point2, held: boolean): void {
    this.pointer = { pane, at };
    if (held || this.lensKey) this.showLens();
    else this.lens.hide();
  }

  left(): void {
    this.pointer = null;
    this.lens.hide();
  }

  /** The key of the lens went down or up. */
  holdLens(held: boolean): void {
    if (this.lensKey === held) return;
    this.lensKey = held;
    if (held) this.showLens();
    else this.lens.hide();
  }

  private showLens(): void {
    const { pointer } = this;
    const pane = pointer && this.panes.get(pointer.pane);
    if (!pointer || !pane) return;
    this.lens.show(pane.element, pointer.at, () => [this.scene.stage.canvas(pointer.pane), pane.slab, pane.compare, pane.marks]);
  }
}
