import { afterEach, expect, test, vi } from 'vitest';
import { ACTIONS } from '../src/viewer/actions';
import { isFree, keyLabel, Keymap, ownKeys } from '../src/viewer/keymap';
import { chordOf } from '../src/viewer/keys';
import { mouseOf, SCHEMES, Wheel } from '../src/viewer/mouse';
import { type Channel, Sharing, type Told } from '../src/viewer/sharing';
import { takePreferences } from '../src/preferences';
import { FRESH, type State, type Store } from '../src/viewer/state';

afterEach(() => takePreferences({ 'viewer.mouse': null, 'viewer.keys': null }));

const action = (id: string) => ACTIONS.find((one) => one.id === id)!;
const NONE = new Set<never>();

test('no two actions have one key by default, names are unique, and every default can be chosen again', () => {
  const map = new Keymap();
  for (const one of ACTIONS) expect([one.id, map.keys(one)]).toEqual([one.id, one.keys]);
  expect(new Set(ACTIONS.map((one) => one.id)).size).toBe(ACTIONS.length);
  for (const one of ACTIONS.filter((each) => !each.fixed)) expect(one.keys.every(isFree)).toBe(true);
});

test('a key taken from another action is that one’s no more, and comes back by a reset', () => {
  const map = new Keymap().with(action('tool.length'), 'k');
  expect(map.find('k', NONE)?.id).toBe('tool.length');
  expect(map.keys(action('compare.checkerboard'))).toEqual([]);
  expect(map.keys(action('tool.length'))).toEqual(['l', 'k']);
  const back = map.reset(action('tool.length')).reset(action('compare.checkerboard'));
  expect([back.own, back.find('k', NONE)?.id]).toEqual([{}, 'compare.checkerboard']);
});

test('the reader’s key comes before a default of a later release, wherever it stands in the table', () => {
  const map = new Keymap(ownKeys({ 'page.help': ['w'] }));
  expect(map.find('w', NONE)?.id).toBe('page.help');
  expect(map.keys(action('tool.window'))).toEqual([]);
  expect(map.find('?', NONE)).toBeUndefined();
});

test('a key of a situation means something else outside of it', () => {
  const map = new Keymap();
  expect(map.find('Enter', new Set(['measuring' as const]))?.id).toBe('mark.point');
  expect(map.find('Enter', NONE)?.id).toBe('view.one-up');
  expect([map.find('+', new Set(['comparing' as const]))?.id, map.find('+', NONE)?.id]).toEqual(['compare.more', 'view.zoom-in']);
  expect(map.taker('Enter', action('mark.point'))).toBeNull();
  expect(map.taker('Enter', action('tool.length'))?.id).toBe('view.one-up');
});

test('what was kept is taken as far as it makes sense', () => {
  expect(ownKeys({ 'tool.length': ['l', 5, 'F2', 'l', 'Escape'], 'no.such': ['q'], 'page.cancel': ['q'], 'tool.angle': 'a' })).toEqual({ 'tool.length': ['l'] });
  for (const wrong of [null, 3, 'x', ['l']]) expect(ownKeys(wrong)).toEqual({});
});

test('keys have one name on every keyboard', () => {
  const key = (k: string, rest: object = {}): string => chordOf({ key: k, ctrlKey: false, metaKey: false, shiftKey: false, ...rest });
  expect(key('ц', { code: 'KeyW' })).toBe('w');
  expect(key('∫', { code: 'KeyB', altKey: true })).toBe('Alt+B');
  expect(key('"', { code: 'Digit2', shiftKey: true })).toBe('Shift+2');
  expect(key('[', { code: 'Digit8', ctrlKey: true, altKey: true, getModifierState: (name: string) => name === 'AltGraph' })).toBe('[');
  expect(key('ArrowUp', { ctrlKey: true, shiftKey: true })).toBe('Ctrl+Shift+ArrowUp');
  expect(key(' ')).toBe('Space');
  expect(['Ctrl+Shift+ArrowLeft', '+', 'Ctrl++', 'l', 'Space'].map(keyLabel)).toEqual(['Ctrl+Shift+←', '+', 'Ctrl++', 'L', 'Space']);
});

test('an unknown mouse setting is the delivered one', () => {
  expect(mouseOf({ scheme: 'x', darker: 3, slices: 99 })).toEqual({ scheme: 'radfuse', darker: 'down', slices: 1 });
  expect(SCHEMES.map((scheme) => mouseOf({ scheme }).scheme)).toEqual([...SCHEMES]);
});

test('the wheel: notches, small steps of a touch pad, Shift that browsers turn sideways, zoom', () => {
  const turn = (wheel: Wheel, rest: object): unknown => wheel.turn({ deltaX: 0, deltaY: 0, deltaMode: 0, ctrlKey: false, altKey: false, shiftKey: false, ...rest });
  const wheel = new Wheel();
  expect(turn(wheel, { deltaY: 120 })).toEqual({ slices: 1 });
  expect(turn(wheel, { deltaX: -120, shiftKey: true })).toEqual({ slices: -5 });
  expect([15, 15, 15].map((deltaY) => turn(wheel, { deltaY }))).toEqual([null, null, { slices: 1 }]);
  expect(turn(wheel, { deltaY: 120, ctrlKey: true })).toEqual({ zoom: Math.exp(-0.3) });
  takePreferences({ 'viewer.mouse': { scheme: 'wheel-zooms', slices: 3 } });
  expect(turn(wheel, { deltaY: -120 })).toEqual({ zoom: Math.exp(0.3) });
  expect(turn(wheel, { deltaY: 120, shiftKey: true })).toEqual({ slices: 3 });
});

// ---- two windows ------------------------------------------------------------------------------------

class FakeStore {
  state: State = structuredClone(FRESH);
  private listener: (state: State, changed: ReadonlySet<keyof State>) => void = () => undefined;
  subscribe(listener: FakeStore['listener']): void {
    this.listener = listener;
  }
  patch(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.listener(this.state, new Set(Object.keys(change) as (keyof State)[]));
  }
}

function pair(): { stores: [FakeStore, FakeStore]; count: () => number } {
  const channels: Channel[] = [];
  let count = 0;
  const make = (n: number): Channel => ({
    onmessage: null,
    postMessage: (told: Told) => {
      count++;
      channels[1 - n]?.onmessage?.({ data: structuredClone(told) } as MessageEvent<Told>);
    },
  });
  const stores: [FakeStore, FakeStore] = [new FakeStore(), new FakeStore()];
  stores[0].patch({ focus: [1, 2, 3], fusion: false });
  channels.push(make(0), make(1));
  for (const n of [0, 1]) new Sharing(stores[n]! as unknown as Store, channels[n]!, { finding: () => null, marksKey: () => '', select: () => undefined, marks: () => undefined, preferences: () => undefined }, n === 1);
  return { stores, count: () => count };
}

test('a second window begins as the first; what is shared follows, layout and framing do not, nothing echoes', () => {
  vi.useFakeTimers();
  vi.stubGlobal('window', globalThis);
  const { stores: [first, second], count } = pair();
  expect([second.state.focus, second.state.fusion]).toEqual([[1, 2, 3], false]);
  const before = count();
  second.state.layers = { '7:alone': { width: 1 } } as unknown as State['layers'];
  first.patch({ layers: { '7': { width: 400 } } as unknown as State['layers'], layout: 'axial', protocol: 'one' });
  first.patch({ focus: [4, 5, 6] });
  vi.runAllTimers();
  expect(count()).toBe(before + 1);
  expect(second.state.focus).toEqual([4, 5, 6]);
  expect(Object.keys(second.state.layers).sort()).toEqual(['7', '7:alone']);
  expect([second.state.layout, second.state.protocol]).toEqual(['mpr', null]);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('a crosshair of a layer shown alone stays in its window, as do tools with a panel of their own', () => {
  vi.useFakeTimers();
  vi.stubGlobal('window', globalThis);
  const { stores: [first, second] } = pair();
  first.patch({ alone: 3, focus: [9, 9, 9] });
  first.patch({ tool: 'align' });
  vi.runAllTimers();
  expect([second.state.focus, second.state.tool]).toEqual([[1, 2, 3], 'window']);
  second.patch({ focus: [7, 7, 7] });
  vi.runAllTimers();
  expect(first.state.focus).toEqual([9, 9, 9]);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});
