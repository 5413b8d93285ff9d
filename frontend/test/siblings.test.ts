import { describe, expect, test } from 'vitest';
import { bytesOf, seriesKey, settingText, shown, siblings, step, toForget, withoutStranded } from '../src/viewer/siblings';
import type { Layer } from '../src/viewer/types';

const layer = (id: number, series: number | null, number = 1, main = true, setting = ''): Layer =>
  ({ id, kind: series === null ? 'heatmap' : 'series', series, dtype: 'int16', shape: [4, 3, 2], volume: { number, count: 3, setting, main } }) as unknown as Layer;

const CT = layer(1, 10);
const B0 = layer(2, 20, 1, true, 'b 0');
const B500 = layer(3, 20, 2, false, 'b 500');
const B1000 = layer(4, 20, 3, false, 'b 1000');
const MAP = layer(5, null);
const ALL = [CT, B1000, B0, B500, MAP];
const ids = (layers: Layer[]): number[] => layers.map((one) => one.id);

describe('volumes of one series', () => {
  test('one row per series: the main volume until another is chosen', () => {
    expect(ids(shown(ALL, {}))).toEqual([1, 2, 5]);
    expect(ids(shown(ALL, { [seriesKey(B0)]: 4 }))).toEqual([1, 4, 5]);
  });
  test('a choice that no longer exists falls back to the main volume', () => {
    expect(ids(shown(ALL, { [seriesKey(B0)]: 99 }))).toEqual([1, 2, 5]);
  });
  test('a series whose main volume was left out still shows one', () => {
    expect(ids(shown([B500, B1000], {}))).toEqual([3]);
  });
  test('a deformed picture of one volume is not shown for another', () => {
    const bent = { ...layer(9, 20), kind: 'deformed', deformed: { registration: 3, refinement: 1, of: 2, outside_share: 0 } } as unknown as Layer;
    const drawn = (chosen: number, but: number | null = null): number[] => ids(withoutStranded(shown([...ALL, bent], { [seriesKey(B0)]: chosen }), but));
    expect(drawn(2)).toEqual([1, 2, 5, 9]);
    expect(drawn(4)).toEqual([1, 4, 5]);
    expect(drawn(4, 9)).toEqual([1, 4, 5, 9]);
  });
  test('siblings come in their own order; maps have none', () => {
    expect(ids(siblings(B500, ALL))).toEqual([2, 3, 4]);
    expect(ids(siblings(CT, ALL))).toEqual([1]);
    expect(ids(siblings(MAP, [MAP, layer(6, null)]))).toEqual([5]);
  });
  test('stepping stops at the ends', () => {
    expect(step(B0, ALL, 1).id).toBe(3);
    expect(step(B1000, ALL, 1).id).toBe(4);
    expect(step(B0, ALL, -1).id).toBe(2);
    expect(step(CT, ALL, 1).id).toBe(1);
  });
  test('names', () => {
    expect(settingText(B0)).toBe('b 0 (main)');
    expect(settingText(B1000)).toBe('b 1000');
    expect(settingText(layer(9, 30, 2, false))).toBe('volume 2 of 3');
  });
});

describe('memory', () => {
  test('what is on screen stays, then the last shown, within the budget', () => {
    expect(bytesOf(B0)).toBe(48);
    expect(toForget([2, 3, 4], new Set([4]), () => 48, 48)).toEqual([2]);
    expect(toForget([2, 3, 4], new Set([4]), () => 48, 40)).toEqual([2, 3]);
    expect(toForget([2, 3, 4], new Set([4]), () => 48, 1000)).toEqual([]);
  });
});
