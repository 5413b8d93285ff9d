import { describe, expect, test } from 'vitest';
import { Grid, length, normalise, rigidAbout, subtract, type Vec3 } from '../src/affine';
import { labelEdges } from '../src/viewer/edges';
import { cutContours, cutSlab, distanceTo, prepareContours } from '../src/viewer/slicing';

const GRID = new Grid([20, 30, 40], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]);

function area(points: readonly Vec3[]): number {
  const [a, ...rest] = points as [Vec3, ...Vec3[]];
  let sum = 0;
  for (let n = 0; n + 1 < rest.length; n++) {
    const [u, v] = [subtract(rest[n]!, a), subtract(rest[n + 1]!, a)];
    sum += length([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]) / 2;
  }
  return sum;
}

describe('where a plane cuts slices that are not loaded', () => {
  test('an axial plane takes the whole slice, or nothing', () => {
    const plane = { point: [0, 0, 10] as Vec3, normal: [0, 0, 1] as Vec3 };
    expect(area(cutSlab(GRID, 5, 5, plane))).toBeCloseTo(40 * 30);
    expect(cutSlab(GRID, 7, 9, plane)).toEqual([]);
  });

  test('a coronal plane takes a band, an oblique one is wider', () => {
    expect(area(cutSlab(GRID, 3, 6, { point: [0, 15, 0], normal: [0, 1, 0] }))).toBeCloseTo(40 * 8);
    const oblique = { point: [20, 15, 9] as Vec3, normal: normalise([0, 1, 1]) };
    const polygon = cutSlab(GRID, 3, 6, oblique);
    expect(area(polygon)).toBeCloseTo(40 * 8 * Math.SQRT2);
    for (const corner of polygon) expect(Math.abs(distanceTo(oblique, corner))).toBeLessThan(1e-9);
  });

  test('a moved layer is cut where it was moved to', () => {
    const moved = GRID.moved(rigidAbout([0, 0, 0], [0, 0, 100], [0, 0, 0]));
    const plane = { point: [0, 0, 110] as Vec3, normal: [0, 0, 1] as Vec3 };
    expect(area(cutSlab(moved, 5, 5, plane))).toBeCloseTo(40 * 30);
    expect(cutSlab(GRID, 0, 19, plane)).toEqual([]);
  });
});

describe('contours', () => {
  const ring = (z: number): Vec3[] => Array.from({ length: 36 }, (_, n) => [10 * Math.cos((n * Math.PI) / 18), 10 * Math.sin((n * Math.PI) / 18), z]);
  const contours = prepareContours([0, 3, 6, 9].map(ring));

  test('in their own plane as polygons, within half their spacing', () => {
    expect(contours[0]!.thickness).toBe(3);
    const at = (z: number) => cutContours(contours, { point: [0, 0, z], normal: [0, 0, -1] }, 0.5).polygons.length;
    expect([at(3), at(4.2), at(9), at(11)]).toEqual([1, 1, 1, 0]);
  });

  test('across: two pieces per contour, at the radius, as long as the spacing', () => {
    const { polygons, segments } = cutContours(contours, { point: [0, 1e-3, 0], normal: [0, 1, 0] }, 0.5);
    expect(polygons).toEqual([]);
    expect(segments).toHaveLength(8);
    for (const [a, b] of segments) {
      expect(Math.abs(a[0])).toBeCloseTo(10, 1);
      expect(length(subtract(a, b))).toBeCloseTo(3);
    }
  });

  test('degenerate polygons are left out', () => {
    expect(prepareContours([[[0, 0, 0], [1, 0, 0]], [[0, 0, 0], [1, 0, 0], [2, 0, 0]]])).toEqual([]);
  });
});

test('the outline of a label follows its border on screen', () => {
  const pixels = new Uint8Array(20 * 30 * 40);
  for (let j = 10; j < 20; j++) for (let i = 10; i < 20; i++) pixels[(5 * 30 + j) * 40 + i] = 2;
  // Four pixels per voxel, axial slice 5.
  const edges = labelEdges(GRID, pixels, ([x, y]) => [x / 4, y / 4, 10], 160, 120);
  const xs = edges.flatMap(([a, b]) => [a[0], b[0]]);
  expect(Math.min(...xs)).toBeGreaterThanOrEqual(36);
  expect(Math.max(...xs)).toBeLessThanOrEqual(80);
  // Both axes: about 2 x 40 px of border each way, in pieces of 2 px.
  expect(edges.length).toBeGreaterThanOrEqual(78);
  expect(edges.length).toBeLessThanOrEqual(84);
});
