/** Draws the comparison in force over a pane's image: samples, masks, colours; only what changed. */
import { t } from '../i18n';
import {
  type CompareMode, edgesOf, paintDifference, paintEdges, paintWhere, rightOf, tiles, type Tone, windowed,
} from './comparison';
import type { Loaded } from './loaded';
import { type Raster, rasterOf, samplePlane } from './sampling';
import type { Scene } from './scene';
import type { Pane } from './panes';
import type { Layer } from './types';

/** Units in which equal numbers mean equal things: HU and SUV. The difference then has one window. */
function sameScale(a: Layer, b: Layer): boolean {
  return a.unit === b.unit && a.unit !== '1' && a.unit !== '';
}

/** What a difference is worth, in words for the pane; `doubtful` when it says little on alignment. */
export function differenceNote(reference: Layer, moving: Layer): { text: string; doubtful: boolean } {
  if (sameScale(reference, moving)) return { text: t('Same unit, same window'), doubtful: false };
  if (reference.modality === moving.modality) return { text: t('Each in its own window'), doubtful: false };
  return { text: t('{modality} and {modality2} differ in contrast, not only in position', { modality: reference.modality, modality2: moving.modality }), doubtful: true };
}

export class CompareCanvas {
  private sampled = new Map<string, { key: string; values: Float32Array }>();
  private drawn = '';

  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly pane: Pane,
  ) {}

  private get canvas(): HTMLCanvasElement {
    return this.pane.compare;
  }

  /** Stored numbers of a layer on the pane's pixels; sampled again when camera, voxels or place changed. */
  private values(layer: Layer, raster: Raster): { key: string; values: Float32Array } | null {
    const grid = this.scene.grid(layer.id);
    const pixels = this.scene.stage.pixels(layer.id);
    if (!pixels) return null;
    const role = layer.id === this.scene.base.id ? 'reference' : 'moving';
    const key = JSON.stringify([layer.id, raster, grid.affine, this.loaded.stamp(layer)]);
    const kept = this.sampled.get(role);
    if (kept?.key === key) return kept;
    const made = { key, values: samplePlane(grid, pixels, raster) };
    this.sampled.set(role, made);
    return made;
  }

  private tone(layer: Layer): Tone | null {
    const settings = this.scene.panes.settings(this.pane.name, layer);
    if (!settings) return null;
    const stored = (value: number): number => (value - layer.intercept) / layer.slope;
    return {
      lower: stored(settings.centre - settings.width / 2),
      upper: stored(settings.centre + settings.width / 2),
      colormap: settings.colormap,
      invert: settings.invert,
    };
  }

  draw(): void {
    const mode = this.scene.comparing;
    const moving = this.scene.compared;
    const isOff = mode === 'blend' || !moving || !this.scene.panes.compares(this.pane.name);
    this.canvas.hidden = isOff;
    if (isOff) {
      this.drawn = '';
      this.sampled.clear();
      return;
    }
    const { stage, store, base } = this.scene;
    const raster = rasterOf((at) => stage.toWorld(this.pane.name, at), this.canvas.clientWidth, this.canvas.clientHeight);
    const own = this.values(moving, raster);
    const tone = this.tone(moving);
    const reference = mode === 'difference' ? this.values(base, raster) : null;
    const baseTone = this.tone(base);
    if (!own || !tone || !baseTone) return;
    const { tile, divider, edge } = store.state;
    const key = JSON.stringify([mode, own.key, reference?.key, tone, mode === 'difference' && baseTone, { checkerboard: tile, swipe: divider, edges: edge, difference: 0 }[mode]]);
    if (key === this.drawn) return;
    this.drawn = key;
    const rgba = this.paint(mode, own.values, tone, raster, () => this.difference(base, moving, reference!.values, own.values, raster));
    this.canvas.width = raster.width;
    this.canvas.height = raster.height;
    this.canvas.getContext('2d')?.putImageData(new ImageData(rgba, raster.width, raster.height), 0, 0);
  }

  private paint(mode: Exclude<CompareMode, 'blend'>, values: Float32Array, tone: Tone, raster: Raster, difference: () => Uint8ClampedArray<ArrayBuffer>): Uint8ClampedArray<ArrayBuffer> {
    const { tile, divider, edge } = this.scene.store.state;
    if (mode === 'checkerboard') return paintWhere(values, tone, tiles(raster, { tile, anchor: this.scene.baseGrid.centre }), raster);
    if (mode === 'swipe') return paintWhere(values, tone, rightOf(raster, divider), raster);
    if (mode === 'edges') return paintEdges(edgesOf(windowed(values, tone), raster.width, raster.height, edge));
    return difference();
  }

  /** In one unit (HU, SUV) both through the reference's window, else each through its own. */
  private difference(base: Layer, moving: Layer, reference: Float32Array, values: Float32Array, raster: Raster): Uint8ClampedArray<ArrayBuffer> {
    const settings = this.scene.panes.settings(this.pane.name, base);
    const tone = this.tone(base)!;
    const other = sameScale(base, moving) && settings
      ? { ...tone, lower: (settings.centre - settings.width / 2 - moving.intercept) / moving.slope, upper: (settings.centre + settings.width / 2 - moving.intercept) / moving.slope }
      : this.tone(moving)!;
    return paintDifference(windowed(reference, tone), windowed(values, other), raster);
  }
}
