/** Draws a pane's slab (MIP, MinIP, mean) over its picture: base and overlays, each projected on its own. */
import { colourAt } from './colormaps';
import type { Loaded } from './loaded';
import type { Pane } from './panes';
import { opacityCurve, withThreshold } from './presets';
import { rasterOf } from './sampling';
import { isLight } from './pane-set';
import type { Scene } from './scene';
import { type Projection, sampleSlab } from './slab';
import type { LayerSettings } from './state';
import type { Layer } from './types';

const SHADES = 256;

/** Opacity at a fraction of the window, from a curve of (fraction, opacity). */
export function opacityAt(curve: readonly (readonly [number, number])[], fraction: number): number {
  const at = Math.min(Math.max(fraction, 0), 1);
  const n = Math.max(1, curve.findIndex(([x]) => x >= at));
  const [low, high] = [curve[n - 1]!, curve[n] ?? curve[curve.length - 1]!];
  return high[0] === low[0] ? high[1] : low[1] + ((at - low[0]) / (high[0] - low[0])) * (high[1] - low[1]);
}

/** Colours and opacity of 256 steps of the window: r, g, b (0..255), opacity (0..1). */
export function shades(layer: Layer, settings: LayerSettings, isBase: boolean): Float32Array {
  const curve = withThreshold(opacityCurve(layer, isBase, settings.opacity), isBase ? null : settings);
  const table = new Float32Array(SHADES * 4);
  for (let n = 0; n < SHADES; n++) {
    const fraction = n / (SHADES - 1);
    colourAt(settings.colormap, fraction).forEach((value, c) => (table[n * 4 + c] = 255 * (settings.invert ? 1 - value : value)));
    table[n * 4 + 3] = opacityAt(curve, fraction);
  }
  return table;
}

/** Stored numbers put over what is there already; NaN leaves it. */
export function blend(rgba: Uint8ClampedArray, values: Float32Array, lower: number, upper: number, table: Float32Array): void {
  const scaled = (SHADES - 1) / Math.max(upper - lower, 1e-9);
  for (let n = 0, p = 0; n < values.length; n++, p += 4) {
    const value = values[n]!;
    if (value !== value) continue;
    const shade = Math.min(Math.max(Math.round((value - lower) * scaled), 0), SHADES - 1) * 4;
    const alpha = table[shade + 3]!;
    for (let c = 0; c < 3; c++) rgba[p + c] = rgba[p + c]! * (1 - alpha) + table[shade + c]! * alpha;
  }
}

export class SlabCanvas {
  private drawn = '';
  private readonly sampled = new Map<number, { key: string; values: Float32Array }>();

  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly pane: Pane,
  ) {}

  draw(): void {
    const { scene, pane } = this;
    const projection = scene.panes.slab(pane.name);
    pane.slab.hidden = projection === null;
    if (!projection) {
      this.drawn = '';
      this.sampled.clear();
      return;
    }
    const plan = scene.panes.plan(pane.name);
    const { stage } = scene;
    const normal = scene.axes[pane.name]!.normal;
    const raster = rasterOf((at) => stage.toWorld(pane.name, at), pane.image.clientWidth, pane.image.clientHeight);
    const over = scene.panes.compares(pane.name) ? [] : scene.panes.visible(pane.name);
    const parts = [plan.base, ...over].flatMap((layer) => {
      const settings = scene.panes.settings(pane.name, layer);
      const pixels = stage.pixels(layer.id);
      return settings && pixels ? [{ layer, settings, pixels }] : [];
    });
    const place = (layer: Layer): string => JSON.stringify([layer.id, raster, normal, projection, scene.grid(layer.id).affine, this.loaded.stamp(layer)]);
    const key = parts.map(({ layer, settings }) => `${place(layer)}${JSON.stringify(settings)}`).join();
    if (key === this.drawn) return;
    this.drawn = key;
    const rgba = new Uint8ClampedArray(raster.width * raster.height * 4);
    const base = scene.panes.settings(pane.name, plan.base);
    if (isLight(base)) rgba.fill(255);
    else for (let n = 3; n < rgba.length; n += 4) rgba[n] = 255;
    for (const { layer, settings, pixels } of parts) {
      const at = place(layer);
      let kept = this.sampled.get(layer.id);
      if (kept?.key !== at) {
        // Labels and probabilities have one meaning only in a slab: present somewhere in it.
        const how: Projection = layer.kind === 'segmentation' || layer.kind === 'heatmap' ? { ...projection, mode: 'mip' } : projection;
        kept = { key: at, values: sampleSlab(scene.grid(layer.id), pixels, raster, normal, how) };
        this.sampled.set(layer.id, kept);
      }
      const labels = layer.kind === 'segmentation';
      const stored = (value: number): number => (value - layer.intercept) / layer.slope;
      const [lower, upper] = labels ? [0, 1] : [stored(settings.centre - settings.width / 2), stored(settings.centre + settings.width / 2)];
      blend(rgba, kept.values, lower, upper, shades(layer, settings, layer.id === plan.base.id));
    }
    pane.slab.width = raster.width;
    pane.slab.height = raster.height;
    pane.slab.getContext('2d')?.putImageData(new ImageData(rgba, raster.width, raster.height), 0, 0);
  }
}
