/** Where a pane looks: planes of the acquisition, of the patient, or oblique; turns and flips of the camera. */
import { add, cross, directionLetters, dot, type Grid, length, normalise, scale, subtract, type Vec3 } from '../affine';

export type Plane = 'axial' | 'sagittal' | 'coronal';
export const PLANES: readonly Plane[] = ['axial', 'sagittal', 'coronal'];
/** Planes of the series' own voxels, or of the patient (LPS axes, whatever the gantry's tilt). */
export type PlaneFrame = 'acquisition' | 'patient';

export interface PaneAxes {
  /** From the image to the eye, and to the top of the screen. */
  normal: Vec3;
  up: Vec3;
  /** To the right edge of the screen. */
  right: Vec3;
  /** Voxel axis (0 i, 1 j, 2 k) that the pane steps through; null for planes that cross voxels. */
  axis: 0 | 1 | 2 | null;
  /** +1 when "next slice" (towards feet, back, left) means a rising voxel index. */
  next: 1 | -1;
  count: number;
  step: number;
  /** Of a plane that crosses voxels: unit vector to the next slice, and mm along it of the first. */
  towards: Vec3;
  first: number;
}

/** A camera's turn: quarters clockwise on screen, after a mirror left to right. */
export interface Turn {
  quarter: 0 | 1 | 2 | 3;
  flip: boolean;
}
export const NO_TURN: Turn = { quarter: 0, flip: false };

const ORDERS: readonly (readonly [0 | 1 | 2, 0 | 1 | 2, 0 | 1 | 2])[] = [
  [0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0],
];
const PATIENT: readonly [Vec3, Vec3, Vec3] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

/** Signed voxel axes nearest to the patient's left, back, head. */
function nearest(grid: Grid): { order: readonly [0 | 1 | 2, 0 | 1 | 2, 0 | 1 | 2]; signs: (1 | -1)[] } {
  const fit = (order: readonly number[]): number =>
    order.reduce((sum, axis, n) => sum + Math.abs(dot(grid.axes[axis as 0 | 1 | 2], PATIENT[n]!)), 0);
  const order = ORDERS.reduce((a, b) => (fit(b) > fit(a) + 1e-9 ? b : a));
  return { order, signs: order.map((axis, n) => (dot(grid.axes[axis], PATIENT[n]!) >= 0 ? 1 : -1)) };
}

/** Normal, up, right and the direction "next" of the three planes over left, back, head. */
function views(left: Vec3, back: Vec3, head: Vec3): Record<Plane, Pick<PaneAxes, 'normal' | 'up' | 'right' | 'towards'>> {
  return {
    axial: { normal: scale(head, -1), up: scale(back, -1), right: left, towards: scale(head, -1) },
    coronal: { normal: scale(back, -1), up: head, right: left, towards: back },
    sagittal: { normal: left, up: head, right: back, towards: left },
  };
}

/**
 * Pane axes from the voxel axes nearest to the patient's, so that an oblique acquisition is shown in
 * its own planes, without interpolation between slices.
 */
export function paneAxes(grid: Grid): Record<Plane, PaneAxes> {
  const { order, signs } = nearest(grid);
  const [left, back, head] = order.map((axis, n) => scale(grid.axes[axis], signs[n]!)) as [Vec3, Vec3, Vec3];
  const made = views(left, back, head);
  const pane = (plane: Plane, n: 0 | 1 | 2, next: 1 | -1): PaneAxes => ({
    ...made[plane],
    axis: order[n],
    next: (signs[n]! * next) as 1 | -1,
    count: grid.counts[order[n]],
    step: grid.spacing[order[n]],
    first: 0,
  });
  return { axial: pane('axial', 2, -1), coronal: pane('coronal', 1, 1), sagittal: pane('sagittal', 0, 1) };
}

/** Slices across voxels: as far apart as the voxels along the normal, from one end of the volume to the other. */
function across(grid: Grid, view: Pick<PaneAxes, 'normal' | 'up' | 'right' | 'towards'>): PaneAxes {
  const [nx, ny, nz] = grid.counts;
  const heights: number[] = [];
  for (const k of [0, nz - 1]) for (const j of [0, ny - 1]) for (const i of [0, nx - 1]) heights.push(dot(grid.toLps([i, j, k]), view.towards));
  const [first, last] = [Math.min(...heights), Math.max(...heights)];
  const step = grid.axes.reduce((sum, axis, n) => sum + dot(axis, view.towards) ** 2 * grid.spacing[n as 0 | 1 | 2], 0);
  return { ...view, axis: null, next: 1, step, first, count: Math.floor((last - first) / step + 1e-6) + 1 };
}

/** Planes along LPS. Where the voxels lie along LPS already these are their own planes. */
export function patientAxes(grid: Grid): Record<Plane, PaneAxes> {
  const { order } = nearest(grid);
  const straight = order.every((axis, n) => Math.abs(dot(grid.axes[axis], PATIENT[n]!)) > 1 - 1e-6);
  if (straight) return paneAxes(grid);
  const made = views(...PATIENT);
  return { axial: across(grid, made.axial), coronal: across(grid, made.coronal), sagittal: across(grid, made.sagittal) };
}

/** Turns a unit vector about an axis by degrees (right-handed). */
export function rotate(v: Vec3, axis: Vec3, degrees: number): Vec3 {
  const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return add(add(scale(v, c), scale(cross(axis, v), s)), scale(axis, dot(axis, v) * (1 - c)));
}

/** A plane that the reader tilted: its normal to the eye and its up, before turns and flips. */
export interface Tilt {
  normal: Vec3;
  up: Vec3;
}

/** The axes of a tilted plane that began as `from`. */
export function obliqueAxes(grid: Grid, from: PaneAxes, tilt: Tilt | undefined): PaneAxes {
  if (!tilt) return from;
  const normal = normalise(tilt.normal);
  const up = normalise(subtract(tilt.up, scale(normal, dot(tilt.up, normal))));
  const side = dot(from.towards, from.normal) > 0 ? 1 : -1;
  return across(grid, { normal, up, right: cross(up, normal), towards: scale(normal, side) });
}

/** A tilt, or the plane it begins from, turned about an axis through the cursor by degrees. */
export function tiltedAbout(from: Tilt, axis: Vec3, degrees: number): Tilt {
  return { normal: rotate(from.normal, axis, degrees), up: rotate(from.up, axis, degrees) };
}

/** The camera after a turn: which directions of the plane go up and right, and on which side the eye is. */
export function turned(axes: PaneAxes, turn: Turn): PaneAxes {
  // A mirror image of a plane is the plane seen from behind.
  const right = turn.flip ? scale(axes.right, -1) : axes.right;
  const normal = turn.flip ? scale(axes.normal, -1) : axes.normal;
  const up = axes.up;
  const minus = (v: Vec3): Vec3 => scale(v, -1);
  const [newUp, newRight] = ([[up, right], [minus(right), up], [minus(up), minus(right)], [right, minus(up)]] as const)[turn.quarter];
  return { ...axes, normal, up: newUp, right: newRight };
}

/** Position of a point in a pane's slices, counted from 1 in the direction "next". */
export function slicePosition(grid: Grid, pane: PaneAxes, point: Vec3): number {
  if (pane.axis === null) return Math.round((dot(point, pane.towards) - pane.first) / pane.step) + 1;
  const index = Math.round(grid.toIndex(point)[pane.axis]);
  return pane.next === 1 ? index + 1 : pane.count - index;
}

/** A point moved by whole slices of a pane (positive: next), kept inside the volume. */
export function stepPoint(grid: Grid, pane: PaneAxes, point: Vec3, slices: number): Vec3 {
  if (pane.axis === null) {
    const height = dot(point, pane.towards);
    const wanted = Math.min(Math.max(height + slices * pane.step, pane.first), pane.first + (pane.count - 1) * pane.step);
    return add(point, scale(pane.towards, wanted - height));
  }
  const index = [...grid.toIndex(point)] as [number, number, number];
  const moved = Math.round(index[pane.axis]) + pane.next * slices;
  index[pane.axis] = Math.min(Math.max(moved, 0), pane.count - 1);
  return grid.toLps(index);
}

/** Right and up on screen, read from where a drawn camera puts its pixels. */
export function drawnDirections(toWorld: (at: [number, number]) => Vec3): { right: Vec3; up: Vec3 } {
  const origin = toWorld([0, 0]);
  return { right: normalise(subtract(toWorld([100, 0]), origin)), up: normalise(subtract(origin, toWorld([0, 100]))) };
}

/** The letters at the four edges. */
export function edgeLetters(pane: { up: Vec3; right: Vec3 }): { top: string; bottom: string; left: string; right: string } {
  // A pane without size has no directions yet.
  if (!(length(pane.up) > 0) || !(length(pane.right) > 0)) return { top: '', bottom: '', left: '', right: '' };
  return {
    top: directionLetters(pane.up),
    bottom: directionLetters(scale(pane.up, -1)),
    left: directionLetters(scale(pane.right, -1)),
    right: directionLetters(pane.right),
  };
}
