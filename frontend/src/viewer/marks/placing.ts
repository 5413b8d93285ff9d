/** Where the marks of a case are seen in one pane: solid, faint or not at all; and which is under the pointer. */
import { dot, type Vec3 } from '../../affine';
import { distanceTo, type Plane } from '../slicing';
import type { Point2 } from '../stage';
import { type Grown, grownEdges } from './grown';
import { distance, figureOf, type Frame } from './shapes';
import { isPlanar, type MarkTool } from './tools';

/** A mark as it stands now: stored, on its way to the server, or refused by it. */
export interface ShownMark {
  key: string;
  /** Null until the server has it. */
  id: number | null;
  /** M1, M2 ... of the table; empty until it is stored. */
  name: string;
  tool: MarkTool;
  points: readonly Vec3[];
  label: string;
  /** The server's values, one layer to a line; empty while they are computed. */
  lines: readonly string[];
  /** The same for a mark that is not looked at now: it must not hide the image. */
  brief: readonly string[];
  /** Of a grown volume. */
  grown: Grown | null;
  state: 'stored' | 'saving' | 'failed' | 'draft';
  /** Why it is not saved. */
  reason: string;
}

export interface PaneView {
  plane: Plane;
  frame: Frame;
  /** Half the distance of two slices: closer than this a mark lies in the plane. */
  halfStep: number;
  /** Half the slab that the pane shows; marks within it are faint. */
  halfSlab: number;
  toCanvas: (point: Vec3) => Point2;
  toWorld: (at: Point2) => Vec3;
  /** CSS px. */
  width: number;
  height: number;
}

export interface PlacedMark {
  mark: ShownMark;
  seen: 'own' | 'faint';
  lines: { points: Point2[]; closed: boolean; aid: boolean }[];
  /** Of a grown volume: its voxels' edges in this plane. */
  edges: readonly (readonly [Point2, Point2])[];
  arrow: readonly [Point2, Point2] | null;
  dots: Point2[];
  handles: { index: number; at: Point2 }[];
  /** Where its text goes: its rightmost, else topmost point. */
  anchor: Point2;
  /** To a text that found room only further away. */
  leader: readonly [Point2, Point2] | null;
}

const CLOSE_MM = 1e-3;

/** A planar mark is in the plane if all of it is; in the slab likewise. A ball where it is cut. */
export function seenIn(tool: MarkTool, points: readonly Vec3[], view: Pick<PaneView, 'plane' | 'halfStep' | 'halfSlab'>): 'own' | 'faint' | null {
  const heights = points.map((point) => Math.abs(distanceTo(view.plane, point)));
  if (!isPlanar(tool)) {
    const radius = points[1] ? distance(points[0]!, points[1]) : 0;
    return heights[0]! < radius || heights[0]! <= view.halfStep + CLOSE_MM ? 'own' : null;
  }
  const farthest = Math.max(...heights);
  if (farthest <= view.halfStep + CLOSE_MM) return 'own';
  return farthest <= view.halfSlab + CLOSE_MM ? 'faint' : null;
}

export function placeMark(mark: ShownMark, view: PaneView): PlacedMark | null {
  const seen = seenIn(mark.tool, mark.points, view);
  const edges = mark.grown ? grownEdges(mark.grown, view.toCanvas, view.toWorld, view.width, view.height) : [];
  if (!seen && !edges.length) return null;
  const height = distanceTo(view.plane, mark.points[0]!) * -Math.sign(dot(view.plane.normal, view.frame.normal));
  const figure = figureOf(mark.tool, mark.points, view.frame, height);
  const to = (points: readonly Vec3[]): Point2[] => points.map(view.toCanvas);
  // Once the volume is known, the ball it was grown in is only an aid.
  const lines = seen ? figure.lines.map(({ points, closed }) => ({ points: to(points), closed, aid: mark.grown !== null })) : [];
  const arrow = figure.arrow && ([view.toCanvas(figure.arrow[0]), view.toCanvas(figure.arrow[1])] as const);
  const dots = seen ? to(figure.dots) : [];
  const solid = lines.filter((line) => !line.aid);
  const body = [...solid.flatMap((line) => line.points), ...edges.flat()];
  const all = [...(body.length ? body : lines.flatMap((line) => line.points)), ...(arrow ?? []), ...dots];
  const anchor = all.reduce<Point2 | null>((best, p) => (!best || p[0] > best[0] + 0.5 || (p[0] > best[0] - 0.5 && p[1] < best[1]) ? p : best), null);
  return {
    mark,
    seen: seen ?? 'own',
    lines,
    edges,
    arrow: seen ? arrow : null,
    dots,
    handles: seen === 'own' ? figure.handles.map(({ index, at }) => ({ index, at: view.toCanvas(at) })) : [],
    anchor: anchor ?? view.toCanvas(mark.points[0]!),
    leader: null,
  };
}

const HANDLE_PX = 9;
const LINE_PX = 6;

export interface Hit {
  placed: PlacedMark;
  /** Handle under the pointer, or null: the line. */
  handle: number | null;
}

/** Handles at the middle of a region, where the next region of the same lesion is begun. */
const MIDDLE: readonly MarkTool[] = ['ellipse', 'sphere', 'threshold'];

/** The nearest handle within reach, else a line. `drawing`: a new mark may begin here, middles do not stop it. */
export function hit(placed: readonly PlacedMark[], at: Point2, drawing = false): Hit | null {
  let best: Hit | null = null;
  let nearest = HANDLE_PX;
  for (const one of placed) {
    for (const handle of one.handles) {
      if (drawing && handle.index === 0 && MIDDLE.includes(one.mark.tool)) continue;
      const d = Math.hypot(handle.at[0] - at[0], handle.at[1] - at[1]);
      if (d <= nearest) [best, nearest] = [{ placed: one, handle: handle.index }, d];
    }
  }
  if (best) return best;
  nearest = LINE_PX;
  for (const one of placed) {
    const pieces = [...one.lines, ...(one.arrow ? [{ points: [...one.arrow], closed: false }] : [])];
    for (const { points, closed } of pieces) {
      const count = closed ? points.length : points.length - 1;
      for (let n = 0; n < count; n++) {
        const d = distanceToSegment(at, points[n]!, points[(n + 1) % points.length]!);
        if (d <= nearest) [best, nearest] = [{ placed: one, handle: null }, d];
      }
    }
    for (const [a, b] of one.edges) {
      const d = distanceToSegment(at, a, b);
      if (d <= nearest) [best, nearest] = [{ placed: one, handle: null }, d];
    }
  }
  return best;
}

export function distanceToSegment(p: Point2, a: Point2, b: Point2): number {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const square = dx * dx + dy * dy;
  const t = square ? Math.min(Math.max(((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / square, 0), 1) : 0;
  return Math.hypot(a[0] + t * dx - p[0], a[1] + t * dy - p[1]);
}
