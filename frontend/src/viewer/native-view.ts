/** The camera of the moving series' own pane: a plane of its own grid, with zoom and pan. */
import { add, dot, type Grid, scale, subtract, type Vec3 } from '../affine';
import { paneAxes, type PaneAxes, type Plane } from './orientation';
import type { Point2 } from './stage';

const LEAST_MM = 0.02;
const MOST_MM = 20;

export class NativeView {
  readonly axes: Record<Plane, PaneAxes>;
  private size: Point2 = [1, 1];
  /** LPS (own space) in the middle of the pane. */
  private middle: Vec3;
  /** mm per px; null: the whole slice, whatever size the pane has or gets. */
  private mm: number | null = null;

  constructor(
    readonly grid: Grid,
    public plane: Plane,
    public cursor: Vec3,
  ) {
    this.axes = paneAxes(grid);
    this.middle = grid.centre;
  }

  get pane(): PaneAxes {
    return this.axes[this.plane];
  }

  /** The point on the nearest voxel centre: the plane goes through it. */
  get snapped(): Vec3 {
    return this.grid.snap(this.cursor);
  }

  get mmPerPixel(): number {
    return this.mm ?? this.fitted;
  }

  /** How much larger than the whole slice fitted into the pane. */
  get zoom(): number {
    return this.fitted / this.mmPerPixel;
  }

  private get fitted(): number {
    const span = (direction: Vec3): number =>
      this.grid.axes.reduce((sum, axis, n) => sum + Math.abs(dot(axis, direction)) * this.grid.counts[n as 0 | 1 | 2] * this.grid.spacing[n as 0 | 1 | 2], 0);
    return Math.max(span(this.pane.right) / this.size[0], span(this.pane.up) / this.size[1]);
  }

  resize(width: number, height: number): void {
    this.size = [Math.max(width, 1), Math.max(height, 1)];
  }

  /** The whole slice, in the middle. */
  fit(): void {
    this.middle = this.grid.centre;
    this.mm = null;
  }

  toWorld(at: Point2): Vec3 {
    const { right, up, normal } = this.pane;
    const inPlane = add(scale(right, (at[0] - this.size[0] / 2) * this.mmPerPixel), scale(up, (this.size[1] / 2 - at[1]) * this.mmPerPixel));
    const point = add(this.middle, inPlane);
    return add(point, scale(normal, dot(subtract(this.snapped, point), normal)));
  }

  toCanvas(point: Vec3): Point2 {
    const from = subtract(point, this.middle);
    return [
      this.size[0] / 2 + dot(from, this.pane.right) / this.mmPerPixel,
      this.size[1] / 2 - dot(from, this.pane.up) / this.mmPerPixel,
    ];
  }

  /** Zooms so that the point under the mouse stays there. */
  zoomBy(factor: number, at: Point2): void {
    const before = this.toWorld(at);
    this.mm = Math.min(Math.max(this.mmPerPixel / factor, LEAST_MM), MOST_MM);
    this.middle = add(this.middle, subtract(before, this.toWorld(at)));
  }

  panBy(dx: number, dy: number): void {
    const { right, up } = this.pane;
    this.middle = add(this.middle, add(scale(right, -dx * this.mmPerPixel), scale(up, dy * this.mmPerPixel)));
  }
}
