/** A grown volume as the server's voxels: its outline in any plane. */
import { apply, Grid, type Mat4, type Vec3 } from '../../affine';
import { labelEdges } from '../edges';
import type { Point2 } from '../stage';
import type { GrownMask, Layer } from '../types';

export interface Grown {
  /** Of the mask's box, in the reference space. */
  grid: Grid;
  voxels: Uint8Array<ArrayBuffer>;
}

/** Null where the mask's series is not drawn on its own grid (not fused, or deformed). */
export function grownOf(mask: GrownMask, layer: Layer | undefined, matrix: Mat4): Grown | null {
  // A mask is of the whole volume, also where the browser shows a coarser one.
  const whole = layer?.full ?? layer;
  if (!layer || !whole || layer.kind !== 'series' || whole.shape.join() !== mask.shape.join()) return null;
  const [low, high] = mask.box;
  const [nx, ny, nz] = [high[0] - low[0], high[1] - low[1], high[2] - low[2]];
  const voxels = new Uint8Array(nx * ny * nz);
  let at = 0;
  mask.counts.forEach((count, n) => {
    if (n % 2) voxels.fill(1, at, at + count);
    at += count;
  });
  const own = new Grid(whole.shape, whole.affine);
  const origin = own.toLps(low);
  const affine = whole.affine.map((row, r) => (r < 3 ? [row[0]!, row[1]!, row[2]!, origin[r as 0 | 1 | 2]] : [...row]));
  return { grid: new Grid([nz, ny, nx], affine).moved(matrix), voxels };
}

const AROUND_PX = 6;

/** Line pieces of its outline on a pane's canvas; looked for only where its box is. */
export function grownEdges({ grid, voxels }: Grown, toCanvas: (point: Vec3) => Point2, toWorld: (at: Point2) => Vec3, width: number, height: number): [Point2, Point2][] {
  const [nx, ny, nz] = grid.counts;
  const corners = [-0.5, nx - 0.5].flatMap((i) => [-0.5, ny - 0.5].flatMap((j) => [-0.5, nz - 0.5].map((k) => toCanvas(apply(grid.affine, [i, j, k])))));
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  const x0 = Math.floor(Math.max(Math.min(...xs) - AROUND_PX, -AROUND_PX));
  const y0 = Math.floor(Math.max(Math.min(...ys) - AROUND_PX, -AROUND_PX));
  const [w, h] = [Math.min(Math.max(...xs) + AROUND_PX, width) - x0, Math.min(Math.max(...ys) + AROUND_PX, height) - y0];
  if (w <= 0 || h <= 0) return [];
  const edges = labelEdges(grid, voxels, ([x, y]) => toWorld([x + x0, y + y0]), w, h);
  return edges.map(([a, b]) => [[a[0] + x0, a[1] + y0], [b[0] + x0, b[1] + y0]]);
}
