/**
 * Maximum intensity projection of a whole volume, turned about the patient's long axis. Every voxel is
 * thrown onto the detector, so that what is shown is always the value of a voxel and the brightest one is
 * never missed; a click asks for the voxel that made a point of the picture.
 */
import { add, cross, dot, type Grid, normalise, scale, subtract, type Vec3 } from '../affine';
import type { Pixels } from './codec';
import { rotate } from './orientation';

export interface Detector {
  /** LPS of the middle of the detector's first bin. */
  origin: Vec3;
  right: Vec3;
  up: Vec3;
  /** From the image to the eye. */
  normal: Vec3;
  /** Side of a bin, mm. */
  bin: readonly [across: number, down: number];
  width: number;
  height: number;
}

export interface Mip {
  detector: Detector;
  /** Stored numbers, row by row from the top; NaN where no voxel lies behind a bin. */
  values: Float32Array;
}

/** The voxel axis nearest to head-feet, pointing headwards. */
function headwards(grid: Grid): Vec3 {
  const best = [...grid.axes].sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]))[0]!;
  return best[2] >= 0 ? best : scale(best, -1);
}

/** Seen from the front at 0 degrees, turning about the long axis: at 90 from the patient's left. */
export function detectorOf(grid: Grid, angle: number): Detector {
  const up = headwards(grid);
  const front = normalise(subtract([0, -1, 0], scale(up, dot([0, -1, 0], up))));
  const normal = rotate(front, up, angle);
  const right = cross(up, normal);
  const [nx, ny, nz] = grid.counts;
  const corners: Vec3[] = [];
  for (const k of [0, nz - 1]) for (const j of [0, ny - 1]) for (const i of [0, nx - 1]) corners.push(grid.toLps([i, j, k]));
  const along = grid.axes.findIndex((axis) => Math.abs(dot(axis, up)) > 1 - 1e-9);
  const down = along < 0 ? Math.min(...grid.spacing) : grid.spacing[along as 0 | 1 | 2];
  const across = Math.min(...grid.spacing.filter((_, axis) => axis !== along));
  // The extent of the volume turned at any angle, so that the picture does not jump while it turns.
  const reach = Math.max(...corners.map((corner) => Math.hypot(...(subtract(subtract(corner, grid.centre), scale(up, dot(subtract(corner, grid.centre), up))) as [number, number, number]))));
  const heights = corners.map((corner) => dot(subtract(corner, grid.centre), up));
  const top = Math.max(...heights);
  const width = 2 * Math.ceil(reach / across) + 1;
  const height = Math.round((top - Math.min(...heights)) / down) + 1;
  const origin = add(add(grid.centre, scale(right, (-(width - 1) / 2) * across)), scale(up, top));
  return { origin, right, up, normal, bin: [across, down], width, height };
}

/** Where voxels fall on the detector, in bins: an affine function of the indices i, j, k. */
function footprint(grid: Grid, { origin, right, up, bin }: Detector): { start: [number, number]; steps: [number, number][] } {
  const at = (ijk: Vec3): [number, number] => {
    const from = subtract(grid.toLps(ijk), origin);
    return [dot(from, right) / bin[0], -dot(from, up) / bin[1]];
  };
  const start = at([0, 0, 0]);
  const steps = ([[1, 0, 0], [0, 1, 0], [0, 0, 1]] as Vec3[]).map((one): [number, number] => [at(one)[0] - start[0], at(one)[1] - start[1]]);
  return { start, steps };
}

const NOTHING = -(2 ** 31);

/** Half the width of a voxel's shadow, in bins: a voxel wider than a bin falls on more than one. */
function halfShadow(steps: readonly [number, number][]): number {
  return Math.max(steps.reduce((sum, [u]) => sum + Math.abs(u), 0) / 2 - 0.25, 0.25);
}

/** The same across rows; none where rows are the slices themselves. */
function halfRows(steps: readonly [number, number][]): number {
  return Math.max(steps.reduce((sum, [, v]) => sum + Math.abs(v), 0) / 2 - 0.5, 0);
}

interface Lines {
  start: readonly [number, number];
  ui: number;
  uj: number;
  uk: number;
  vk: number;
  half: number;
  width: number;
  height: number;
}

/** The usual case, where a slice is one line of the picture and a voxel falls on at most two bins: whole numbers only. */
function byLines(pixels: Pixels, [nx, ny, nz]: Vec3, at: Lines, values: Float32Array): void {
  const { ui, uj, uk, half, width, height } = at;
  const line = new Int32Array(width + 2);
  for (let k = 0; k < nz; k++) {
    const row = Math.round(at.start[1] + at.vk * k);
    if (row < 0 || row >= height) continue;
    line.fill(NOTHING);
    for (let j = 0; j < ny; j++) {
      // Truncation rounds, as nothing lies left of the first bin.
      let u = at.start[0] + uk * k + uj * j + 0.5;
      const first = (k * ny + j) * nx;
      for (let p = first; p < first + nx; p++, u += ui) {
        const value = pixels[p]!;
        const low = (u - half) | 0;
        const high = (u + half) | 0;
        if (value > line[low]!) line[low] = value;
        if (value > line[high]!) line[high] = value;
      }
    }
    for (let column = 0; column < width; column++) if (line[column]! !== NOTHING) values[row * width + column] = line[column]!;
  }
}

export function project(grid: Grid, pixels: Pixels, angle: number): Mip {
  const detector = detectorOf(grid, angle);
  const { width, height } = detector;
  const { start, steps } = footprint(grid, detector);
  const half = halfShadow(steps);
  const tall = halfRows(steps);
  const values = new Float32Array(width * height).fill(NaN);
  const [nx, ny, nz] = grid.counts;
  const [[ui, vi], [uj, vj], [uk, vk]] = steps as [[number, number], [number, number], [number, number]];
  if (tall === 0 && half <= 0.5 && Math.abs(vi) + Math.abs(vj) < 1e-6) {
    byLines(pixels, [nx, ny, nz], { start, ui, uj, uk, vk, half, width, height }, values);
    return { detector, values };
  }
  let p = 0;
  for (let k = 0; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      let u = start[0] + uk * k + uj * j;
      let v = start[1] + vk * k + vj * j;
      for (let i = 0; i < nx; i++, p++, u += ui, v += vi) {
        const value = pixels[p]!;
        const last = Math.min(Math.round(u + half), width - 1);
        const bottom = Math.min(Math.round(v + tall), height - 1);
        for (let row = Math.max(Math.round(v - tall), 0); row <= bottom; row++) {
          for (let column = Math.max(Math.round(u - half), 0), n = row * width + column; column <= last; column++, n++) {
            if (!(values[n]! >= value)) values[n] = value;
          }
        }
      }
    }
  }
  return { detector, values };
}

/** The voxel with the highest number behind a bin, nearest to the eye among equals; null where there is none. */
export function peakBehind(grid: Grid, pixels: Pixels, detector: Detector, column: number, row: number): { ijk: Vec3; stored: number } | null {
  const { start, steps } = footprint(grid, detector);
  const half = halfShadow(steps);
  const tall = halfRows(steps);
  const [nx, ny, nz] = grid.counts;
  const [[ui, vi], [uj, vj], [uk, vk]] = steps as [[number, number], [number, number], [number, number]];
  let best: { ijk: Vec3; stored: number; depth: number } | null = null;
  for (let k = 0; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++) {
        const u = start[0] + ui * i + uj * j + uk * k;
        if (Math.round(u - half) > column || Math.round(u + half) < column) continue;
        const v = start[1] + vi * i + vj * j + vk * k;
        if (Math.round(v - tall) > row || Math.round(v + tall) < row) continue;
        const stored = pixels[(k * ny + j) * nx + i]!;
        if (best && stored < best.stored) continue;
        const depth = dot(grid.toLps([i, j, k]), detector.normal);
        if (!best || stored > best.stored || depth > best.depth) best = { ijk: [i, j, k], stored, depth };
      }
    }
  }
  return best && { ijk: best.ijk, stored: best.stored };
}
