import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { backoff, isFinal } from '../src/pages/backoff';
import { CREDIT, creditDue } from '../src/viewer/credit';
import { HEADER_BYTES, parseFrame } from '../src/viewer/frames';
import { Holdings, toRanges } from '../src/viewer/holdings';
import { Loaded } from '../src/viewer/loaded';
import type { Layer } from '../src/viewer/types';
import { VECTORS } from './vectors';

function frame(change: (view: DataView) => void = () => undefined, payload = [1, 2, 3]): ArrayBuffer {
  const buffer = new ArrayBuffer(HEADER_BYTES + payload.length);
  const view = new DataView(buffer);
  view.setUint16(0, 0x4652, true);
  view.setUint8(2, 1);
  view.setUint8(3, 2);
  view.setUint32(4, 70_000, true);
  view.setUint16(8, 1, true);
  view.setUint32(12, 513, true);
  view.setUint32(16, payload.length, true);
  view.setUint32(20, 42, true);
  new Uint8Array(buffer).set(payload, HEADER_BYTES);
  change(view);
  return buffer;
}

describe('frames', () => {
  test('header and payload', () => {
    const parsed = parseFrame(frame());
    expect(parsed).toMatchObject({ codec: 2, layer: 70_000, level: 1, slice: 513, sequence: 42 });
    expect([...parsed.payload]).toEqual([1, 2, 3]);
  });

  test('damaged frames are refused', () => {
    expect(() => parseFrame(frame((view) => view.setUint16(0, 0, true)))).toThrow('mark');
    expect(() => parseFrame(frame((view) => view.setUint8(2, 9)))).toThrow('version 9');
    expect(() => parseFrame(frame((view) => view.setUint32(16, 4, true)))).toThrow('length');
    expect(() => parseFrame(new ArrayBuffer(10))).toThrow('short');
  });

  interface FrameVector {
    header: string;
    payload: string;
    fields: { codec: number; layer: number; level: number; slice: number; sequence: number; payload_bytes: number };
  }
  test('vectors shared with workstation/reading', () => {
    const vectors = JSON.parse(readFileSync(`${VECTORS}/reading/vectors/frames.json`, 'utf8')) as FrameVector[];
    expect(vectors.length).toBeGreaterThan(0);
    for (const { header, payload, fields } of vectors) {
      const parsed = parseFrame(new Uint8Array(Buffer.from(header + payload, 'hex')).buffer);
      const { payload_bytes: size, ...rest } = fields;
      expect(parsed).toMatchObject(rest);
      expect(parsed.payload).toHaveLength(size);
      expect(Buffer.from(parsed.payload).toString('hex')).toBe(payload);
    }
  });
});

describe('resume', () => {
  test('ranges are sorted, inclusive and merged', () => {
    expect(toRanges([])).toEqual([]);
    expect(toRanges([5, 3, 4, 9, 1, 4])).toEqual([[1, 1], [3, 5], [9, 9]]);
  });

  test('an open message says what is held of the wanted layers only', () => {
    const holdings = new Holdings();
    for (const k of [40, 41, 39]) expect(holdings.add(12, 0, k)).toBe(true);
    expect(holdings.add(12, 0, 40)).toBe(false);
    holdings.add(12, 1, 0);
    holdings.add(13, 0, 7);
    expect(holdings.have([12, 20])).toEqual({ '12': { '0': [[39, 41]], '1': [[0, 0]] } });
  });

  test('credit granted keeps pace with frames, so that the server never stalls or floods', () => {
    let granted = CREDIT;
    for (let received = 1; received <= 1000; received++) {
      granted += creditDue(received);
      expect(granted - received).toBeGreaterThan(0);
      expect(granted - received).toBeLessThanOrEqual(CREDIT);
    }
  });

  test('waits grow to a ceiling and spread; some closings are final', () => {
    expect(backoff(0, () => 1)).toBe(500);
    expect(backoff(3, () => 1)).toBe(4000);
    expect(backoff(50, () => 1)).toBe(15_000);
    expect(backoff(0, () => 0)).toBe(250);
    expect([4401, 4403, 4404, 1006, 1011].map(isFinal)).toEqual([true, true, true, false, false]);
  });
});

describe('what is loaded', () => {
  const layer = { id: 12, shape: [10, 4, 4] } as unknown as Layer;

  test('a coarse slice fills gaps but never replaces a fine one', () => {
    const loaded = new Loaded();
    expect(loaded.missing(layer)).toEqual([[0, 9]]);
    expect(loaded.add(layer, 4, 4, false)).toEqual([4]);
    expect(loaded.add(layer, 3, 6, true)).toEqual([3, 5, 6]);
    expect(loaded.missing(layer)).toEqual([[0, 2], [7, 9]]);
    expect(loaded.add(layer, 5, 5, false)).toEqual([5]);
    expect(loaded.isFine(layer, 5)).toBe(true);
    expect(loaded.isFine(layer, 3)).toBe(false);
    expect(loaded.fraction(layer)).toBe(0.2);
  });

  test('complete only when every slice is fine', () => {
    const loaded = new Loaded();
    loaded.add(layer, 0, 9, true);
    expect([loaded.covered(layer), loaded.complete(layer)]).toEqual([true, false]);
    for (let k = 0; k < 10; k++) loaded.add(layer, k, k, false);
    expect(loaded.complete(layer)).toBe(true);
    expect(loaded.add(layer, 3, 3, false)).toEqual([]);
  });
});
