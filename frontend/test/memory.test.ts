import { describe, expect, it } from 'vitest';
import { Grid } from '../src/affine';
import { arrival } from '../src/viewer/arrivals';
import { toPark } from '../src/viewer/memory';
import { reduced } from '../src/viewer/reduced';
import type { Layer } from '../src/viewer/types';

const layer = (id: number, bytes: number): Layer => ({ id, shape: [1, 1, bytes], dtype: 'uint8' }) as unknown as Layer;
const layers = [layer(1, 40), layer(2, 30), layer(3, 30), layer(4, 10)];

describe('memory', () => {
  it('keeps what was seen last, as far as it fits', () => {
    const seen = new Map([[1, 3], [2, 1], [3, 2]]);
    expect(toPark(layers, new Set([1]), seen, 75)).toEqual(new Set([2, 4]));
    expect(toPark(layers, new Set([1]), seen, 110)).toEqual(new Set());
  });

  it('never lets go of what is on screen, whatever the budget', () => {
    expect(toPark(layers, new Set([1, 2, 3]), new Map(), 50)).toEqual(new Set([4]));
  });

  it('prefers the order of the list among layers never seen', () => {
    expect(toPark(layers, new Set([1]), new Map(), 80)).toEqual(new Set([3]));
  });
});

describe('a volume that is too large', () => {
  const volume = {
    id: 5, dtype: 'int16', shape: [8, 64, 64], affine: [[2, 0, 0, -10], [0, 3, 0, 20], [0, 0, 5, 0], [0, 0, 0, 1]],
    levels: [{ shape: [8, 64, 64], factors: [1, 1, 1] }, { shape: [8, 32, 32], factors: [1, 2, 2] }, { shape: [4, 16, 16], factors: [2, 4, 4] }],
  } as unknown as Layer;

  it('is opened at the finest level that fits, lying where the whole lies', () => {
    expect(reduced(volume, 8 * 64 * 64 * 2)).toBe(volume);
    const half = reduced(volume, 8 * 64 * 64 * 2 - 1);
    expect([half.finest, half.shape]).toEqual([1, [8, 32, 32]]);
    const small = reduced(volume, 4000);
    expect([small.finest, small.shape]).toEqual([2, [4, 16, 16]]);
    const [whole, coarse] = [new Grid(volume.shape, volume.affine), new Grid(small.shape, small.affine)];
    // Block (1, 2, 1) holds voxels i 4..7, j 8..11, k 2..3.
    expect(coarse.toLps([1, 2, 1])).toEqual(whole.toLps([5.5, 9.5, 2.5]));
    expect(coarse.toLps([-0.5, -0.5, -0.5])).toEqual(whole.toLps([-0.5, -0.5, -0.5]));
    expect(reduced(small, 4000)).toBe(small);
  });

  it('takes no slices of the finer levels', () => {
    const stream = { id: 5, codec: 1, smooth: true, levels: volume.levels, finest: 1 };
    const frame = { codec: 1, layer: 5, level: 0, slice: 0, sequence: 0, checksum: 0, payload: new Uint8Array() };
    expect(arrival(frame, stream)).toBeNull();
  });
});
