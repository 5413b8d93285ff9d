/**
 * What each tool's points mean, in patient millimetres: the lines to draw, the handles, and where the
 * points go when a handle is dragged. No numbers are measured here; those are the server's.
 */
import { add, cross, dot, length, normalise, scale, subtract, type Vec3 } from '../../affine';
import { isPlanar, type MarkTool } from './tools';

/** The axes of the pane in which a mark is drawn. */
export interface Frame {
  right: Vec3;
  down: Vec3;
  normal: Vec3;
}

export interface Line {
  points: Vec3[];
  closed: boolean;
}

export interface Figure {
  lines: Line[];
  /** Drawn with a head at its first point. */
  arrow: readonly [Vec3, Vec3] | null;
  /** Small crosses. */
  dots: Vec3[];
  handles: { index: number; at: Vec3 }[];
}

/** Sides of a circle's polygon. */
const SIDES = 72;

export const middle = (a: Vec3, b: Vec3): Vec3 => scale(add(a, b), 0.5);
export const distance = (a: Vec3, b: Vec3): number => length(subtract(a, b));

/** `v` without its part along `normal`. */
function inPlane(v: Vec3, normal: Vec3): Vec3 {
  return subtract(v, scale(normal, dot(v, normal)));
}

/** A unit vector across `a`→`b` in the plane of `normal`. */
function across(a: Vec3, b: Vec3, normal: Vec3): Vec3 {
  return normalise(cross(normal, subtract(b, a)));
}

/** The points of an ellipse [centre, end of one axis, end of the other]. */
export function ellipse(centre: Vec3, a: Vec3, b: Vec3): Vec3[] {
  const [u, v] = [subtract(a, centre), subtract(b, centre)];
  return Array.from({ length: SIDES }, (_, n) => {
    const angle = (2 * Math.PI * n) / SIDES;
    return add(centre, add(scale(u, Math.cos(angle)), scale(v, Math.sin(angle))));
  });
}

/** The circle in which a plane at `height` over the centre cuts a ball; none where it does not. */
export function section(centre: Vec3, radius: number, height: number, frame: Frame): Vec3[] {
  const square = radius * radius - height * height;
  if (square <= 0) return [];
  const r = Math.sqrt(square);
  const at = add(centre, scale(frame.normal, height));
  return ellipse(at, add(at, scale(frame.right, r)), add(at, scale(frame.down, r)));
}

/** An ellipse that fills the box between two corners, along the pane's axes. */
export function ellipseInBox(from: Vec3, to: Vec3, frame: Frame): Vec3[] {
  const centre = middle(from, to);
  const half = subtract(to, centre);
  const along = (axis: Vec3): Vec3 => scale(axis, Math.abs(dot(half, axis)));
  return [centre, add(centre, along(frame.right)), add(centre, along(frame.down))];
}

/** The short axis whose half-width is the pointer's distance from the long one. */
export function shortAxis(a: Vec3, b: Vec3, pointer: Vec3, normal: Vec3): [Vec3, Vec3] {
  const foot = footOn(a, b, pointer);
  const half = scale(across(a, b, normal), dot(subtract(pointer, foot), across(a, b, normal)));
  return [add(foot, half), subtract(foot, half)];
}

/** The short axis drawn from one side to the other: at the foot of its start, and always over the long one. */
export function shortAxisThrough(a: Vec3, b: Vec3, from: Vec3, to: Vec3, normal: Vec3): [Vec3, Vec3] {
  const side = across(a, b, normal);
  const foot = footOn(a, b, from);
  const [near, far] = [dot(subtract(from, a), side), dot(subtract(to, a), side)];
  return [add(foot, scale(side, near)), add(foot, scale(side, kept(far, -near)))];
}

/** `width` while it has the sign of `like`; else on the line itself. */
function kept(width: number, like: number): number {
  return width * like >= 0 ? width : 0;
}

/** The nearest point of the line a–b, kept between its ends. */
export function footOn(a: Vec3, b: Vec3, p: Vec3): Vec3 {
  const along = subtract(b, a);
  const square = dot(along, along);
  if (square === 0) return a;
  const t = Math.min(Math.max(dot(subtract(p, a), along) / square, 0), 1);
  return add(a, scale(along, t));
}

/** What a mark looks like in the plane of a pane. `height`: the plane's over the mark's first point, mm. */
export function figureOf(tool: MarkTool, points: readonly Vec3[], frame: Frame, height: number): Figure {
  const figure: Figure = { lines: [], arrow: null, dots: [], handles: points.map((at, index) => ({ index, at })) };
  const line = (list: readonly Vec3[], closed = false): void => {
    if (list.length > 1) figure.lines.push({ points: [...list], closed });
  };
  const [a, b, c, d] = points;
  if (!a) return figure;
  if (tool === 'ellipse' && b && c) {
    line(ellipse(a, b, c), true);
    const opposite = (end: Vec3): Vec3 => subtract(scale(a, 2), end);
    figure.handles = [a, b, c, opposite(b), opposite(c)].map((at, index) => ({ index, at }));
  } else if ((tool === 'sphere' || tool === 'threshold') && b) {
    const circle = section(a, distance(a, b), height, frame);
    line(circle, true);
    figure.handles = [];
    if (circle.length) {
      // The rim's handle stands where it was drawn, or in the nearest direction this plane has.
      const flat = inPlane(subtract(b, a), frame.normal);
      const direction = length(flat) > 1e-6 ? normalise(flat) : frame.right;
      const centre = add(a, scale(frame.normal, height));
      figure.handles = [{ index: 1, at: add(centre, scale(direction, distance(circle[0]!, centre))) }];
      figure.handles.unshift({ index: 0, at: centre });
    }
  } else if (tool === 'arrow') {
    if (b) figure.arrow = [a, b];
  } else if (tool === 'bidirectional') {
    if (b) line([a, b]);
    if (c && d) line([c, d]);
  } else if (tool === 'freehand') {
    line(points, points.length > 2);
    figure.handles = [];
  } else if (tool === 'probe' || tool === 'text') {
    figure.dots = [a];
  } else {
    line(points);
  }
  return figure;
}

/** The points after a handle went `to` a place in the pane; a planar mark stays in the plane it was drawn in. */
export function withHandleAt(tool: MarkTool, points: readonly Vec3[], index: number, to: Vec3, frame: Frame): Vec3[] {
  const [a, b, c, d] = points;
  // The pane may look up to half a slice beside it.
  if (a && isPlanar(tool)) to = inPlaneOf(to, a, frame);
  if (tool === 'ellipse' && a && b && c) return ellipseDragged(a, b, c, index, to, frame);
  if ((tool === 'sphere' || tool === 'threshold') && a && b) {
    if (index === 0) return movedBy(points, subtract(to, inPlaneOf(a, to, frame)));
    // The rim is pulled in this plane: the ball is as large as its section here reaches.
    return [a, to];
  }
  if (tool === 'bidirectional' && a && b && c && d) {
    return index < 2 ? longAxisDragged([a, b, c, d], index, to, frame) : shortAxisDragged([a, b, c, d], index, to, frame);
  }
  return points.map((point, n) => (n === index ? to : point));
}

/** `p` carried along the normal to the height of `at`, e.g. where a ball's centre is seen in a plane off it. */
function inPlaneOf(p: Vec3, at: Vec3, frame: Frame): Vec3 {
  return add(p, scale(frame.normal, dot(subtract(at, p), frame.normal)));
}

export function movedBy(points: readonly Vec3[], by: Vec3): Vec3[] {
  return points.map((point) => add(point, by));
}

/** The dragged end follows, the opposite end stays; the other axis keeps its length and stays square. */
function ellipseDragged(centre: Vec3, a: Vec3, b: Vec3, index: number, to: Vec3, frame: Frame): Vec3[] {
  if (index === 0) return movedBy([centre, a, b], subtract(to, centre));
  const onA = index === 1 || index === 3;
  const end = onA ? a : b;
  const other = onA ? b : a;
  const fixed = index <= 2 ? subtract(scale(centre, 2), end) : end;
  const moved = middle(to, fixed);
  const half = subtract(index <= 2 ? to : fixed, moved);
  const side = normalise(cross(frame.normal, half));
  const turn = dot(side, subtract(other, centre)) < 0 ? -1 : 1;
  const across = add(moved, scale(side, turn * distance(other, centre)));
  return onA ? [moved, add(moved, half), across] : [moved, across, add(moved, half)];
}

type Four = readonly [Vec3, Vec3, Vec3, Vec3];

/** The short axis keeps its place along the long one, and its widths on both sides. */
function longAxisDragged([a, b, c, d]: Four, index: number, to: Vec3, frame: Frame): Vec3[] {
  const along = subtract(b, a);
  const t = dot(subtract(c, a), along) / dot(along, along);
  const side = across(a, b, frame.normal);
  const widths = [c, d].map((p) => dot(subtract(p, a), side));
  const [a2, b2] = index === 0 ? [to, b] : [a, to];
  const foot = add(a2, scale(subtract(b2, a2), t));
  const side2 = across(a2, b2, frame.normal);
  return [a2, b2, add(foot, scale(side2, widths[0]!)), add(foot, scale(side2, widths[1]!))];
}

/** An end of the short axis goes out or in; pulled along, the whole short axis slides on the long one. */
function shortAxisDragged([a, b, c, d]: Four, index: number, to: Vec3, frame: Frame): Vec3[] {
  const side = across(a, b, frame.normal);
  const foot = footOn(a, b, to);
  const width = (p: Vec3): number => dot(subtract(p, a), side);
  const at = (mm: number): Vec3 => add(foot, scale(side, mm));
  return index === 2 ? [a, b, at(kept(width(to), -width(d))), at(width(d))] : [a, b, at(width(c)), at(kept(width(to), -width(c)))];
}

export function isDegenerate(tool: MarkTool, points: readonly Vec3[], leastMm: number): boolean {
  if (tool === 'freehand') return points.length < 3 || extent(points) < leastMm;
  if (tool === 'ellipse') return points.slice(1).some((end) => distance(end, points[0]!) < leastMm / 2);
  return points.some((p, n) => points.some((q, m) => m > n && tool !== 'bidirectional' && distance(p, q) < leastMm));
}

function extent(points: readonly Vec3[]): number {
  return Math.max(...points.map((p) => distance(p, points[0]!)));
}
