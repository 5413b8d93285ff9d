import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { decodeSlice, initCodec } from '../src/viewer/codec';
import { upsample } from '../src/viewer/upsample';
import { VECTORS } from './vectors';

interface CodecVector {
  name: string;
  codec: number;
  shape: [number, number];
  raw: string;
  payload: string;
}
const vectors = JSON.parse(readFileSync(`${VECTORS}/analysis/vectors/codec.json`, 'utf8')) as CodecVector[];
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

describe('vectors shared with analysis/volume_store.py', () => {
  beforeAll(initCodec);

  test.each(vectors)('$name', ({ codec, shape, raw, payload }) => {
    const pixels = decodeSlice(bytes(payload), shape[0], shape[1], codec);
    expect(new Uint8Array(pixels.buffer)).toEqual(bytes(raw));
    expect(pixels.constructor).toBe(codec === 1 ? Int16Array : Uint8Array);
  });

  test('a slice of the wrong size and an unknown codec are refused', () => {
    const vector = vectors.find((candidate) => candidate.name === 'flat')!;
    expect(() => decodeSlice(bytes(vector.payload), 4, 5, 1)).toThrow();
    expect(() => decodeSlice(bytes(vector.payload), 4, 6, 9)).toThrow('unknown codec');
  });
});

describe('coarse slices', () => {
  test('a linear ramp of block means comes back exactly, away from the edges', () => {
    const fine = Int16Array.from({ length: 64 }, (_, p) => 10 * (p % 8));
    const coarse = Int16Array.from({ length: 4 }, (_, p) => 10 * ((p % 2) * 4 + 1.5));
    const drawn = upsample(coarse, [2, 2], [8, 8], [4, 4], true);
    for (let x = 2; x < 6; x++) expect(drawn[8 * 4 + x]).toBe(fine[x]);
    expect(drawn[0]).toBe(15); // Held constant beyond the last coarse centre.
  });

  test('labels are repeated, never mixed; a ragged edge keeps its size', () => {
    const drawn = upsample(Uint8Array.from([0, 3, 5, 0]), [2, 2], [3, 3], [2, 2], false);
    expect([...drawn]).toEqual([0, 0, 3, 0, 0, 3, 5, 5, 0]);
  });
});
