import { describe, expect, test } from 'vitest';
import { dot, length, subtract, type Vec3 } from '../src/affine';
import { ApiError } from '../src/viewer/api';
import { Book, type MarkApi } from '../src/viewer/marks/book';
import { Gesture } from '../src/viewer/marks/gesture';
import { History } from '../src/viewer/marks/history';
import { grownOf } from '../src/viewer/marks/grown';
import { placeLabel } from '../src/viewer/marks/labels';
import { hit, type PaneView, placeMark, seenIn, type ShownMark } from '../src/viewer/marks/placing';
import { distance, ellipseInBox, type Frame, section, withHandleAt } from '../src/viewer/marks/shapes';
import { linesOf } from '../src/viewer/marks/words';
import { chordOf } from '../src/viewer/keys';
import { flipped } from '../src/viewer/turning';
import type { MeasuredValue, Measurement } from '../src/viewer/types';

const AXIAL: Frame = { right: [1, 0, 0], down: [0, 1, 0], normal: [0, 0, -1] };
const view = (z: number, slab = 0): PaneView => ({
  plane: { point: [0, 0, z], normal: [0, 0, -1] }, frame: AXIAL, halfStep: 1, halfSlab: slab,
  toCanvas: ([x, y]) => [x, y], toWorld: ([x, y]) => [x, y, z], width: 500, height: 400,
});
const mark = (tool: ShownMark['tool'], points: Vec3[]): ShownMark => ({
  key: 'm1', id: 1, name: 'M1', tool, points, label: '', lines: ['1'], brief: ['1'], grown: null, state: 'stored', reason: '',
});

test('a handle pulled in a pane that looks half a slice beside the mark leaves it in its plane', () => {
  const ellipse: Vec3[] = [[0, 0, 10], [5, 0, 10], [0, 3, 10]];
  for (const [tool, points, index] of [['ellipse', ellipse, 1], ['length', ellipse.slice(0, 2), 1], ['angle', ellipse, 0]] as const) {
    const moved = withHandleAt(tool, points, index, [9, 1, 12], AXIAL);
    expect(moved.map(([, , z]) => z)).toEqual(points.map(() => 10));
    expect(moved).not.toEqual(points);
  }
});

describe('drawing by hand', () => {
  test('an outline however long has no more points than the server takes', () => {
    const gesture = new Gesture('freehand', AXIAL, [0, 0, 0], 1);
    for (let n = 1; n <= 9000; n++) gesture.move([n, 0, 0]);
    expect(gesture.points.length).toBeLessThanOrEqual(2000);
    expect(gesture.points.at(-1)![0]).toBeGreaterThan(8980);
  });

  test('a drag or two clicks make the same length', () => {
    const dragged = new Gesture('length', AXIAL, [0, 0, 0], 1);
    dragged.move([10, 0, 0]);
    expect(dragged.release([10, 0, 0], true)).toBe(true);
    const clicked = new Gesture('length', AXIAL, [0, 0, 0], 1);
    expect(clicked.release([0, 0, 0], false)).toBe(false);
    clicked.move([6, 0, 0]);
    expect(clicked.points).toEqual([[0, 0, 0], [6, 0, 0]]);
    clicked.press([10, 0, 0]);
    expect(clicked.release([10, 0, 0], false)).toBe(true);
    expect(clicked.points).toEqual(dragged.points);
  });

  test('an angle takes its third point after the drag', () => {
    const gesture = new Gesture('angle', AXIAL, [0, 0, 0], 1);
    expect(gesture.release([10, 0, 0], true)).toBe(false);
    gesture.move([10, 5, 0]);
    expect(gesture.points).toHaveLength(3);
    gesture.press([10, 9, 0]);
    expect(gesture.release([10, 9, 0], false)).toBe(true);
    expect(gesture.points).toEqual([[0, 0, 0], [10, 0, 0], [10, 9, 0]]);
  });

  test.each([[[3, 8, 0], [4, -6, 0]], [[3, 8, 0], [9, 5, 0]], [[-4, 8, 0], [40, -6, 0]]] as Vec3[][])(
    'the short axis drawn from %j to %j is perpendicular and crosses the long one', (from, to) => {
      const gesture = new Gesture('bidirectional', AXIAL, [0, 0, 0], 1);
      expect(gesture.release([20, 0, 0], true)).toBe(false);
      gesture.press(from!);
      gesture.move(to!);
      expect(gesture.release(to!, true)).toBe(true);
      const [a, b, c, d] = gesture.points as [Vec3, Vec3, Vec3, Vec3];
      expect(dot(subtract(b, a), subtract(d, c))).toBeCloseTo(0);
      expect(c[0]).toBeGreaterThanOrEqual(0);
      expect(c[0]).toBeLessThanOrEqual(20);
      expect(Math.sign(c[1]) * Math.sign(d[1])).toBeLessThanOrEqual(0);
    });

  test('freehand keeps points a step apart', () => {
    const gesture = new Gesture('freehand', AXIAL, [0, 0, 0], 2);
    for (let x = 1; x <= 10; x++) gesture.move([x, 0, 0]);
    expect(gesture.release([10, 0, 0], true)).toBe(true);
    expect(gesture.points).toHaveLength(6);
  });
});

describe('handles', () => {
  test('the ellipse stays an ellipse: perpendicular half axes, the opposite end fixed', () => {
    const points = ellipseInBox([0, 0, 0], [20, 10, 0], AXIAL);
    expect(points[0]).toEqual([10, 5, 0]);
    for (const index of [1, 2, 3, 4]) {
      const [c, a, b] = withHandleAt('ellipse', points, index, [27, 13, 0], AXIAL) as [Vec3, Vec3, Vec3];
      expect(dot(subtract(a, c), subtract(b, c))).toBeCloseTo(0);
      const ends = [a, b, subtract([2 * c[0], 2 * c[1], 2 * c[2]], a), subtract([2 * c[0], 2 * c[1], 2 * c[2]], b)];
      expect(Math.min(...ends.map((end) => distance(end, [27, 13, 0])))).toBeCloseTo(0);
    }
    expect(withHandleAt('ellipse', points, 0, [0, 0, 0], AXIAL)).toEqual([[0, 0, 0], [10, 0, 0], [0, 5, 0]]);
  });

  test('long axis dragged: the short one stays square, in its place and as wide', () => {
    const points: Vec3[] = [[0, 0, 0], [20, 0, 0], [5, 4, 0], [5, -6, 0]];
    const [a, b, c, d] = withHandleAt('bidirectional', points, 1, [0, 40, 0], AXIAL) as [Vec3, Vec3, Vec3, Vec3];
    expect(dot(subtract(b, a), subtract(d, c))).toBeCloseTo(0);
    expect(distance(c, d)).toBeCloseTo(10);
    expect((c[1] + 0) / 40).toBeCloseTo(0.25);
  });

  test('short axis dragged: slides along, never leaves its side', () => {
    const points: Vec3[] = [[0, 0, 0], [20, 0, 0], [5, 4, 0], [5, -6, 0]];
    const [, , c, d] = withHandleAt('bidirectional', points, 2, [12, 7, 0], AXIAL) as [Vec3, Vec3, Vec3, Vec3];
    expect([c, d]).toEqual([[12, 7, 0], [12, -6, 0]]);
    const [, , over] = withHandleAt('bidirectional', points, 2, [12, -3, 0], AXIAL) as [Vec3, Vec3, Vec3];
    expect(over[1]).toBeCloseTo(0);
  });

  test('a ball moved in a plane off its middle keeps its height and radius', () => {
    const moved = withHandleAt('sphere', [[0, 0, 0], [10, 0, 0]], 0, [3, 4, 6], AXIAL) as [Vec3, Vec3];
    expect(moved).toEqual([[3, 4, 0], [13, 4, 0]]);
    expect(distance(...(withHandleAt('sphere', [[0, 0, 0], [10, 0, 0]], 1, [6, 0, 8], AXIAL) as [Vec3, Vec3]))).toBeCloseTo(10);
  });
});

describe('where a mark is seen', () => {
  test('solid in its plane, faint within the slab, hidden beyond', () => {
    const points: Vec3[] = [[0, 0, 0], [10, 0, 0]];
    expect(seenIn('length', points, view(0))).toBe('own');
    expect(seenIn('length', points, view(0.9))).toBe('own');
    expect(seenIn('length', points, view(4))).toBeNull();
    expect(seenIn('length', points, view(4, 5))).toBe('faint');
    expect(seenIn('sphere', points, view(9))).toBe('own');
    expect(seenIn('sphere', points, view(11))).toBeNull();
  });

  test('a plane cuts a ball in the circle that Pythagoras says', () => {
    const circle = section([0, 0, 0], 10, 6, AXIAL);
    for (const point of circle) expect(length(point)).toBeCloseTo(10);
    expect(distance(circle[0]!, circle[36]!)).toBeCloseTo(16);
    for (const z of [-6, 6]) {
      const placed = placeMark(mark('sphere', [[100, 100, 0], [110, 100, 0]]), view(z))!;
      expect(placed.lines[0]!.points[0]![0]).toBeCloseTo(108);
    }
  });

  test('handles come before lines; middles of regions do not stop a new one', () => {
    const placed = [placeMark(mark('sphere', [[100, 100, 0], [150, 100, 0]]), view(0))!];
    expect(hit(placed, [151, 102])?.handle).toBe(1);
    expect(hit(placed, [100, 101])?.handle).toBe(0);
    expect(hit(placed, [100, 101], true)).toBeNull();
    expect(hit(placed, [100, 149])?.handle).toBeNull();
    expect(hit(placed, [100, 120])).toBeNull();
  });

  test('texts keep off the mark and each other', () => {
    const pane = { width: 500, height: 400 };
    const box = { x: 100, y: 100, width: 60, height: 40 };
    const right = placeLabel([160, 120], box, 80, 30, pane, []);
    expect(right[0]).toBeGreaterThan(160);
    const other = placeLabel([160, 120], box, 80, 30, pane, [{ x: right[0], y: right[1], width: 80, height: 30 }]);
    expect(other[1]).toBeGreaterThan(140);
    expect(placeLabel([480, 120], { ...box, x: 420 }, 80, 30, pane, [])[0]).toBeLessThan(420);
  });
});

test('run lengths become the voxels of the box, where the layer lies', () => {
  const affine = [[2, 0, 0, 10], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]];
  const layer = { kind: 'series', shape: [5, 6, 7], affine } as never;
  const mask = { layer: 1, key: 'k', shape: [5, 6, 7], box: [[1, 2, 3], [3, 4, 4]], counts: [1, 2, 1] } as never;
  const moved = [[1, 0, 0, 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];
  const grown = grownOf(mask, layer, moved)!;
  expect([...grown.voxels]).toEqual([0, 1, 1, 0]);
  expect(grown.grid.toLps([0, 0, 0])).toEqual([112, 4, 9]);
  expect(grownOf(mask, { ...(layer as object), shape: [5, 6, 8] } as never, moved)).toBeNull();
});

describe('words', () => {
  const value = (key: string, name: string, text: string, rest: Partial<MeasuredValue> = {}): MeasuredValue => ({
    layer: key ? Number(key) : null, key, layer_label: key === '1' ? 'CT' : key === '2' ? 'PET' : '', name, title: name, value: 1, unit: text.split(' ')[1] ?? '', text,
    reason: '', method: '', voxels: 3, position: null, ...rest,
  });
  const measured = (values: MeasuredValue[], rest: Partial<Measurement> = {}): Measurement => ({ tool: 'ellipse', text: 'headline', values, outdated: '', ...rest }) as Measurement;

  test('layers on screen, one to a line, each unit once, in the server\'s figures', () => {
    const both = measured([value('', 'area', '12.3 mm²'), value('1', 'mean', '41.2 HU'), value('1', 'max', '80.0 HU'), value('2', 'max', '4.25 SUVbw')]);
    expect(linesOf(both, [1, 2])).toEqual(['area 12.3 mm²', 'CT  mean 41.2  max 80.0 HU', 'PET  max 4.25 SUVbw']);
    expect(linesOf(both, [2])).toEqual(['area 12.3 mm²', 'PET  max 4.25 SUVbw']);
  });
  test('no value says why; what is outdated says so', () => {
    expect(linesOf(measured([value('2', 'mean', '', { value: null, reason: 'Outside the field of view.' })]), [2])).toEqual(['PET: Outside the field of view.']);
    expect(linesOf(measured([value('', 'area', '1 mm²')], { outdated: 'PET was aligned anew.' }), [])).toEqual(['headline', '⚠ PET was aligned anew.']);
  });
});

describe('undo and redo', () => {
  const step = (log: string[], name: string, works = true) => ({
    name, undo: async () => (log.push(`undo ${name}`), works), redo: async () => (log.push(`redo ${name}`), works),
  });
  test('last first, redo in order, a new act forgets what was undone', async () => {
    const [history, log] = [new History(), [] as string[]];
    for (const name of ['a', 'b']) history.push(step(log, name));
    expect(await Promise.all([history.undo(), history.undo(), history.undo()])).toEqual(['b', 'a', null]);
    expect(await history.redo()).toBe('a');
    history.push(step(log, 'c'));
    expect(await history.redo()).toBeNull();
    expect(log).toEqual(['undo b', 'undo a', 'redo a']);
  });
  test('what the server refused can be tried again', async () => {
    const history = new History();
    history.push(step([], 'a', false));
    expect(await history.undo()).toBeNull();
    expect(history.undoable).toBe('a');
  });
});

test('an undo that breaks leaves the next one working', async () => {
  const history = new History();
  let broken = true;
  history.push({ name: 'Move', undo: () => (broken ? Promise.reject(new Error('ours')) : Promise.resolve(true)), redo: () => Promise.resolve(true) });
  await expect(history.undo()).rejects.toThrow('ours');
  broken = false;
  expect(await history.undo()).toBe('Move');
});

describe('the book of marks', () => {
  const row = (id: number, rest: Partial<Measurement> = {}): Measurement => ({ id, tool: 'length', points: [[0, 0, 0], [1, 0, 0]], label: '', ...rest }) as Measurement;
  function opened(fail: { now: boolean }, gate: { wait: Promise<void> } = { wait: Promise.resolve() }) {
    const shelf = { measurements: [] as Measurement[] };
    const kept = new Map<number, Measurement>();
    const said: string[] = [];
    const refusals: string[] = [];
    const told = async <T>(words: string, act: () => T): Promise<T> => {
      await gate.wait;
      said.push(words);
      if (fail.now) throw new ApiError('The server cannot be reached.', 0);
      return act();
    };
    const set = (id: number, change: object): Measurement => {
      kept.set(id, { ...(kept.get(id) ?? row(id)), ...change } as Measurement);
      return kept.get(id)!;
    };
    const api: MarkApi = {
      create: (body) => told('create', () => set(kept.size + 1, body)),
      change: (id, change) => told(`change ${id}`, () => set(id, change)),
      hide: (id) => told(`hide ${id}`, () => undefined),
      restore: (id) => told(`restore ${id}`, () => kept.get(id)!),
    };
    return { book: new Book(api, () => shelf, () => undefined, (reason) => refusals.push(reason)), shelf, said, refusals };
  }
  const BODY = { tool: 'length', points: [[0, 0, 0], [5, 0, 0]], label: '', layers: [] } as const;

  test('made, moved, deleted, and all of it undone and redone', async () => {
    const { book, shelf, said } = opened({ now: false });
    await book.add(BODY).stored;
    await book.move(1, [[0, 0, 0], [9, 0, 0]]);
    await book.relabel(1, 'node');
    await book.remove(1);
    expect(shelf.measurements).toEqual([]);
    await book.history.undo();
    expect(shelf.measurements[0]).toMatchObject({ label: 'node', points: [[0, 0, 0], [9, 0, 0]] });
    await book.history.undo();
    await book.history.undo();
    expect(shelf.measurements[0]).toMatchObject({ label: '', points: [[0, 0, 0], [5, 0, 0]] });
    await book.history.undo();
    expect(shelf.measurements).toEqual([]);
    for (let n = 0; n < 4; n++) await book.history.redo();
    expect(shelf.measurements).toEqual([]);
    expect(said).toEqual(['create', 'change 1', 'change 1', 'hide 1', 'restore 1', 'change 1', 'change 1', 'hide 1', 'restore 1', 'change 1', 'change 1', 'hide 1']);
  });

  test('what was not saved stays, can be reshaped and tried again, or given up', async () => {
    const fail = { now: true };
    const { book, shelf } = opened(fail);
    const { key, stored } = book.add(BODY);
    expect(await stored).toBeNull();
    expect(book.unsaved[0]).toMatchObject({ state: 'failed', reason: 'The server cannot be reached.' });
    expect(book.dirty).toBe(true);
    expect(book.history.undoable).toBeNull();
    fail.now = false;
    book.reshape(key, [[0, 0, 0], [7, 0, 0]]);
    await new Promise((done) => setTimeout(done));
    expect(shelf.measurements[0]!.points).toEqual([[0, 0, 0], [7, 0, 0]]);
    expect(book.dirty).toBe(false);
    fail.now = true;
    await book.move(1, [[0, 0, 0], [8, 0, 0]]);
    expect(book.moves.get(1)).toMatchObject({ state: 'failed' });
    book.discard('m1');
    expect(book.dirty).toBe(false);
    expect(book.find(1)!.points).toEqual([[0, 0, 0], [7, 0, 0]]);
  });

  test('a mark keeps its id through a retry, and words or a deletion while it is on its way are not lost', async () => {
    const fail = { now: true };
    let open = (): void => undefined;
    const gate = { wait: Promise.resolve() };
    const { book, shelf } = opened(fail, gate);
    const { key, stored } = book.add(BODY);
    await stored;
    const sent = book.unsaved[0]!.body.sent;
    expect(sent).toMatch(/^[0-9a-f]{32}$/);
    fail.now = false;
    gate.wait = new Promise((done) => (open = done));
    book.retry(key);
    book.labelUnsaved(key, 'node');
    expect(book.unsaved[0]!.body.sent).toBe(sent);
    open();
    await new Promise((done) => setTimeout(done));
    expect(shelf.measurements).toMatchObject([{ id: 1, label: 'node' }]);
    gate.wait = new Promise((done) => (open = done));
    const second = book.add(BODY);
    book.discard(second.key);
    open();
    expect(await second.stored).toBeNull();
    expect(shelf.measurements.map(({ id }) => id)).toEqual([1]);
    expect(book.history.undoable).toBe('Delete');
  });

  test('two drags one after the other: the second stands, and each undo goes one back', async () => {
    let open = (): void => undefined;
    const gate = { wait: Promise.resolve() };
    const { book } = opened({ now: false }, gate);
    await book.add(BODY).stored;
    gate.wait = new Promise((done) => (open = done));
    const both = [book.move(1, [[0, 0, 0], [8, 0, 0]]), book.move(1, [[0, 0, 0], [9, 0, 0]])];
    open();
    await Promise.all(both);
    expect(book.find(1)!.points[1]).toEqual([9, 0, 0]);
    await book.history.undo();
    expect(book.find(1)!.points[1]).toEqual([8, 0, 0]);
    await book.history.undo();
    expect(book.find(1)!.points[1]).toEqual([5, 0, 0]);
  });

  test('a refused deletion leaves the mark and says why', async () => {
    const fail = { now: false };
    const { book, refusals } = opened(fail);
    await book.add(BODY).stored;
    fail.now = true;
    await book.remove(1);
    expect(book.find(1)).toBeDefined();
    expect(refusals).toEqual(['The server cannot be reached.']);
    expect(book.history.undoable).not.toBe('Delete');
  });
});

test('keys with Shift and Ctrl have names', () => {
  const key = (k: string, rest: object = {}): string => chordOf({ key: k, ctrlKey: false, metaKey: false, shiftKey: false, ...rest });
  expect([key('l'), key('L', { shiftKey: true }), key('z', { ctrlKey: true }), key('Z', { metaKey: true, shiftKey: true }), key('?', { shiftKey: true })])
    .toEqual(['l', 'Shift+L', 'Ctrl+Z', 'Ctrl+Shift+Z', '?']);
});

test('a flip top to bottom is the flip left to right, half a turn on', () => {
  expect(flipped({ quarter: 0, flip: false }, 'vertical')).toEqual({ quarter: 2, flip: true });
  expect(flipped({ quarter: 1, flip: false }, 'vertical')).toEqual({ quarter: 1, flip: true });
  for (const quarter of [0, 1, 2, 3] as const) {
    for (const way of ['horizontal', 'vertical'] as const) expect(flipped(flipped({ quarter, flip: false }, way), way)).toEqual({ quarter, flip: false });
  }
});
