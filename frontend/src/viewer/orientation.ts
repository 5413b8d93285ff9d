/** The three panes of a volume: its own voxel axes, turned to the usual radiological view. */
import { directionLetters, dot, type Grid, scale, type Vec3 } from '../affine';
import type { PaneName } from './stage';

export interface PaneAxes {
  /** From the image to the eye, and to the top of the screen. */
  normal: Vec3;
  up: Vec3;
  /** To the right edge of the screen. */
  right: Vec3;
  /** Voxel axis (0 i, 1 j, 2 k) that the pane steps through. */
  axis: 0 | 1 | 2;
  /** +1 when "next slice" (towards feet, back, left) means a rising voxel index. */
  next: 1 | -1;
  count: number;
  step: number;
}

const ORDERS: readonly (readonly [0 | 1 | 2, 0 | 1 | 2, 0 | 1 | 2])[] = [
  [0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0],
];
const PATIENT: readonly Vec3[] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

/**
 * Pane axes from the voxel axes nearest to the patient's, so that an oblique acquisition is shown in
 * its own planes, without interpolation between slices.
 */
export function paneAxes(grid: Grid): Record<PaneName, PaneAxes> {
  const fit = (order: readonly number[]): number =>
    order.reduce((sum, axis, n) => sum + Math.abs(dot(grid.axes[axis as 0 | 1 | 2], PATIENT[n]!)), 0);
  const best = ORDERS.reduce((a, b) => (fit(b) > fit(a) + 1e-9 ? b : a));
  const signs = best.map((axis, n) => (dot(grid.axes[axis], PATIENT[n]!) >= 0 ? 1 : -1)) as (1 | -1)[];
  const [left, back, head] = best.map((axis, n) => scale(grid.axes[axis], signs[n]!)) as [Vec3, Vec3, Vec3];
  const pane = (n: 0 | 1 | 2, normal: Vec3, up: Vec3, right: Vec3, next: 1 | -1): PaneAxes => ({
    normal,
    up,
    right,
    axis: best[n],
    next: (signs[n]! * next) as 1 | -1,
    count: grid.counts[best[n]],
    step: grid.spacing[best[n]],
  });
  return {
    axial: pane(2, scale(head, -1), scale(back, -1), left, -1),
    coronal: pane(1, scale(back, -1), head, left, 1),
    sagittal: pane(0, left, head, back, 1),
  };
}

/** Position of a point in a pane's slices, counted from 1 in the direction "next". */
export function slicePosition(grid: Grid, pane: PaneAxes, point: Vec3): number {
  const index = Math.round(grid.toIndex(point)[pane.axis]);
  return pane.next === 1 ? index + 1 : pane.count - index;
}

/** A point moved by whole slices of a pane (positive: next), kept inside the volume. */
export function stepPoint(grid: Grid, pane: PaneAxes, point: Vec3, slices: number): Vec3 {
  const index = [...grid.toIndex(point)] as [number, number, number];
  const moved = Math.round(index[pane.axis]) + pane.next * slices;
  index[pane.axis] = Math.min(Math.max(moved, 0), pane.count - 1);
  return grid.toLps(index);
}

/** The letters at the four edges. */
export function edgeLetters(pane: PaneAxes): { top: string; bottom: string; left: string; right: string } {
  return {
    top: directionLetters(pane.up),
    bottom: directionLetters(scale(pane.up, -1)),
    left: directionLetters(scale(pane.right, -1)),
    right: directionLetters(pane.right),
  };
}
