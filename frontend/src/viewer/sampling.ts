/** A volume cut by a view plane, one value per screen pixel: what the comparison modes and the moving
 * series' own pane draw from. Geometry is exact for any affine grid, shear included. */
import { type Grid, scale, subtract, type Vec3 } from '../affine';
import type { Pixels } from './codec';
import type { Point2 } from './stage';

/** LPS of the first pixel's centre, and the steps to the next pixel of a row and to the next row. */
export interface Raster {
  origin: Vec3;
  du: Vec3;
  dv: Vec3;
  width: number;
  height: number;
}

/** The raster of a pane of `width` x `height` CSS px, whose mapping to the world is affine. */
export function rasterOf(toWorld: (at: Point2) => Vec3, width: number, height: number): Raster {
  const origin = toWorld([0.5, 0.5]);
  return {
    origin,
    du: scale(subtract(toWorld([100.5, 0.5]), origin), 1 / 100),
    dv: scale(subtract(toWorld([0.5, 100.5]), origin), 1 / 100),
    width: Math.max(Math.round(width), 1),
    height: Math.max(Math.round(height), 1),
  };
}

/** Stored numbers (trilinear), row by row; NaN outside the volume, whose voxels end half a step out. */
export function samplePlane(grid: Grid, pixels: Pixels, raster: Raster): Float32Array {
  const [nx, ny, nz] = grid.counts;
  const plane = nx * ny;
  const start = grid.toIndex(raster.origin);
  const next = (step: Vec3): Vec3 =>
    subtract(grid.toIndex([raster.origin[0] + step[0], raster.origin[1] + step[1], raster.origin[2] + step[2]]), start);
  const [du, dv] = [next(raster.du), next(raster.dv)];
  const out = new Float32Array(raster.width * raster.height).fill(NaN);
  let n = 0;
  for (let row = 0; row < raster.height; row++) {
    let i = start[0] + dv[0] * row;
    let j = start[1] + dv[1] * row;
    let k = start[2] + dv[2] * row;
    for (let column = 0; column < raster.width; column++, n++, i += du[0], j += du[1], k += du[2]) {
      if (i < -0.5 || j < -0.5 || k < -0.5 || i > nx - 0.5 || j > ny - 0.5 || k > nz - 0.5) continue;
      const x = i < 0 ? 0 : i > nx - 1 ? nx - 1 : i;
      const y = j < 0 ? 0 : j > ny - 1 ? ny - 1 : j;
      const z = k < 0 ? 0 : k > nz - 1 ? nz - 1 : k;
      const [x0, y0, z0] = [Math.floor(x), Math.floor(y), Math.floor(z)];
      const [fx, fy, fz] = [x - x0, y - y0, z - z0];
      const a = z0 * plane + y0 * nx + x0;
      const sx = fx > 0 ? 1 : 0;
      const sy = fy > 0 ? nx : 0;
      const b = fz > 0 ? a + plane : a;
      const low = pixels[a]! * (1 - fx) + pixels[a + sx]! * fx;
      const low1 = pixels[a + sy]! * (1 - fx) + pixels[a + sy + sx]! * fx;
      const high = pixels[b]! * (1 - fx) + pixels[b + sx]! * fx;
      const high1 = pixels[b + sy]! * (1 - fx) + pixels[b + sy + sx]! * fx;
      const front = low * (1 - fy) + low1 * fy;
      out[n] = front * (1 - fz) + (high * (1 - fy) + high1 * fy) * fz;
    }
  }
  return out;
}
