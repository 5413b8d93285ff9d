/** Outline of a label volume in a pane: where neighbouring samples of the screen differ. */
import { add, scale, subtract, type Grid, type Vec3 } from '../affine';
import type { Point2 } from './stage';

const SAMPLE_PX = 2;

/**
 * Line pieces (canvas px) between samples of different labels. `voxel` gives the label at an index
 * (undefined outside); the pane's mapping is affine, so three corners define it.
 */
export function labelEdges(
  grid: Grid,
  voxel: (index: Vec3) => number | undefined,
  toWorld: (at: Point2) => Vec3,
  width: number,
  height: number,
): [Point2, Point2][] {
  const origin = grid.toIndex(toWorld([0, 0]));
  const du = scale(subtract(grid.toIndex(toWorld([100, 0])), origin), SAMPLE_PX / 100);
  const dv = scale(subtract(grid.toIndex(toWorld([0, 100])), origin), SAMPLE_PX / 100);
  const [columns, rows] = [Math.ceil(width / SAMPLE_PX), Math.ceil(height / SAMPLE_PX)];
  const edges: [Point2, Point2][] = [];
  let above = new Int16Array(columns);
  for (let row = 0; row < rows; row++) {
    const current = new Int16Array(columns);
    let index = add(origin, scale(dv, row));
    for (let column = 0; column < columns; column++) {
      const label = voxel(index) ?? 0;
      current[column] = label;
      const [x, y] = [column * SAMPLE_PX - SAMPLE_PX / 2, row * SAMPLE_PX - SAMPLE_PX / 2];
      if (column > 0 && current[column - 1] !== label) edges.push([[x, y], [x, y + SAMPLE_PX]]);
      if (row > 0 && above[column] !== label) edges.push([[x, y], [x + SAMPLE_PX, y]]);
      index = add(index, du);
    }
    above = current;
  }
  return edges;
}
