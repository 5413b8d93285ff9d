import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { apply, directionLetters, Grid, IDENTITY, invert, type Mat4, multiply, rigidAbout, type Shape, type Vec3 } from '../src/affine';
import { paneAxes, slicePosition, stepPoint } from '../src/viewer/orientation';
import { VECTORS } from './vectors';

const AFFINE: Mat4 = [[0.7, 0, 0, -120.5], [0, 0.7, 0, -80], [0, 0, 3, -200], [0, 0, 0, 1]];

function close(a: readonly number[], b: readonly number[], digits = 6): void {
  a.forEach((value, n) => expect(value).toBeCloseTo(b[n]!, digits));
}

describe('affines', () => {
  test('index to LPS and back', () => {
    const grid = new Grid([60, 256, 200], AFFINE);
    close(grid.toLps([10, 20, 5]), [-113.5, -66, -185]);
    close(grid.toIndex(grid.toLps([3.25, 7.5, 59])), [3.25, 7.5, 59]);
    close(grid.spacing, [0.7, 0.7, 3]);
    close(grid.centre, [-120.5 + 0.7 * 99.5, -80 + 0.7 * 127.5, -200 + 3 * 29.5]);
  });

  test('a matrix carries a grid: matrix times affine', () => {
    const move = rigidAbout([5, -3, 10], [1, 2, 3], [10, -20, 30]);
    const grid = new Grid([60, 256, 200], AFFINE);
    const ijk: Vec3 = [12, 100, 33];
    close(grid.moved(move).toLps(ijk), apply(move, grid.toLps(ijk)));
    expect(grid.moved(move).orthogonal).toBe(true);
    close(grid.moved(move).spacing, grid.spacing);
  });

  test('a rigid step turns about its centre and keeps lengths', () => {
    const centre: Vec3 = [40, -20, 7];
    close(apply(rigidAbout(centre, [0, 0, 0], [30, 40, 50]), centre), centre);
    close(apply(rigidAbout(centre, [1, -2, 3], [5, 6, 7]), centre), [41, -22, 10]);
    close(apply(rigidAbout([0, 0, 0], [0, 0, 0], [0, 0, 90]), [1, 0, 0]), [0, 1, 0]);
  });

  test('inverse', () => {
    const move = multiply(rigidAbout([1, 2, 3], [4, 5, 6], [7, 8, 9]), AFFINE);
    multiply(move, invert(move)).forEach((row, r) => close(row, IDENTITY[r]!));
    expect(() => invert([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])).toThrow('singular');
  });

  test('letters of a direction', () => {
    expect(directionLetters([1, 0, 0])).toBe('L');
    expect(directionLetters([0, -1, 0])).toBe('A');
    expect(directionLetters([0, 0, -2])).toBe('F');
    expect(directionLetters([-0.9, 0.4, 0.1])).toBe('RP');
  });
});

describe('panes', () => {
  test('an axis-aligned volume is shown in radiological convention', () => {
    const axes = paneAxes(new Grid([60, 256, 200], AFFINE));
    expect(axes.axial).toMatchObject({ axis: 2, count: 60, step: 3, next: -1 });
    close(axes.axial.right, [1, 0, 0]);
    close(axes.axial.up, [0, -1, 0]);
    close(axes.coronal.right, [1, 0, 0]);
    close(axes.coronal.up, [0, 0, 1]);
    close(axes.sagittal.right, [0, 1, 0]);
    close(axes.sagittal.up, [0, 0, 1]);
  });

  test('sagittal slices, flipped axes and a tilt still give the same view', () => {
    // i runs to the feet, j to the back, k to the right; turned by 10 degrees about z.
    const sagittal: Mat4 = [[0, 0, -4, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]];
    const axes = paneAxes(new Grid([30, 200, 220], multiply(rigidAbout([0, 0, 0], [0, 0, 0], [0, 0, 10]), sagittal)));
    expect(axes.sagittal).toMatchObject({ axis: 2, count: 30, next: -1 });
    expect(axes.axial.axis).toBe(0);
    expect(directionLetters(axes.axial.right)[0]).toBe('L');
    expect(directionLetters(axes.axial.up)[0]).toBe('A');
    expect(directionLetters(axes.sagittal.up)[0]).toBe('H');
  });

  test('stepping counts from the head and stops at the ends', () => {
    const grid = new Grid([60, 256, 200], AFFINE);
    const { axial } = paneAxes(grid);
    const top = stepPoint(grid, axial, grid.centre, -1000);
    expect(slicePosition(grid, axial, top)).toBe(1);
    expect(slicePosition(grid, axial, stepPoint(grid, axial, top, 7))).toBe(8);
    expect(slicePosition(grid, axial, stepPoint(grid, axial, top, 1000))).toBe(60);
  });
});

interface GridVector {
  name: string;
  shape: Shape;
  affine: Mat4;
  spacing: Vec3;
  points: { ijk: Vec3; lps: Vec3 }[];
  level: { factors: Shape; affine: Mat4 };
}
const vectors = JSON.parse(readFileSync(`${VECTORS}/analysis/vectors/affine.json`, 'utf8')) as GridVector[];

describe('vectors shared with analysis/geometry.py', () => {
  test.each(vectors)('$name', ({ shape, affine, spacing, points, level }) => {
    const grid = new Grid(shape, affine);
    close(grid.spacing, spacing, 9);
    for (const { ijk, lps } of points) {
      close(grid.toLps(ijk), lps, 9);
      close(grid.toIndex(lps), ijk, 9);
    }
    // What upsample.ts assumes: coarse voxel n is the mean of fine voxels n*f .. n*f+f-1.
    const [fz, fy, fx] = level.factors;
    const middle = (n: number, f: number): number => n * f + (f - 1) / 2;
    close(grid.toLps([middle(3, fx), middle(2, fy), middle(1, fz)]), apply(level.affine, [3, 2, 1]), 9);
  });
});
