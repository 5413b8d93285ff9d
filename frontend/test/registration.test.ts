import { describe, expect, test, vi } from 'vitest';
import { apply, Grid, IDENTITY, invert, type Mat4, multiply, rigidAbout, type Vec3 } from '../src/affine';
import { Alignment, decomposeAbout, residual, rigidPart, shiftBy, turnAbout } from '../src/viewer/alignment';
import { edgesOf, paintDifference, paintWhere, rightOf, tileAt, tiles, windowed } from '../src/viewer/comparison';
import { residuals } from '../src/viewer/landmarks-panel';
import { LinkedCursor } from '../src/viewer/linked-cursor';
import { NativeView } from '../src/viewer/native-view';
import { blendTitle } from '../src/viewer/panes';
import { type Raster, samplePlane } from '../src/viewer/sampling';

const near = (a: readonly number[], b: readonly number[], digits = 6): void => {
  expect(a.length).toBe(b.length);
  a.forEach((value, n) => expect(value).toBeCloseTo(b[n]!, digits));
};
const nearMatrix = (a: Mat4, b: Mat4): void => a.forEach((row, n) => near(row, b[n]!));

describe('alignment by hand', () => {
  const start = rigidAbout([10, 20, 30], [5, -6, 7], [3, -8, 12]);

  test('the readout is the inverse of the step it reads', () => {
    const centre: Vec3 = [40, -12, 80];
    const step = rigidAbout(centre, [1.5, -2, 0.25], [4, -7, 11]);
    const read = decomposeAbout(centre, step);
    near(read.translate, [1.5, -2, 0.25]);
    near(read.degrees, [4, -7, 11]);
  });

  test('a turn about a point keeps it and goes the right-hand way', () => {
    const turn = turnAbout([7, 8, 9], [0, 0, 1], 90);
    near(apply(turn, [7, 8, 9]), [7, 8, 9]);
    near(apply(turn, [8, 8, 9]), [7, 9, 9]);
    nearMatrix(turnAbout([1, 2, 3], [1, 0, 0], 25), rigidAbout([1, 2, 3], [0, 0, 0], [25, 0, 0]));
  });

  test('steps follow one another in the reference; drags replace theirs until dropped', () => {
    const alignment = new Alignment(start);
    alignment.step(shiftBy([5, 0, 0]));
    alignment.try(shiftBy([0, 1, 0]));
    alignment.try(shiftBy([0, 3, 0]));
    nearMatrix(alignment.matrix, multiply(shiftBy([5, 3, 0]), start));
    alignment.commit();
    near(alignment.readout([0, 0, 0]).translate, [5, 3, 0]);
    alignment.step(turnAbout([0, 0, 0], [0, 0, 1], 90));
    near(apply(alignment.matrix, apply(invert(start), [1, 0, 0])), [-3, 6, 0]);
  });

  test('undo, redo, reset; a new step forgets what was undone', () => {
    const alignment = new Alignment(start);
    expect(alignment.dirty || alignment.canUndo).toBe(false);
    alignment.step(shiftBy([1, 0, 0]));
    alignment.step(shiftBy([1, 0, 0]));
    alignment.undo();
    near(alignment.readout([0, 0, 0]).translate, [1, 0, 0]);
    expect(alignment.canRedo).toBe(true);
    alignment.redo();
    near(alignment.readout([0, 0, 0]).translate, [2, 0, 0]);
    alignment.reset();
    expect(alignment.dirty).toBe(false);
    alignment.undo();
    near(alignment.readout([0, 0, 0]).translate, [2, 0, 0]);
    alignment.undo();
    alignment.step(shiftBy([0, 0, 9]));
    expect(alignment.canRedo).toBe(false);
  });

  test('typed figures are the whole way from the start', () => {
    const alignment = new Alignment(start);
    alignment.step(shiftBy([50, 0, 0]));
    alignment.set([1, 2, 3], { translate: [0, 4, 0], degrees: [0, 0, 10] });
    nearMatrix(alignment.matrix, multiply(rigidAbout([1, 2, 3], [0, 4, 0], [0, 0, 10]), start));
  });

  test('the rigid part of an affine turns like it and keeps the centre', () => {
    const stretched = multiply(start, [[1.1, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 1.05, 0], [0, 0, 0, 1]]);
    const rigid = rigidPart(stretched, [10, 10, 10]);
    near(apply(rigid, [10, 10, 10]), apply(stretched, [10, 10, 10]));
    near(decomposeAbout([0, 0, 0], rigid).degrees, decomposeAbout([0, 0, 0], start).degrees);
    nearMatrix(rigidPart(start, [3, 4, 5]), start);
  });
});

describe('landmarks', () => {
  const pairs = [
    { id: 1, label: '', reference: [10, 0, 0] as Vec3, moving: [4, 0, 0] as Vec3, residual_mm: 7, by: 'a', at: '' },
    { id: 2, label: '', reference: [0, 0, 0] as Vec3, moving: [-3, 4, 0] as Vec3, residual_mm: null, by: 'a', at: '' },
  ];
  test('residuals are distances in the reference under the matrix that is tried', () => {
    near([residual(IDENTITY, pairs[0]!), residual(shiftBy([6, 0, 0]), pairs[0]!)], [6, 0]);
    near(residuals(pairs, IDENTITY) as number[], [6, 5]);
    expect(residuals(pairs, null)).toEqual([7, null]);
  });
});

describe('comparison', () => {
  const raster: Raster = { origin: [-9.5, 0, -9.5], du: [1, 0, 0], dv: [0, 0, 1], width: 20, height: 20 };

  test('tiles alternate, also across the anchor, in millimetres of the plane', () => {
    expect([tileAt(1, 1, 10), tileAt(11, 1, 10), tileAt(11, 11, 10), tileAt(-1, 1, 10), tileAt(-1, -1, 10)]).toEqual([0, 1, 0, 1, 0]);
    const mask = tiles(raster, { tile: 10, anchor: [0, 0, 0] });
    expect([mask[0], mask[9], mask[10], mask[19], mask[19 * 20], mask[19 * 20 + 19]]).toEqual([0, 0, 1, 1, 1, 0]);
    expect(mask.reduce((sum, value) => sum + value, 0)).toBe(200);
    // Half the zoom: the same tiles, half as many pixels.
    const far = tiles({ ...raster, du: [2, 0, 0], dv: [0, 0, 2] }, { tile: 10, anchor: [0, 0, 0] });
    expect([far[4], far[5]]).toEqual([0, 1]);
  });

  test('the divider takes the pixels right of it', () => {
    const mask = rightOf(raster, 0.25);
    expect([mask[4], mask[5], mask[19], mask[20 + 4], mask[20 + 5]]).toEqual([0, 1, 1, 0, 1]);
    expect(rightOf(raster, 1).every((value) => value === 0)).toBe(true);
  });

  const tone = { lower: 0, upper: 100, colormap: 'grey', invert: false } as const;
  test('painted values follow the window; outside is marked, not black and not clear', () => {
    const flat: Raster = { ...raster, width: 4, height: 1 };
    const rgba = paintWhere(new Float32Array([60, 200, NaN, 10]), tone, new Uint8Array([1, 1, 1, 0]), flat);
    expect([...rgba.slice(0, 8)]).toEqual([153, 153, 153, 255, 255, 255, 255, 255]);
    expect(rgba[8]! > 0 && rgba[11] === 255).toBe(true);
    expect(rgba[15]).toBe(0);
    expect(paintWhere(new Float32Array([50]), { ...tone, invert: true, upper: 50 }, null, flat)[0]).toBe(0);
  });

  test('difference: dark where equal, warm where the reference is brighter, blue where the moving is', () => {
    const flat: Raster = { ...raster, width: 4, height: 1 };
    const rgba = paintDifference(new Float32Array([0.5, 1, 0, NaN]), new Float32Array([0.5, 0, 1, 0]), flat);
    expect(Math.max(rgba[0]!, rgba[1]!, rgba[2]!)).toBe(16);
    expect(rgba[4]).toBe(255);
    expect(rgba[10]).toBe(255);
    expect(rgba[15]).toBe(255);
  });

  test('a bright square has one closed line of edges at its border, and none inside or outside', () => {
    const image = new Float32Array(400);
    for (let row = 6; row < 14; row++) image.fill(1, row * 20 + 6, row * 20 + 14);
    const edges = edgesOf(image, 20, 20, 0.3);
    const at = (column: number, row: number): number => edges[row * 20 + column]!;
    expect(at(10, 10)).toBe(0);
    expect(at(2, 2)).toBe(0);
    for (let n = 8; n < 12; n++) {
      expect(at(5, n) + at(6, n)).toBe(1);
      expect(at(n, 13) + at(n, 14)).toBe(1);
    }
    expect(edgesOf(new Float32Array(400).fill(0.4), 20, 20, 0.3).some((value) => value === 1)).toBe(false);
    expect(windowed(new Float32Array([-5, 50, 500]), tone)).toEqual(new Float32Array([0, 0.5, 1]));
  });
});

describe('sampling', () => {
  const grid = new Grid([3, 4, 5], [[2, 0.3, 0, -4], [0, 3, 0.1, 1], [0, 0, 4, 2], [0, 0, 0, 1]]);
  const pixels = new Int16Array(60).map((_, n) => (n % 5) + 10 * (Math.floor(n / 5) % 4) + 100 * Math.floor(n / 20));

  test('a linear ramp is read exactly anywhere in a sheared grid, NaN outside', () => {
    const index: Vec3 = [1.25, 2.5, 0.75];
    const raster: Raster = { origin: grid.toLps(index), du: [0.01, 0, 0], dv: [0, 0, 100], width: 1, height: 2 };
    const [value, gone] = samplePlane(grid, pixels, raster);
    expect(value).toBeCloseTo(1.25 + 25 + 75, 4);
    expect(gone).toBeNaN();
  });

  test('the last voxel reaches half a step beyond its centre', () => {
    const at = (index: Vec3): number => samplePlane(grid, pixels, { origin: grid.toLps(index), du: [1, 0, 0], dv: [0, 1, 0], width: 1, height: 1 })[0]!;
    expect(at([4.45, 3, 2])).toBe(234);
    expect(at([4.55, 3, 2])).toBeNaN();
  });
});

test('the moving pane: points go to the screen and back, zoom keeps the point under the mouse', () => {
  const view = new NativeView(new Grid([40, 60, 50], [[0, 0, 3, -60], [2, 0, 0, -50], [0, -2, 0, 40], [0, 0, 0, 1]]), 'axial', [3, 4, 5]);
  view.resize(300, 200);
  for (const plane of ['axial', 'coronal', 'sagittal'] as const) {
    view.plane = plane;
    view.fit();
    const point = view.toWorld([120, 90]);
    near(view.toCanvas(point), [120, 90]);
    view.zoomBy(2.5, [120, 90]);
    near(view.toWorld([120, 90]), point);
    view.panBy(10, -4);
    near(view.toWorld([130, 86]), point);
    // The plane goes through the voxel nearest to the cursor.
    near([view.toWorld([0, 0])[{ axial: 2, coronal: 1, sagittal: 0 }[plane]]!], [view.snapped[{ axial: 2, coronal: 1, sagittal: 0 }[plane]]!]);
  }
});

test('the moving pane fits its slice to the pane, whichever of plane and size is known first', () => {
  const grid = new Grid([40, 60, 50], [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]);
  const view = new NativeView(grid, 'axial', [3, 4, 5]);
  view.plane = 'sagittal';
  view.fit();
  view.resize(240, 160);
  // 120 x 80 mm of the plane into 240 x 160 px.
  expect([view.mmPerPixel, view.zoom]).toEqual([0.5, 1]);
  view.resize(120, 80);
  expect([view.mmPerPixel, view.zoom]).toEqual([1, 1]);
  view.zoomBy(2, [60, 40]);
  view.resize(240, 160);
  expect(view.mmPerPixel).toBe(0.5);
});

describe('the linked cursor through a deformation', () => {
  const bent = { id: 2, registration_id: 20, matrix: IDENTITY, fusion: { fused: true, model: 'deformable' } };
  const scene = { trying: () => null, matrix: () => IDENTITY };
  async function carried(map: () => Promise<unknown>): Promise<unknown[]> {
    vi.useFakeTimers();
    vi.stubGlobal('window', globalThis);
    const said: unknown[] = [];
    const attempt = (act: () => Promise<never>): Promise<undefined> => act().catch(() => undefined);
    new LinkedCursor(scene as never, { map } as never, attempt as never).carry(bent as never, [1, 2, 3], 'reference', (there) => said.push(there));
    await vi.runAllTimersAsync();
    vi.useRealTimers();
    return said;
  }
  test('says where it is, that there is no counterpart, or that nobody knows', async () => {
    expect(await carried(async () => ({ points: [[4, 5, 6]] }))).toEqual([[4, 5, 6]]);
    expect(await carried(async () => ({ points: [null] }))).toEqual([null]);
    expect(await carried(async () => Promise.reject(new Error('away')))).toEqual([undefined]);
  });
});

test('a pane says fused only of what lies as recorded', () => {
  const layer = (fused: boolean, kind = 'series') => ({ kind, fusion: { fused } });
  const base = { label: 'CT' };
  const of = (...overlays: [ReturnType<typeof layer>, string | null][]): string => blendTitle({ base, overlays: overlays.map(([layer, trying]) => ({ layer, trying })) } as never);
  expect(of()).toBe('CT');
  expect(of([layer(true, 'heatmap'), null])).toBe('CT');
  expect(of([layer(true), null])).toBe('fused');
  expect(of([layer(true), null], [layer(true), 'Aligned by hand, not saved'])).toBe('tried, not on record');
  expect(of([layer(false), 'Preview, not accepted'])).toBe('tried, not on record');
});
