/** Slabs of a volume on a pane's pixels: maximum, minimum or mean of parallel planes, sampled on the CPU. */
import { t } from '../i18n';
import { add, dot, type Grid, scale, type Vec3 } from '../affine';
import type { Pixels } from './codec';
import { type Raster, samplePlane } from './sampling';

export type ProjectionMode = 'mip' | 'minip' | 'mean';
export interface Projection {
  mode: ProjectionMode;
  /** Thickness wanted, mm. */
  mm: number;
}
export const PROJECTION_NAMES: Record<ProjectionMode, string> = { mip: 'MIP', minip: 'MinIP', mean: t('Mean') };
export const SLAB_MM: readonly number[] = [5, 10, 15, 20, 30, 50, 80, 120];

/**
 * Distance between the planes of a slab: the slices themselves where the plane lies along voxels, so
 * that a maximum is the value of a voxel and no value between two; else the finest voxel.
 */
export function planeStep(grid: Grid, normal: Vec3): number {
  const along = grid.axes.findIndex((axis) => Math.abs(dot(axis, normal)) > 1 - 1e-6);
  return along < 0 ? Math.min(...grid.spacing) : grid.spacing[along as 0 | 1 | 2];
}

/** Offsets (mm along the normal) of the planes in a slab about the pane's plane: an odd number of them. */
export function planeOffsets(grid: Grid, normal: Vec3, mm: number): number[] {
  const step = planeStep(grid, normal);
  const side = Math.max(Math.floor((mm / step - 1) / 2 + 1e-6), 0);
  return Array.from({ length: 2 * side + 1 }, (_, n) => (n - side) * step);
}

/** What a slab of some planes really covers, mm. */
export function slabThickness(grid: Grid, normal: Vec3, mm: number): number {
  return planeOffsets(grid, normal, mm).length * planeStep(grid, normal);
}

/** Stored numbers row by row; NaN where no plane of the slab meets the volume. */
export function sampleSlab(grid: Grid, pixels: Pixels, raster: Raster, normal: Vec3, projection: Projection): Float32Array {
  let out: Float32Array | null = null;
  let met: Uint16Array | null = null;
  for (const offset of planeOffsets(grid, normal, projection.mm)) {
    const values = samplePlane(grid, pixels, { ...raster, origin: add(raster.origin, scale(normal, offset)) });
    if (!out || !met) {
      out = values;
      met = new Uint16Array(values.length);
      for (let n = 0; n < values.length; n++) if (values[n] === values[n]) met[n] = 1;
      continue;
    }
    for (let n = 0; n < values.length; n++) {
      const value = values[n]!;
      if (value !== value) continue;
      if (!met[n]) out[n] = value;
      else if (projection.mode === 'mean') out[n]! += value;
      else if (projection.mode === 'mip' ? value > out[n]! : value < out[n]!) out[n] = value;
      met[n]! += 1;
    }
  }
  if (projection.mode === 'mean') for (let n = 0; n < out!.length; n++) if (met![n]! > 1) out![n]! /= met![n]!;
  return out!;
}
