import { describe, expect, it } from 'vitest';
import { toPark } from '../src/viewer/memory';
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
