import { describe, expect, test } from 'vitest';
import { add, dot, Grid, rigidAbout, scale, type Vec3 } from '../src/affine';
import { detectorOf, peakBehind, project } from '../src/viewer/mip';
import { blend, opacityAt, shades } from '../src/viewer/slab-canvas';
import { planeOffsets, sampleSlab, slabThickness } from '../src/viewer/slab';
import { withThreshold } from '../src/viewer/presets';
import type { Layer } from '../src/viewer/types';

/** Numbers that do not repeat, so that a wrong voxel is seen. */
function noise(size: number): Int16Array<ArrayBuffer> {
  let seed = 12345;
  return Int16Array.from({ length: size }, () => ((seed = (seed * 1103515245 + 12345) % 2147483648) >> 16) % 20000);
}

describe('slabs', () => {
  const [nx, ny, nz] = [12, 10, 9];
  const pixels = noise(nx * ny * nz);
  const grid = new Grid([nz, ny, nx], [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]);
  const raster = { origin: [0, 0, 12] as Vec3, du: [2, 0, 0] as Vec3, dv: [0, 2, 0] as Vec3, width: nx, height: ny };

  test('a slab of whole slices about the plane, never thicker than asked for', () => {
    expect(planeOffsets(grid, [0, 0, -1], 15)).toEqual([-6, -3, 0, 3, 6]);
    expect(slabThickness(grid, [0, 0, -1], 15)).toBe(15);
    expect(slabThickness(grid, [0, 0, -1], 10)).toBe(9);
    expect(slabThickness(grid, [0, 0, -1], 1)).toBe(3);
    expect(slabThickness(grid, [0, 1, 0], 10)).toBe(10);
  });

  test.each(['mip', 'minip', 'mean'] as const)('%s equals the slices’ own, voxel by voxel', (mode) => {
    const got = sampleSlab(grid, pixels, raster, [0, 0, -1], { mode, mm: 15 });
    for (let p = 0; p < nx * ny; p++) {
      const column = [2, 3, 4, 5, 6].map((k) => pixels[k * nx * ny + p]!);
      const wanted = mode === 'mip' ? Math.max(...column) : mode === 'minip' ? Math.min(...column) : column.reduce((a, b) => a + b) / 5;
      expect(got[p]).toBeCloseTo(wanted, 2);
    }
  });

  test('at the end of the volume only what is there counts', () => {
    const top = { ...raster, origin: [0, 0, 24] as Vec3 };
    const got = sampleSlab(grid, pixels, top, [0, 0, -1], { mode: 'mean', mm: 15 });
    const wanted = [6, 7, 8].reduce((sum, k) => sum + pixels[k * nx * ny]!, 0) / 3;
    expect(got[0]).toBeCloseTo(wanted, 2);
  });
});

describe('the rotating MIP', () => {
  const [nx, ny, nz] = [11, 9, 7];
  const pixels = noise(nx * ny * nz);
  const straight = new Grid([nz, ny, nx], [[4, 0, 0, -20], [0, 4, 0, -16], [0, 0, 3, 5], [0, 0, 0, 1]]);
  const turnedGrid = straight.moved(rigidAbout([0, 0, 0], [6, -4, 5], [0, 0, 8]));
  const rowMaximum = (k: number): number => Math.max(...pixels.subarray(k * nx * ny, (k + 1) * nx * ny));

  test('from the front it is the maximum along the patient’s depth', () => {
    const { detector, values } = project(straight, pixels, 0);
    for (const [n, wanted] of [1, 0, 0].entries()) expect(detector.right[n]).toBeCloseTo(wanted, 9);
    const middle = (detector.width - nx) / 2;
    for (let k = 0; k < nz; k++) {
      for (let i = 0; i < nx; i++) {
        const wanted = Math.max(...Array.from({ length: ny }, (_, j) => pixels[(k * ny + j) * nx + i]!));
        // From the top: the highest slice comes first.
        expect(values[(nz - 1 - k) * detector.width + middle + i]).toBe(wanted);
      }
    }
  });

  test.each([0, 5, 45, 90, 135, 270, 355])('at %i degrees no row loses its brightest voxel, and nothing is invented', (angle) => {
    for (const grid of [straight, turnedGrid]) {
      const { detector, values } = project(grid, pixels, angle);
      const own = new Set(pixels);
      for (let k = 0; k < nz; k++) {
        const row = values.subarray((nz - 1 - k) * detector.width, (nz - k) * detector.width);
        expect(Math.max(...row.filter((v) => v === v))).toBe(rowMaximum(k));
      }
      for (const value of values) expect(value !== value || own.has(value)).toBe(true);
    }
  });

  test('a click finds the voxel that made the picture there', () => {
    for (const angle of [0, 30, 90, 215]) {
      const { detector, values } = project(turnedGrid, pixels, angle);
      for (let n = 0; n < values.length; n += 3) {
        const [column, row] = [n % detector.width, Math.floor(n / detector.width)];
        const peak = peakBehind(turnedGrid, pixels, detector, column, row);
        if (values[n] !== values[n]) {
          expect(peak).toBeNull();
          continue;
        }
        expect(peak!.stored).toBe(values[n]);
        const [i, j, k] = peak!.ijk;
        expect(pixels[(k * ny + j) * nx + i]).toBe(values[n]);
        // And it lies behind that bin.
        const bin = add(add(detector.origin, scale(detector.right, column * detector.bin[0])), scale(detector.up, -row * detector.bin[1]));
        const off = turnedGrid.toLps(peak!.ijk).map((v, axis) => v - bin[axis]!) as unknown as Vec3;
        expect(Math.abs(dot(off, detector.right))).toBeLessThanOrEqual(detector.bin[0] * 1.21);
        expect(Math.abs(dot(off, detector.up))).toBeLessThanOrEqual(detector.bin[1] / 2 + 1e-6);
      }
    }
  });

  test('the detector turns about the long axis: at 90 degrees seen from the patient’s left', () => {
    const detector = detectorOf(straight, 90);
    for (const [n, wanted] of [1, 0, 0].entries()) expect(detector.normal[n]).toBeCloseTo(wanted, 9);
    for (const [n, wanted] of [0, 1, 0].entries()) expect(detector.right[n]).toBeCloseTo(wanted, 9);
  });
});

describe('colours of slabs and thresholds of layers', () => {
  const layer = { kind: 'series', modality: 'PT', role: 'PET', unit: 'g/ml{SUVbw}' } as Layer;
  const settings = { width: 5, centre: 2.5, colormap: 'grey' as const, invert: false, opacity: 0.5, visible: true };

  test('below the threshold an overlay is clear, above it as before', () => {
    const curve = [[0, 0], [0.2, 0.5], [1, 0.5]] as const;
    const cut = withThreshold(curve, { width: 5, centre: 2.5, threshold: 2 });
    expect(opacityAt(cut, 0.39)).toBe(0);
    expect(opacityAt(cut, 0.41)).toBeCloseTo(0.5);
    expect(withThreshold(curve, { width: 5, centre: 2.5, threshold: null })).toBe(curve);
    expect(withThreshold(curve, { width: 5, centre: 2.5, threshold: -1 })).toBe(curve);
    expect(opacityAt(withThreshold(curve, { width: 5, centre: 2.5, threshold: 9 }), 0.9)).toBe(0);
  });

  test('an overlay is blended by its opacity over the base', () => {
    const rgba = new Uint8ClampedArray([100, 100, 100, 255, 100, 100, 100, 255]);
    blend(rgba, Float32Array.from([5, NaN]), 0, 5, shades(layer, settings, false));
    expect([...rgba]).toEqual([178, 178, 178, 255, 100, 100, 100, 255]);
  });
});
