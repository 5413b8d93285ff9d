/** The client's end of the slice stream against a scripted server: nothing missing, nothing wrong. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { initCodec } from '../src/viewer/codec';
import { crc32 } from '../src/viewer/crc32';
import { HEADER_BYTES } from '../src/viewer/frames';
import { type FromWorker, STALL_MS, StreamClient } from '../src/viewer/stream-client';
import { VECTORS } from './vectors';

interface CodecVector {
  name: string;
  shape: [number, number];
  payload: string;
}
const vector = (JSON.parse(readFileSync(`${VECTORS}/analysis/vectors/codec.json`, 'utf8')) as CodecVector[]).find(({ name }) => name === 'smooth CT')!;
const payload = new Uint8Array(Buffer.from(vector.payload, 'base64'));
const [NY, NX] = vector.shape;
const LAYER = { id: 12, codec: 1, smooth: true, levels: [{ shape: [6, NY, NX], factors: [1, 1, 1] }, { shape: [3, NY, NX], factors: [2, 1, 1] }] as never };

type Say = { type: string; [key: string]: unknown };

class FakeSocket {
  static opened: FakeSocket[] = [];
  static readonly OPEN = 1;
  readyState = 0;
  binaryType = '';
  said: Say[] = [];
  sequence = 0;
  onopen?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number }) => void;

  constructor(readonly url: string) {
    FakeSocket.opened.push(this);
  }

  send(text: string): void {
    this.said.push(JSON.parse(text) as Say);
  }

  close(): void {
    this.readyState = 3;
  }

  ready(): void {
    this.readyState = 1;
    this.onopen!();
    this.text({ type: 'ready', version: 2 });
  }

  drop(code = 1006): void {
    this.readyState = 3;
    this.onclose!({ code });
  }

  text(message: object): void {
    this.onmessage!({ data: JSON.stringify(message) });
  }

  slice(level: number, slice: number, spoil: (bytes: Uint8Array) => void = () => undefined, skip = 0): void {
    const buffer = new ArrayBuffer(HEADER_BYTES + payload.length);
    const view = new DataView(buffer);
    view.setUint16(0, 0x4652, true);
    view.setUint8(2, 2);
    view.setUint8(3, 1);
    view.setUint32(4, LAYER.id, true);
    view.setUint16(8, level, true);
    view.setUint32(12, slice, true);
    view.setUint32(16, payload.length, true);
    this.sequence += skip;
    view.setUint32(20, this.sequence++, true);
    view.setUint32(24, crc32(payload), true);
    view.setUint32(28, crc32(new Uint8Array(buffer, 0, 28)), true);
    const bytes = new Uint8Array(buffer);
    bytes.set(payload, HEADER_BYTES);
    spoil(bytes);
    this.onmessage!({ data: buffer });
  }

  saidLast(type: string): Say | undefined {
    return this.said.filter((message) => message.type === type).at(-1);
  }
}

const flip = (at: number) => (bytes: Uint8Array): void => {
  bytes[at]! ^= 4;
};

describe('the stream client', () => {
  let told: FromWorker[];
  let client: StreamClient;
  const current = (): FakeSocket => FakeSocket.opened.at(-1)!;
  const slices = (): string[] => told.flatMap((message) => (message.type === 'slice' ? [`${message.level}/${message.first}-${message.last}`] : []));
  const errors = (): string[] => told.flatMap((message) => (message.type === 'error' ? [message.code] : []));

  beforeAll(initCodec);
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('WebSocket', FakeSocket);
    FakeSocket.opened = [];
    told = [];
    client = new StreamClient((message) => told.push(message), () => Date.now());
    client.handle({ type: 'start', url: 'ws://x/', layers: [LAYER], wanted: [12], focus: { layer: 12, slice: 3 } });
    current().ready();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  test('opens with the version, a window and what it holds', () => {
    expect(current().said[0]).toMatchObject({ type: 'open', versions: [2], focus: { layer: 12, slice: 3 }, layers: [12], have: {} });
    expect(current().said[0]!['window']).toBeGreaterThan(0);
  });

  test('a coarse slice stands for its fine ones, a fine one for itself', () => {
    current().slice(1, 1);
    current().slice(0, 3);
    expect(slices()).toEqual(['1/2-3', '0/3-3']);
  });

  test('a payload damaged on the way is not shown, and asked for again', () => {
    current().slice(0, 2, flip(HEADER_BYTES + 9));
    expect(slices()).toEqual([]);
    expect(current().saidLast('again')).toEqual({ type: 'again', slices: { 12: { 0: [[2, 2]] } }, damaged: true });
    current().slice(0, 2);
    expect(slices()).toEqual(['0/2-2']);
    expect(errors()).toEqual([]);
  });

  test('what comes damaged three times is given up aloud, and the rest is still complete', () => {
    for (let n = 0; n < 3; n++) current().slice(0, 2, flip(HEADER_BYTES));
    expect(current().said.filter(({ type }) => type === 'again')).toHaveLength(2);
    expect(errors()).toEqual(['damaged']);
    for (const k of [0, 1, 3, 4, 5]) current().slice(0, k);
    current().text({ type: 'done', frames: 8 });
    expect(told.at(-1)).toEqual({ type: 'done' });
  });

  test.each([0, 4, 12, 20, 29])('a header damaged at byte %i puts nothing in a wrong place: a new socket resumes', (at) => {
    current().slice(0, 1);
    const first = current();
    first.slice(0, 2, flip(at));
    expect(slices()).toEqual(['0/1-1']);
    expect(first.readyState).toBe(3);
    vi.advanceTimersByTime(600);
    expect(current()).not.toBe(first);
    current().ready();
    expect(current().said[0]!['have']).toEqual({ 12: { 0: [[1, 1]] } });
    // What the dead socket still delivers is not heard.
    first.slice(0, 4);
    expect(slices()).toEqual(['0/1-1']);
  });

  test('a frame that is missing in the sequence is noticed', () => {
    current().slice(0, 1);
    const first = current();
    first.slice(0, 2, undefined, 1);
    expect(first.readyState).toBe(3);
  });

  test('done is believed only when everything is here', () => {
    for (const k of [0, 1, 2, 4, 5]) current().slice(0, k);
    current().text({ type: 'done', frames: 5 });
    expect(told.some(({ type }) => type === 'done')).toBe(false);
    expect(current().saidLast('again')).toEqual({ type: 'again', slices: { 12: { 0: [[3, 3]] } }, damaged: false });
    current().slice(0, 3);
    current().text({ type: 'done', frames: 6 });
    expect(told.at(-1)).toEqual({ type: 'done' });
  });

  test('ten drops at any moment: every slice is told once', () => {
    const order: [number, number][] = [...[1, 0, 2].map((k): [number, number] => [1, k]), ...[3, 2, 4, 1, 5, 0].map((k): [number, number] => [0, k])];
    let sent = 0;
    const have = (): Set<string> => {
      const held = current().said[0]!['have'] as Record<string, Record<string, [number, number][]>>;
      return new Set(Object.entries(held['12'] ?? {}).flatMap(([level, ranges]) => ranges.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, n) => `${level}/${a + n}`))));
    };
    for (let drop = 0; drop < 10; drop++) {
      const held = have();
      const rest = order.filter(([level, k]) => !held.has(`${level}/${k}`));
      for (const [level, k] of rest.slice(0, drop % 3)) {
        current().slice(level, k);
        sent += 1;
      }
      current().drop();
      vi.advanceTimersByTime(20_000);
      current().ready();
    }
    const held = have();
    for (const [level, k] of order) if (!held.has(`${level}/${k}`)) current().slice(level, k);
    current().text({ type: 'done', frames: 0 });
    expect(sent).toBeGreaterThan(5);
    expect(FakeSocket.opened).toHaveLength(11);
    expect(slices()).toHaveLength(9);
    expect(new Set(slices()).size).toBe(9);
    expect(told.at(-1)).toEqual({ type: 'done' });
  });

  test('layers given back are asked for again when wanted again, on the same socket', () => {
    current().slice(0, 1);
    client.handle({ type: 'layers', layers: [LAYER], wanted: [] });
    client.handle({ type: 'forget', layers: [12] });
    current().slice(0, 2);
    expect(slices()).toEqual(['0/1-1']);
    client.handle({ type: 'layers', layers: [LAYER], wanted: [12] });
    expect(current().saidLast('again')!['slices']).toEqual({ 12: { 0: [[0, 5]], 1: [[0, 2]] } });
    expect(current().said.at(-1)).toEqual({ type: 'layers', layers: [12], finest: {} });
    current().slice(0, 1);
    expect(slices()).toEqual(['0/1-1', '0/1-1']);
    expect(FakeSocket.opened).toHaveLength(1);
  });

  test('cancel says so at once and nothing is owed: silence is no stall', () => {
    client.handle({ type: 'cancel' });
    expect(current().said.at(-1)).toEqual({ type: 'cancel' });
    vi.advanceTimersByTime(10 * STALL_MS);
    expect(FakeSocket.opened).toHaveLength(1);
  });

  test('a socket that owes slices and is silent is left', () => {
    vi.advanceTimersByTime(2 * STALL_MS);
    expect(FakeSocket.opened.length).toBeGreaterThan(1);
  });

  test.each([4401, 4403, 4404, 4406])('%i is for good', (code) => {
    current().drop(code);
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.opened).toHaveLength(1);
    expect(told.at(-1)).toEqual({ type: 'state', state: 'offline', code });
  });

  test('a slice damaged on the server does not hold up the rest', () => {
    for (const k of [0, 1, 2, 3, 4]) current().slice(0, k);
    current().text({ type: 'error', code: 'damaged', layer: 12, level: 0, slice: 5, detail: '' });
    current().text({ type: 'done', frames: 5 });
    expect(errors()).toEqual(['damaged']);
    expect(told.at(-1)).toEqual({ type: 'done' });
  });
});
