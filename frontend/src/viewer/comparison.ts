/** Comparison of a registered pair in one pane: which pixels show the moving layer, and in what colours. */
import { t } from '../i18n';
import { dot, subtract, type Vec3 } from '../affine';
import { type ColormapName, colourAt } from './colormaps';
import type { Raster } from './sampling';

export type CompareMode = 'blend' | 'checkerboard' | 'swipe' | 'edges' | 'difference';
export const COMPARE_LABELS: Record<CompareMode, string> = {
  blend: t('Blend'), checkerboard: t('Checkerboard'), swipe: t('Swipe'), edges: t('Edges'), difference: t('Difference'),
};

/** How a layer's stored numbers become brightness: window in stored numbers, colours at 0..1. */
export interface Tone {
  lower: number;
  upper: number;
  colormap: ColormapName;
  invert: boolean;
}

export interface Board {
  /** Side of a tile in mm. */
  tile: number;
  /** Tiles are counted from this point, so that they stay with the patient. */
  anchor: Vec3;
}

/** 1 on the tiles that show the moving layer, 0 on those of the reference. */
export function tileAt(across: number, down: number, tile: number): 0 | 1 {
  return ((Math.floor(across / tile) + Math.floor(down / tile)) & 1) as 0 | 1;
}

export function tiles(raster: Raster, board: Board): Uint8Array {
  const mask = new Uint8Array(raster.width * raster.height);
  const [du, dv] = [Math.sqrt(dot(raster.du, raster.du)), Math.sqrt(dot(raster.dv, raster.dv))];
  const from = subtract(raster.origin, board.anchor);
  const [across, down] = [dot(from, raster.du) / du, dot(from, raster.dv) / dv];
  let n = 0;
  for (let row = 0; row < raster.height; row++) {
    for (let column = 0; column < raster.width; column++) mask[n++] = tileAt(across + column * du, down + row * dv, board.tile);
  }
  return mask;
}

/** 1 right of the divider, which stands at a fraction of the width. */
export function rightOf(raster: Raster, divider: number): Uint8Array {
  const mask = new Uint8Array(raster.width * raster.height);
  const first = Math.round(raster.width * divider);
  for (let row = 0; row < raster.height; row++) mask.fill(1, row * raster.width + first, (row + 1) * raster.width);
  return mask;
}

/** Stored numbers to 0..1 within the window; NaN stays. */
export function windowed(values: Float32Array, tone: Tone): Float32Array {
  const out = new Float32Array(values.length);
  const width = Math.max(tone.upper - tone.lower, 1e-9);
  for (let n = 0; n < values.length; n++) {
    const t = (values[n]! - tone.lower) / width;
    out[n] = t < 0 ? 0 : t > 1 ? 1 : t;
  }
  return out;
}

const SHADES = 256;

function table(tone: Tone): Uint8Array {
  const rgb = new Uint8Array(SHADES * 3);
  for (let n = 0; n < SHADES; n++) {
    const colour = colourAt(tone.colormap, n / (SHADES - 1));
    colour.forEach((value, c) => (rgb[n * 3 + c] = Math.round(255 * (tone.invert ? 1 - value : value))));
  }
  return rgb;
}

/** Where the moving layer has nothing: dark, with sparse lines, so that it is not taken for air. */
function outside(rgba: Uint8ClampedArray, n: number, column: number, row: number): void {
  const line = (column + row) % 12 === 0;
  rgba[n * 4] = line ? 52 : 18;
  rgba[n * 4 + 1] = line ? 60 : 21;
  rgba[n * 4 + 2] = line ? 70 : 26;
  rgba[n * 4 + 3] = 255;
}

/** The moving layer in its window and colours where `mask` is 1; transparent elsewhere. */
export function paintWhere(values: Float32Array, tone: Tone, mask: Uint8Array | null, raster: Raster): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray(values.length * 4);
  const rgb = table(tone);
  const scaled = (SHADES - 1) / Math.max(tone.upper - tone.lower, 1e-9);
  for (let n = 0; n < values.length; n++) {
    if (mask && !mask[n]) continue;
    const value = values[n]!;
    if (value !== value) {
      outside(rgba, n, n % raster.width, Math.floor(n / raster.width));
      continue;
    }
    const shade = Math.min(Math.max(Math.round((value - tone.lower) * scaled), 0), SHADES - 1);
    rgba[n * 4] = rgb[shade * 3]!;
    rgba[n * 4 + 1] = rgb[shade * 3 + 1]!;
    rgba[n * 4 + 2] = rgb[shade * 3 + 2]!;
    rgba[n * 4 + 3] = 255;
  }
  return rgba;
}

const SAME = 16;
const REFERENCE_MORE = [255, 158, 66] as const;
const MOVING_MORE = [92, 172, 255] as const;

/**
 * Difference of two windowed images: dark where they agree, orange where the reference is brighter,
 * blue where the moving layer is.
 */
export function paintDifference(reference: Float32Array, moving: Float32Array, raster: Raster): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray(reference.length * 4);
  for (let n = 0; n < reference.length; n++) {
    const difference = reference[n]! - moving[n]!;
    if (difference !== difference) {
      outside(rgba, n, n % raster.width, Math.floor(n / raster.width));
      continue;
    }
    const colour = difference > 0 ? REFERENCE_MORE : MOVING_MORE;
    const t = Math.abs(difference);
    for (let c = 0; c < 3; c++) rgba[n * 4 + c] = SAME + (colour[c]! - SAME) * t;
    rgba[n * 4 + 3] = 255;
  }
  return rgba;
}

function smooth(values: Float32Array, width: number, height: number): Float32Array {
  const rows = new Float32Array(values.length);
  const out = new Float32Array(values.length);
  for (let n = 0; n < values.length; n++) {
    const column = n % width;
    rows[n] = (values[column ? n - 1 : n]! + 2 * values[n]! + values[column < width - 1 ? n + 1 : n]!) / 4;
  }
  for (let n = 0; n < values.length; n++) {
    const row = Math.floor(n / width);
    out[n] = (rows[row ? n - width : n]! + 2 * rows[n]! + rows[row < height - 1 ? n + width : n]!) / 4;
  }
  return out;
}

/** Weaker changes than this share of the window per pixel are noise at any setting. */
const FAINTEST = 0.008;
/** The strongest edges are judged without the top half per cent, which is speckle. */
const TOP = 0.995;

/**
 * Edges of a windowed image: 1 where the gradient (Sobel, after a 3x3 smoothing) is a ridge and at
 * least `strength` (0..1) of the image's strong edges. NaN (outside) makes no edge.
 */
export function edgesOf(image: Float32Array, width: number, height: number, strength: number): Uint8Array {
  const smoothed = smooth(image, width, height);
  const size = new Float32Array(image.length);
  const direction = new Uint8Array(image.length);
  for (let row = 1; row < height - 1; row++) {
    for (let column = 1; column < width - 1; column++) {
      const n = row * width + column;
      const [a, b, c] = [smoothed[n - width - 1]!, smoothed[n - width]!, smoothed[n - width + 1]!];
      const [d, f] = [smoothed[n - 1]!, smoothed[n + 1]!];
      const [g, k, l] = [smoothed[n + width - 1]!, smoothed[n + width]!, smoothed[n + width + 1]!];
      const gx = (c + 2 * f + l - a - 2 * d - g) / 8;
      const gy = (g + 2 * k + l - a - 2 * b - c) / 8;
      const magnitude = Math.hypot(gx, gy);
      if (magnitude !== magnitude) continue;
      size[n] = magnitude;
      // Across the edge: 0 along the row, 1 down right, 2 down, 3 down left.
      direction[n] = Math.round((Math.atan2(gy, gx) + Math.PI) / (Math.PI / 4)) % 4;
    }
  }
  const strong = size.filter((value) => value > FAINTEST).sort();
  const edges = new Uint8Array(image.length);
  if (!strong.length) return edges;
  const least = Math.max(strong[Math.floor((strong.length - 1) * TOP)]! * strength, FAINTEST);
  const across = [1, width + 1, width, width - 1];
  for (let n = width; n < size.length - width; n++) {
    const step = across[direction[n]!]!;
    // One side strictly, so that a step between two pixels gives one line and not two.
    if (size[n]! >= least && size[n]! > size[n - step]! && size[n]! >= size[n + step]!) edges[n] = 1;
  }
  return edges;
}

const EDGE = [64, 224, 255] as const;

export function paintEdges(edges: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray(edges.length * 4);
  for (let n = 0; n < edges.length; n++) {
    if (!edges[n]) continue;
    rgba.set(EDGE, n * 4);
    rgba[n * 4 + 3] = 235;
  }
  return rgba;
}
