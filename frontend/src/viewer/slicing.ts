/** Plane geometry: where a plane cuts a box of voxels and a contour. All points are LPS mm. */
import { add, cross, dot, type Grid, normalise, scale, subtract, type Vec3 } from '../affine';

export interface Plane {
  point: Vec3;
  normal: Vec3;
}

export function distanceTo(plane: Plane, p: Vec3): number {
  return dot(subtract(p, plane.point), plane.normal);
}

const EDGES: readonly (readonly [number, number])[] = [
  [0, 1], [2, 3], [4, 5], [6, 7],
  [0, 2], [1, 3], [4, 6], [5, 7],
  [0, 4], [1, 5], [2, 6], [3, 7],
];

/**
 * The polygon in which a plane cuts the slices k0..k1 (inclusive) of a grid, voxel edges included;
 * empty when it does not. Corners come in order round the polygon.
 */
export function cutSlab(grid: Grid, k0: number, k1: number, plane: Plane): Vec3[] {
  const [nx, ny] = grid.counts;
  const corners: Vec3[] = [];
  for (const k of [k0 - 0.5, k1 + 0.5]) {
    for (const j of [-0.5, ny - 0.5]) for (const i of [-0.5, nx - 0.5]) corners.push(grid.toLps([i, j, k]));
  }
  const heights = corners.map((corner) => distanceTo(plane, corner));
  const points: Vec3[] = [];
  for (const [a, b] of EDGES) {
    const [ha, hb] = [heights[a]!, heights[b]!];
    if (ha < 0 === hb < 0) continue;
    points.push(add(corners[a]!, scale(subtract(corners[b]!, corners[a]!), ha / (ha - hb))));
  }
  if (points.length < 3) return [];
  const middle = scale(points.reduce(add), 1 / points.length);
  const u = normalise(subtract(points[0]!, middle));
  const v = cross(plane.normal, u);
  const angle = (p: Vec3): number => Math.atan2(dot(subtract(p, middle), v), dot(subtract(p, middle), u));
  return points.sort((a, b) => angle(a) - angle(b));
}

export interface Contour {
  points: Vec3[];
  plane: Plane;
  /** Thickness in mm that this contour stands for: the distance to its neighbours. */
  thickness: number;
}

/** Newell's normal: right for any planar polygon, convex or not. */
function newell(points: readonly Vec3[]): Vec3 {
  let normal: Vec3 = [0, 0, 0];
  points.forEach((p, n) => {
    normal = add(normal, cross(p, points[(n + 1) % points.length]!));
  });
  return normal;
}

/** Planar polygons of one region with their planes; degenerate ones are left out. */
export function prepareContours(polygons: readonly (readonly Vec3[])[]): Contour[] {
  const contours: Contour[] = [];
  for (const polygon of polygons) {
    const normal = newell(polygon);
    if (polygon.length < 3 || dot(normal, normal) === 0) continue;
    contours.push({ points: [...polygon], plane: { point: polygon[0]!, normal: normalise(normal) }, thickness: 0 });
  }
  const first = contours[0];
  if (!first) return contours;
  const heights = contours.map((c) => dot(c.plane.point, first.plane.normal));
  const distinct = [...new Set(heights.map((h) => Math.round(h * 100) / 100))].sort((a, b) => a - b);
  const gaps = distinct.slice(1).map((h, n) => h - distinct[n]!).sort((a, b) => a - b);
  const thickness = gaps[Math.floor(gaps.length / 2)] ?? 1;
  for (const contour of contours) contour.thickness = thickness;
  return contours;
}

export interface Drawn {
  /** Closed polygons lying in the view plane. */
  polygons: Vec3[][];
  /** Short pieces where contours cross the view plane. */
  segments: [Vec3, Vec3][];
}

/** What of a region's contours a view plane shows. `halfStep` is half the pane's slice distance. */
export function cutContours(contours: readonly Contour[], plane: Plane, halfStep: number): Drawn {
  const drawn: Drawn = { polygons: [], segments: [] };
  for (const contour of contours) {
    const parallel = Math.abs(dot(contour.plane.normal, plane.normal)) > 0.999;
    if (parallel) {
      const reach = Math.max(halfStep, contour.thickness / 2);
      if (Math.abs(distanceTo(plane, contour.plane.point)) <= reach + 1e-6) drawn.polygons.push(contour.points);
      continue;
    }
    const along = scale(contour.plane.normal, contour.thickness / 2);
    const n = contour.points.length;
    for (let i = 0; i < n; i++) {
      const [a, b] = [contour.points[i]!, contour.points[(i + 1) % n]!];
      const [ha, hb] = [distanceTo(plane, a), distanceTo(plane, b)];
      if (ha < 0 === hb < 0) continue;
      const at = add(a, scale(subtract(b, a), ha / (ha - hb)));
      drawn.segments.push([subtract(at, along), add(at, along)]);
    }
  }
  return drawn;
}
