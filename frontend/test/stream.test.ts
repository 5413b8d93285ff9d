import { readFileSync } from 'node:fs';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { backoff, isFinal } from '../src/pages/backoff';
import { crc32 } from '../src/viewer/crc32';
import { FIRST_WINDOW, LEAST_WINDOW, Line, MOST_WINDOW } from '../src/viewer/credit';
import { HEADER_BYTES, isIntact, parseFrame } from '../src/viewer/frames';
import { Holdings, toRanges } from '../src/viewer/holdings';
import { Loaded } from '../src/viewer/loaded';
import type { Layer } from '../src/viewer/types';
import { VECTORS } from './vectors';

function frame(change: (view: DataView) => void = () => undefined, payload = [1, 2, 3]): ArrayBuffer {
  const buffer = new ArrayBuffer(HEADER_BYTES + payload.length);
  const view = new DataView(buffer);
  view.setUint16(0, 0x4652, true);
  view.setUint8(2, 2);
  view.setUint8(3, 2);
  view.setUint32(4, 70_000, true);
  view.setUint16(8, 1, true);
  view.setUint32(12, 513, true);
  view.setUint32(16, payload.length, true);
  view.setUint32(20, 42, true);
  view.setUint32(24, crc32(new Uint8Array(payload)), true);
  new Uint8Array(buffer).set(payload, HEADER_BYTES);
  change(view);
  view.setUint32(28, crc32(new Uint8Array(buffer, 0, 28)), true);
  return buffer;
}

describe('frames', () => {
  test('CRC-32 as zlib makes it, at every length', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
    const bytes = Uint8Array.from({ length: 300 }, (_, n) => (n * 37) & 255);
    for (let length = 0; length <= bytes.length; length += 7) {
      expect(crc32(bytes.subarray(0, length))).toBe(zlibCrc32(bytes.subarray(0, length)));
    }
  });

  test('header and payload', () => {
    const parsed = parseFrame(frame());
    expect(parsed).toMatchObject({ codec: 2, layer: 70_000, level: 1, slice: 513, sequence: 42 });
    expect([...parsed.payload]).toEqual([1, 2, 3]);
    expect(isIntact(parsed)).toBe(true);
  });

  test('damaged frames are refused', () => {
    expect(() => parseFrame(frame((view) => view.setUint16(0, 0, true)))).toThrow('mark');
    expect(() => parseFrame(frame((view) => view.setUint8(2, 9)))).toThrow('version 9');
    expect(() => parseFrame(frame((view) => view.setUint32(16, 4, true)))).toThrow('length');
    expect(() => parseFrame(new ArrayBuffer(10))).toThrow('short');
  });

  test('any flipped bit is found, wherever it is', () => {
    for (let bit = 0; bit < frame().byteLength * 8; bit++) {
      const bytes = new Uint8Array(frame());
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (bit < HEADER_BYTES * 8 && (bit < 24 * 8 || bit >= 28 * 8)) expect(() => parseFrame(bytes.buffer)).toThrow();
      else if (bit < HEADER_BYTES * 8) expect(() => parseFrame(bytes.buffer)).toThrow('damaged header');
      else expect(isIntact(parseFrame(bytes.buffer))).toBe(false);
    }
  });

  interface FrameVector {
    header: string;
    payload: string;
    fields: { codec: number; layer: number; level: number; slice: number; sequence: number; checksum: number; payload_bytes: number };
  }
  test('vectors shared with workstation/reading', () => {
    const vectors = JSON.parse(readFileSync(`${VECTORS}/reading/vectors/frames.json`, 'utf8')) as FrameVector[];
    expect(vectors.length).toBeGreaterThan(0);
    for (const { header, payload, fields } of vectors) {
      const parsed = parseFrame(new Uint8Array(Buffer.from(header + payload, 'hex')).buffer);
      const { payload_bytes: size, ...rest } = fields;
      expect(parsed).toMatchObject(rest);
      expect(parsed.payload).toHaveLength(size);
      expect(isIntact(parsed)).toBe(true);
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

  test('neither side ever waits for the other, whatever the frames and the rate', () => {
    const line = new Line();
    let window = line.begin().window;
    let [sent, acknowledged, now] = [0, 0, 0];
    for (let n = 0; n < 3000; n++) {
      const size = [50, 3_000, 160_000, 700_000][(n * 7) % 4]!;
      const underWay = sent - acknowledged;
      // The server's rule (pacing.py).
      expect(underWay + size <= window || underWay < Math.floor(window / 4) + 1).toBe(true);
      sent += size;
      now += n < 1000 ? 0.2 : n < 2000 ? size / 250 : 1;
      line.arrived(size, now);
      const credit = line.due();
      if (credit) [acknowledged, window] = [credit.received, credit.window];
      expect(window).toBeLessThanOrEqual(MOST_WINDOW);
    }
  });

  test('the window is what the line carries in half a second', () => {
    const line = new Line();
    expect(line.begin()).toEqual({ window: FIRST_WINDOW, rate: 0 });
    // 2 Mbit/s: a slice of 160 kB each 640 ms.
    for (let n = 0; n < 8; n++) line.arrived(160_000, 640 * n);
    expect(line.rate).toBeCloseTo(250_000, -2);
    expect(line.window).toBe(125_000);
    // A pause in which nothing was owed says nothing.
    line.rest();
    line.arrived(160_000, 60_000);
    line.arrived(160_000, 60_640);
    expect(line.window).toBe(125_000);
    for (let n = 0; n < 8; n++) line.arrived(100, 61_000 + 1000 * n);
    expect(line.window).toBe(LEAST_WINDOW);
  });

  test('waits grow to a ceiling and spread; some closings are final', () => {
    expect(backoff(0, () => 1)).toBe(500);
    expect(backoff(3, () => 1)).toBe(4000);
    expect(backoff(50, () => 1)).toBe(15_000);
    expect(backoff(0, () => 0)).toBe(250);
    expect([4401, 4403, 4404, 4406, 1006, 1011, 1012].map(isFinal)).toEqual([true, true, true, true, false, false, false]);
  });
});

describe('what is loaded', () => {
  const layer = { id: 12, shape: [10, 4, 4] } as unknown as Layer;

  test('a coarser slice fills gaps but never replaces a finer one', () => {
    const loaded = new Loaded();
    expect(loaded.missing(layer)).toEqual([[0, 9]]);
    expect(loaded.add(layer, 4, 4, 0)).toEqual([4]);
    expect(loaded.add(layer, 3, 6, 2)).toEqual([3, 5, 6]);
    expect(loaded.missing(layer)).toEqual([[0, 2], [7, 9]]);
    expect(loaded.add(layer, 4, 5, 1)).toEqual([5]);
    expect(loaded.add(layer, 3, 6, 2)).toEqual([]);
    expect(loaded.isFine(layer, 5)).toBe(false);
    expect(loaded.add(layer, 5, 5, 0)).toEqual([5]);
    expect(loaded.isFine(layer, 5)).toBe(true);
    expect(loaded.isFine(layer, 3)).toBe(false);
    expect(loaded.fraction(layer)).toBe(0.2);
  });

  test('complete only when every slice is fine', () => {
    const loaded = new Loaded();
    loaded.add(layer, 0, 9, 1);
    expect([loaded.covered(layer), loaded.complete(layer)]).toEqual([true, false]);
    for (let k = 0; k < 10; k++) loaded.add(layer, k, k, 0);
    expect(loaded.complete(layer)).toBe(true);
    expect(loaded.add(layer, 3, 3, 0)).toEqual([]);
  });
});
