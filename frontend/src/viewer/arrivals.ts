/** From a checked frame to the pixels of full-resolution slices that the page draws. */
import { decodeSlice, type Pixels } from './codec';
import type { Frame } from './frames';
import { upsample } from './upsample';

export interface StreamLayer {
  id: number;
  codec: number;
  /** False for labels. */
  smooth: boolean;
  levels: { shape: readonly [number, number, number]; factors: readonly [number, number, number] }[];
  /** The finest level that is wanted: its slices are what is drawn. */
  finest?: number;
}

export interface Arrival {
  layer: number;
  /** Slices of the finest wanted level that these pixels stand for, inclusive. */
  first: number;
  last: number;
  /** 0 is the finest wanted: lossless where that is full resolution. All others are a coarse preview. */
  level: number;
  pixels: Pixels;
}

/** Null for a slice that the layer does not have. Throws if the payload is no slice of that size. */
export function arrival(frame: Frame, layer: StreamLayer): Arrival | null {
  const level = layer.levels[frame.level];
  const finest = layer.finest ?? 0;
  const fine = layer.levels[finest];
  if (!level || !fine || frame.level < finest || frame.slice >= level.shape[0]) return null;
  const [, ny, nx] = level.shape;
  const pixels = decodeSlice(frame.payload, ny, nx, frame.codec);
  if (frame.level === finest) return { layer: layer.id, first: frame.slice, last: frame.slice, level: 0, pixels };
  const [fz, fy, fx] = level.factors.map((factor, n) => factor / fine.factors[n as 0]!) as [number, number, number];
  const first = frame.slice * fz;
  const last = Math.min(first + fz, fine.shape[0]) - 1;
  const drawn = upsample(pixels, [ny, nx], [fine.shape[1], fine.shape[2]], [fy, fx], layer.smooth);
  return { layer: layer.id, first, last, level: frame.level - finest, pixels: drawn };
}
