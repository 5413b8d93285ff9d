/** Outline of a label volume in a pane: where neighbouring samples of the screen differ. */
import { scale, subtract, type Grid, type Vec3 } from '../affine';
import type { Pixels } from './codec';
import type { Point2 } from './stage';

const SAMPLE_PX = 2;

/**
 * Line pieces (canvas px) between samples of different labels. The pane's mapping is affine, so
 * three of its corners define where every sample lies in the volume.
 */
export function labelEdges(grid: Grid, pixels: Pixels, toWorld: (at: Point2) => Vec3, width: number, height: number): [Point2, Point2][] {
  const [nx, ny, nz] = grid.counts;
  const origin = grid.toIndex(toWorld([0, 0]));
  const du = scale(subtract(grid.toIndex(toWorld([100, 0])), origin), SAMPLE_PX / 100);
  const dv = scale(subtract(grid.toIndex(toWorld([0, 100])), origin), SAMPLE_PX / 100);
  const [columns, rows] = [Math.ceil(width / SAMPLE_PX), Math.ceil(height / SAMPLE_PX)];
  const edges: [Point2, Point2][] = [];
  let above = new Uint8Array(columns);
  let current = new Uint8Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const i = Math.round(origin[0] + du[0] * column + dv[0] * row);
      const j = Math.round(origin[1] + du[1] * column + dv[1] * row);
      const k = Math.round(origin[2] + du[2] * column + dv[2] * row);
      const inside = i >= 0 && j >= 0 && k >= 0 && i < nx && j < ny && k < nz;
      const label = inside ? pixels[(k * ny + j) * nx + i]! : 0;
      current[column] = label;
      const [x, y] = [column * SAMPLE_PX - SAMPLE_PX / 2, row * SAMPLE_PX - SAMPLE_PX / 2];
      if (column > 0 && current[column - 1] !== label) edges.push([[x, y], [x, y + SAMPLE_PX]]);
      if (row > 0 && above[column] !== label) edges.push([[x, y], [x + SAMPLE_PX, y]]);
    }
    [above, current] = [current, above];
  }
  return edges;
}
