/**
 * The only file that knows Cornerstone3D: planar viewports over volumes that we fill ourselves. Each
 * volume keeps its own grid; the GPU samples it where the view plane cuts it. A viewport is a slot: panes
 * come and go with the layout, slots are made once and kept (a disabled one would leave its renderer behind).
 */
import {
  cache,
  Enums,
  eventTarget,
  init,
  type Types,
  RenderingEngine,
  utilities,
  volumeLoader,
} from '@cornerstonejs/core';
import { dot, type Grid, subtract, type Vec3 } from '../affine';
import { COLORMAPS, type ColormapName } from './colormaps';
import type { Pixels } from './codec';

/** Of a pane: `axial`, `sagittal`, `coronal` in the plain layout, others as protocols.ts names them. */
export type PaneName = string;
export type Point2 = [number, number];

/** How a volume is drawn. Values are stored numbers, opacity points are (fraction of range, opacity). */
export interface Look {
  lower: number;
  upper: number;
  colormap: ColormapName;
  invert: boolean;
  visible: boolean;
  opacity: readonly (readonly [number, number])[];
  nearest: boolean;
}

/** Zoom and pan of a pane, as plain data that can be stored. */
export interface Framing {
  scale: number;
  anchorWorld: Vec3 | null;
  anchorCanvas: Point2;
}

/** The part of PLANAR_NEXT's native interface that we use; its own types are not all exported. */
interface PlanarViewport {
  canvasToWorld(at: Point2): Point3;
  worldToCanvas(point: Point3): Point2;
  setDisplaySets(...sets: { displaySetId: string; options: object }[]): Promise<void>;
  setDisplaySetPresentation(id: string, props: object): void;
  setViewState(patch: object): void;
  getViewState(): { scale?: number | [number, number]; anchorWorld?: Point3; anchorCanvas?: Point2 };
  setScale(scale: number, canvasPoint?: Point2): void;
  resize(): void;
  getPan(): Point2;
  setPan(pan: Point2): void;
  getImageActor(volumeId: string): { getMapper(): { setBackgroundColor(r: number, g: number, b: number, a: number): void } } | null;
  canvas: HTMLCanvasElement;
}
type Point3 = [number, number, number];

/** Shortest wait between two drawings of arriving slices; a slow machine waits twice its drawing time. */
const FLUSH_MS = 120;
const ENGINE = 'radfuse';
const SAME_PLANE_MM = 1e-6;

for (const [name, stops] of Object.entries(COLORMAPS)) {
  utilities.colormap.registerColormap({ Name: `radfuse-${name}`, ColorSpace: 'RGB', RGBPoints: stops.flat() } as never);
}

const volumeId = (id: number): string => `radfuse-volume-${id}`;
const setId = (id: number): string => `radfuse-set-${id}`;

export function hasWebGL2(): boolean {
  const context = document.createElement('canvas').getContext('webgl2');
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  return context !== null;
}

interface Held {
  pixels: Pixels;
  dirty: Set<number>;
}

interface Slot {
  id: string;
  element: HTMLDivElement;
  /** The pane that stands here now; null while the slot is not on screen. */
  pane: PaneName | null;
  mounted: readonly number[];
  /** What was last asked for, so that a pane is drawn again only where something changed. */
  looks: Map<number, string>;
  orientation: string;
  normal: Vec3 | null;
  point: Vec3 | null;
}

export class Stage {
  private readonly engine: RenderingEngine;
  private readonly volumes = new Map<number, Held>();
  private readonly slots = new Map<HTMLDivElement, Slot>();
  private timer = 0;
  private wait = FLUSH_MS;

  /** Told when a reader zooms or pans a pane. */
  moved: (pane: PaneName) => void = () => undefined;

  constructor(private readonly onDrawn: (pane: PaneName) => void) {
    init({ rendering: { webGlContextCount: 1 } } as never);
    this.engine = new RenderingEngine(ENGINE);
  }

  /** Puts panes on screen: each into the viewport of its element, made when first needed. */
  assign(panes: ReadonlyMap<PaneName, HTMLDivElement>): void {
    for (const slot of this.slots.values()) slot.pane = null;
    for (const [pane, element] of panes) this.slot(element).pane = pane;
  }

  private slot(element: HTMLDivElement): Slot {
    const known = this.slots.get(element);
    if (known) return known;
    const slot: Slot = { id: `slot-${this.slots.size}`, element, pane: null, mounted: [], looks: new Map(), orientation: '', normal: null, point: null };
    this.slots.set(element, slot);
    this.engine.enableElement({ viewportId: slot.id, type: Enums.ViewportType.PLANAR_NEXT, element, defaultOptions: {} } as never);
    element.addEventListener(Enums.Events.IMAGE_RENDERED, () => {
      if (slot.pane !== null) this.onDrawn(slot.pane);
    });
    return slot;
  }

  private of(pane: PaneName): Slot {
    for (const slot of this.slots.values()) if (slot.pane === pane) return slot;
    throw new Error(`no pane ${pane} on screen`);
  }

  has(pane: PaneName): boolean {
    return [...this.slots.values()].some((slot) => slot.pane === pane);
  }

  private port(slot: Slot): PlanarViewport {
    return this.engine.getViewport(slot.id) as unknown as PlanarViewport;
  }

  private viewport(pane: PaneName): PlanarViewport {
    return this.port(this.of(pane));
  }

  /** Makes room for a volume. Write voxels through `put`. */
  addVolume(id: number, grid: Grid, bytesPerVoxel: 1 | 2): void {
    const [nx, ny, nz] = grid.counts;
    const pixels: Pixels = bytesPerVoxel === 2 ? new Int16Array(nx * ny * nz) : new Uint8Array(nx * ny * nz);
    const volume = volumeLoader.createLocalVolume(volumeId(id), {
      scalarData: pixels,
      dimensions: [nx, ny, nz],
      ...placement(grid),
      metadata: {},
    } as never) as Types.IImageVolume;
    // Upload slices as they come, not the empty volume once per pane.
    (volume as { loadStatus?: object }).loadStatus = { loaded: false };
    utilities.genericViewportDisplaySetMetadataProvider.add(setId(id), {
      kind: 'planar',
      imageIds: volume.imageIds,
      volumeId: volumeId(id),
    } as never);
    this.volumes.set(id, { pixels, dirty: new Set() });
  }

  /** Gives a volume's memory back; it must not be mounted. */
  removeVolume(id: number): void {
    if (!this.volumes.delete(id)) return;
    utilities.genericViewportDisplaySetMetadataProvider.remove(setId(id));
    const images = cache.getVolume(volumeId(id))?.imageIds ?? [];
    cache.removeVolumeLoadObject(volumeId(id));
    // A local volume puts one image per slice into the cache, which would keep its voxels alive.
    for (const image of images) if (cache.getImageLoadObject(image)) cache.removeImageLoadObject(image, { force: true });
  }

  /** Ids of all volumes there is room for. */
  get held(): number[] {
    return [...this.volumes.keys()];
  }

  hasVolume(id: number): boolean {
    return this.volumes.has(id);
  }

  /** Puts one slice in; it is drawn with those that come shortly after. */
  put(id: number, slice: number, pixels: Pixels): void {
    const held = this.volumes.get(id);
    if (!held) return;
    held.pixels.set(pixels as never, slice * pixels.length);
    held.dirty.add(slice);
    this.timer ||= window.setTimeout(() => this.flush(), this.wait);
  }

  /** The stored numbers of a volume, x fastest; slices not loaded yet are 0. */
  pixels(id: number): Pixels | undefined {
    return this.volumes.get(id)?.pixels;
  }

  get pending(): boolean {
    return this.timer !== 0;
  }

  private flush(): void {
    this.timer = 0;
    for (const [id, held] of this.volumes) {
      if (!held.dirty.size) continue;
      const volume = cache.getVolume(volumeId(id)) as unknown as { vtkOpenGLTexture: { setUpdatedFrame(k: number): void } };
      for (const slice of held.dirty) volume.vtkOpenGLTexture.setUpdatedFrame(slice);
      held.dirty.clear();
      utilities.triggerEvent(eventTarget, Enums.Events.IMAGE_VOLUME_MODIFIED, { volumeId: volumeId(id) });
    }
    const started = performance.now();
    // Panes that show the volume draw by themselves; this is for the others: the caller learns by the
    // drawn event that all is in.
    const first = [...this.slots.values()].find((slot) => slot.pane !== null && slot.element.clientWidth > 0);
    if (first) this.engine.renderViewports([first.id]);
    requestAnimationFrame(() => {
      this.wait = Math.min(Math.max(2 * (performance.now() - started), FLUSH_MS), 1000);
    });
  }

  /** Moves a volume (a new registration) without touching its voxels. */
  place(id: number, grid: Grid): void {
    const volume = cache.getVolume(volumeId(id));
    if (!volume) return;
    const { spacing, origin, direction } = placement(grid);
    Object.assign(volume, { spacing, origin, direction });
    const image = volume.imageData as unknown as {
      setSpacing(v: Point3): void;
      setOrigin(v: Point3): void;
      setDirection(v: number[]): void;
      modified(): void;
    };
    image.setSpacing(spacing);
    image.setOrigin(origin);
    image.setDirection(direction);
    image.modified();
    utilities.triggerEvent(eventTarget, Enums.Events.IMAGE_VOLUME_MODIFIED, { volumeId: volumeId(id) });
  }

  /** Mounts volumes in a pane, the first as base; the others lie over it. Looks must be set afterwards. */
  async show(pane: PaneName, ids: readonly number[]): Promise<boolean> {
    return this.mount(this.of(pane), ids);
  }

  private async mount(slot: Slot, ids: readonly number[]): Promise<boolean> {
    if (ids.join() === slot.mounted.join()) return false;
    Object.assign(slot, { mounted: [...ids], orientation: '', normal: null, point: null });
    slot.looks.clear();
    const port = this.port(slot);
    await port.setDisplaySets(...ids.map((id) => ({ displaySetId: setId(id), options: {} })));
    // Fragments that rounding puts outside a volume are opaque black by default: dots along its edge.
    for (const id of ids) port.getImageActor(volumeId(id))?.getMapper().setBackgroundColor(0, 0, 0, 0);
    return true;
  }

  /** Takes everything off the slots that are not on screen, so that nothing there holds a volume. */
  async clearUnused(): Promise<void> {
    for (const slot of this.slots.values()) if (slot.pane === null && slot.mounted.length) await this.mount(slot, []);
  }

  style(pane: PaneName, id: number, look: Look): void {
    const slot = this.of(pane);
    const key = JSON.stringify(look);
    if (!slot.mounted.includes(id) || slot.looks.get(id) === key) return;
    slot.looks.set(id, key);
    this.port(slot).setDisplaySetPresentation(setId(id), {
      visible: look.visible,
      voiRange: { lower: look.lower, upper: look.upper },
      colormap: {
        name: `radfuse-${look.colormap}`,
        opacity: look.opacity.map(([value, opacity]) => ({ value, opacity })),
      },
      invert: look.invert,
      interpolationType: look.nearest ? Enums.InterpolationType.NEAREST : Enums.InterpolationType.LINEAR,
    });
  }

  /** What is seen where a pane shows no volume: black, or white about a picture drawn black on white. */
  background(pane: PaneName, isLight: boolean): void {
    const shade = isLight ? 1 : 0;
    const renderer = this.engine.getRenderer(this.of(pane).id) as unknown as { setBackground(r: number, g: number, b: number): void } | undefined;
    renderer?.setBackground(shade, shade, shade);
  }

  /** Turns a pane: normal points from the image to the eye, up to the top of the screen. */
  orient(pane: PaneName, normal: Vec3, up: Vec3): void {
    const slot = this.of(pane);
    const key = JSON.stringify([normal, up]);
    if (slot.orientation === key) return;
    Object.assign(slot, { orientation: key, normal, point: null });
    this.port(slot).setViewState({ orientation: { viewPlaneNormal: [...normal], viewUp: [...up] } });
  }

  /** Moves a pane's plane through a point; within the plane that changes nothing. */
  look(pane: PaneName, point: Vec3): void {
    const slot = this.of(pane);
    if (slot.point && slot.normal && Math.abs(dot(subtract(point, slot.point), slot.normal)) < SAME_PLANE_MM) return;
    slot.point = point;
    this.port(slot).setViewState({ slice: { kind: 'volumePoint', sliceWorldPoint: [...point] } });
  }

  framing(pane: PaneName): Framing {
    const state = this.viewport(pane).getViewState();
    const scale = Array.isArray(state.scale) ? state.scale[1] : (state.scale ?? 1);
    return { scale, anchorWorld: state.anchorWorld ?? null, anchorCanvas: state.anchorCanvas ?? [0.5, 0.5] };
  }

  frame(pane: PaneName, framing: Framing): void {
    this.viewport(pane).setViewState({
      scale: [framing.scale, framing.scale],
      scaleMode: 'fit',
      anchorWorld: framing.anchorWorld ? [...framing.anchorWorld] : undefined,
      anchorCanvas: framing.anchorCanvas,
    });
  }

  zoomBy(pane: PaneName, factor: number, at: Point2): void {
    const scale = Math.min(Math.max(this.framing(pane).scale * factor, 0.2), 30);
    this.viewport(pane).setScale(scale, at);
    this.moved(pane);
  }

  panBy(pane: PaneName, dx: number, dy: number): void {
    const [x, y] = this.viewport(pane).getPan();
    this.viewport(pane).setPan([x + dx, y + dy]);
    this.moved(pane);
  }

  toWorld(pane: PaneName, at: Point2): Vec3 {
    return this.viewport(pane).canvasToWorld(at);
  }

  toCanvas(pane: PaneName, point: Vec3): Point2 {
    return this.viewport(pane).worldToCanvas([...point]);
  }

  canvas(pane: PaneName): HTMLCanvasElement {
    return this.viewport(pane).canvas;
  }

  /** Draws the panes on screen. */
  render(): void {
    const shown = [...this.slots.values()].filter((slot) => slot.pane !== null && slot.element.clientWidth > 0);
    if (shown.length) this.engine.renderViewports(shown.map((slot) => slot.id));
  }

  resize(): void {
    this.engine.resize(true, true);
    // The engine resizes canvases only: each viewport would go on mapping points for its old size.
    for (const slot of this.slots.values()) if (slot.pane !== null) this.port(slot).resize();
    this.render();
  }

  destroy(): void {
    window.clearTimeout(this.timer);
    this.engine.destroy();
    cache.purgeCache();
  }
}

function placement(grid: Grid): { spacing: Point3; origin: Point3; direction: number[] } {
  return { spacing: [...grid.spacing], origin: [...grid.origin], direction: grid.axes.flat() };
}
