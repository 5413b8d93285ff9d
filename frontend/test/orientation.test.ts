import { describe, expect, test } from 'vitest';
import { cross, dot, Grid, length, type Mat4, multiply, normalise, rigidAbout, scale, subtract, type Vec3 } from '../src/affine';
import {
  drawnDirections, edgeLetters, obliqueAxes, paneAxes, patientAxes, type PaneAxes, PLANES, slicePosition, stepPoint, type Tilt, tiltedAbout, turned, type Turn,
} from '../src/viewer/orientation';

const TURNS: readonly Turn[] = [false, true].flatMap((flip) => ([0, 1, 2, 3] as const).map((quarter) => ({ quarter, flip })));

/** All 48 ways in which i, j, k can lie along the patient's axes, then tilted. */
function grids(degrees: Vec3): Grid[] {
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const signs = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [n & 1 ? -1 : 1, n & 2 ? -1 : 1, n & 4 ? -1 : 1]);
  const spacing = [0.8, 0.9, 2.5];
  return orders.flatMap((order) => signs.map((sign) => {
    const affine = [0, 1, 2, 3].map((row) => [0, 1, 2, 3].map((column) => (row === 3 ? Number(column === 3) : column < 3 && order[column] === row ? sign[column]! * spacing[column]! : 0)));
    return new Grid([20, 30, 40], multiply(rigidAbout([0, 0, 0], [5, -3, 11], degrees), affine as Mat4));
  }));
}

/** The analytic truth, from nothing but the drawn camera: which patient ends lie towards an edge of the screen. */
function truth(direction: Vec3): Set<string> {
  const names = [['R', 'L'], ['A', 'P'], ['F', 'H']] as const;
  return new Set(direction.flatMap((value, axis) => (Math.abs(value) > 0.2 ? [names[axis]![value > 0 ? 1 : 0]] : [])));
}

/** A camera that draws: canvas px to the world, as a planar viewport does it. */
function camera(axes: PaneAxes, at: Vec3, mm: number): (point: [number, number]) => Vec3 {
  return ([x, y]) => [0, 1, 2].map((n) => at[n]! + (x - 200) * mm * axes.right[n]! - (y - 150) * mm * axes.up[n]!) as unknown as Vec3;
}

describe('orientation letters are those of the drawn camera', () => {
  for (const degrees of [[0, 0, 0], [17, 0, 0], [0, -21, 0], [9, 14, -32], [30, 25, 20]] as Vec3[]) {
    test(`every plane, turn and mirror of all 48 voxel orders, turned by ${degrees.join(', ')}`, () => {
      for (const grid of grids(degrees)) {
        for (const planes of [paneAxes(grid), patientAxes(grid)]) {
          for (const plane of PLANES) {
            for (const turn of TURNS) {
              const axes = turned(planes[plane], turn);
              // A right-handed screen: right x up points to the eye.
              expect(dot(cross(axes.right, axes.up), axes.normal)).toBeCloseTo(1, 6);
              const drawn = drawnDirections(camera(axes, grid.centre, 0.7));
              const letters = edgeLetters(drawn);
              expect(new Set(letters.right)).toEqual(truth(drawn.right));
              expect(new Set(letters.left)).toEqual(truth(scale(drawn.right, -1)));
              expect(new Set(letters.top)).toEqual(truth(drawn.up));
              expect(new Set(letters.bottom)).toEqual(truth(scale(drawn.up, -1)));
              // The strongest comes first.
              const strongest = drawn.right.map(Math.abs).indexOf(Math.max(...drawn.right.map(Math.abs)));
              expect(['RL', 'AP', 'FH'][strongest]).toContain(letters.right[0]);
            }
          }
        }
      }
    });
  }

  test('oblique planes about any axis, turned and mirrored', () => {
    const grid = grids([9, 14, -32])[0]!;
    for (let n = 0; n < 200; n++) {
      const axis = normalise([Math.sin(n * 1.3), Math.cos(n * 2.1), Math.sin(n * 0.7 + 1)]);
      for (const plane of PLANES) {
        const tilt = tiltedAbout(paneAxes(grid)[plane], axis, n * 7.3);
        const axes = turned(obliqueAxes(grid, paneAxes(grid)[plane], tilt), TURNS[n % TURNS.length]!);
        expect(Math.abs(dot(axes.up, axes.normal))).toBeLessThan(1e-9);
        const drawn = drawnDirections(camera(axes, grid.centre, 1.1));
        expect(subtract(drawn.right, axes.right).map(Math.abs).every((d) => d < 1e-9)).toBe(true);
        expect(new Set(edgeLetters(drawn).right)).toEqual(truth(axes.right));
        expect(new Set(edgeLetters(drawn).top)).toEqual(truth(axes.up));
      }
    }
  });

  test('radiological convention: the patient’s right on the left, axial from the feet', () => {
    for (const grid of grids([0, 0, 0])) {
      const letters = PLANES.map((plane) => edgeLetters(paneAxes(grid)[plane]));
      expect(letters.map(({ left, right, top, bottom }) => left + right + top + bottom)).toEqual(['RLAP', 'APHF', 'RLHF']);
    }
  });
});

describe('turns and mirrors of the camera', () => {
  const axes = paneAxes(new Grid([10, 10, 10], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])).axial;
  const letters = (turn: Turn): string => {
    const { left, right, top, bottom } = edgeLetters(turned(axes, turn));
    return left + right + top + bottom;
  };

  test('a quarter clockwise brings the top to the right', () => {
    expect(letters({ quarter: 0, flip: false })).toBe('RLAP');
    expect(letters({ quarter: 1, flip: false })).toBe('PARL');
    expect(letters({ quarter: 2, flip: false })).toBe('LRPA');
    expect(letters({ quarter: 3, flip: false })).toBe('APLR');
  });

  test('a mirror swaps left and right only', () => {
    expect(letters({ quarter: 0, flip: true })).toBe('LRAP');
  });
});

describe('planes that cross voxels', () => {
  const tiltedGrid = new Grid([40, 64, 64], multiply(rigidAbout([0, 0, 0], [0, 0, 0], [18, 0, 0]), [[1, 0, 0, -32], [0, 1, 0, -32], [0, 0, 3, -60], [0, 0, 0, 1]]));

  test('patient planes lie along LPS whatever the gantry’s tilt; straight voxels keep their own', () => {
    const axes = patientAxes(tiltedGrid);
    expect(axes.axial.normal).toEqual([-0, -0, -1]);
    expect(axes.axial.axis).toBeNull();
    expect(axes.coronal.right).toEqual([1, 0, 0]);
    const straight = grids([0, 0, 0])[0]!;
    expect(patientAxes(straight)).toEqual(paneAxes(straight));
  });

  test('stepping walks along the normal from one end to the other, and back', () => {
    for (const plane of PLANES) {
      const pane = patientAxes(tiltedGrid)[plane];
      const start = stepPoint(tiltedGrid, pane, tiltedGrid.centre, -1e6);
      expect(slicePosition(tiltedGrid, pane, start)).toBe(1);
      const end = stepPoint(tiltedGrid, pane, start, 1e6);
      expect(slicePosition(tiltedGrid, pane, end)).toBe(pane.count);
      const moved = stepPoint(tiltedGrid, pane, tiltedGrid.centre, 3);
      expect(length(subtract(moved, tiltedGrid.centre))).toBeCloseTo(3 * pane.step, 9);
      expect(length(cross(subtract(moved, tiltedGrid.centre), pane.normal))).toBeLessThan(1e-9);
    }
  });

  test('an oblique plane keeps its side of "next", and is undone by the turn back', () => {
    const base = paneAxes(tiltedGrid).coronal;
    const there: Tilt = tiltedAbout(base, base.up, 30);
    expect(dot(obliqueAxes(tiltedGrid, base, there).towards, base.towards)).toBeCloseTo(Math.cos(Math.PI / 6), 9);
    const back = tiltedAbout(there, base.up, -30);
    for (let n = 0; n < 3; n++) expect(back.normal[n]).toBeCloseTo(base.normal[n]!, 9);
  });
});
