import { describe, expect, test } from 'vitest';
import { colourAt, cssGradient } from '../src/viewer/colormaps';
import { scaleBar } from '../src/viewer/panes';
import { ctPresets, opacityCurve, PET_PRESETS, presetsOf, shown, unitLabel } from '../src/viewer/presets';
import { FRESH, loadState } from '../src/viewer/state';
import type { Layer } from '../src/viewer/types';
import { badgeLevel, badgeText } from '../src/viewer/badge';

const layer = (change: Partial<Layer>): Layer =>
  ({
    id: 1, kind: 'series', label: 'PET', role: 'PET', modality: 'PT', unit: 'g/ml{SUVbw}', window: [5, 2.5],
    fusion: { state: 'registered', fused: true, badge: 'Registered', method: '', version: '', verdict: 'usable', reasons: [], quality: [], decision: null },
    ...change,
  }) as Layer;

describe('stored view state', () => {
  const storage = (text: string | null) => ({ getItem: () => text, setItem: () => undefined });
  test('missing or of another version: fresh', () => {
    expect(loadState(storage(null), 'k')).toEqual(FRESH);
    expect(loadState(storage('{"version":0,"state":{"tool":"probe"}}'), 'k')).toEqual(FRESH);
    expect(loadState(storage('{"version":1,"sta'), 'k'), 'cut off').toEqual(FRESH);
  });
  test('what was stored comes back, what is new gets its default', () => {
    const state = loadState(storage('{"version":1,"state":{"focus":[1,2,3],"tool":"length"}}'), 'k');
    expect(state).toMatchObject({ focus: [1, 2, 3], tool: 'length', layout: 'mpr', fusion: true });
  });
});

describe('windows', () => {
  test('presets by unit', () => {
    expect(presetsOf(layer({ unit: "[hnsf'U]" })).slice(0, 5).map((p) => [p.width, p.centre])).toEqual([[400, 40], [1500, -600], [150, 90], [2500, 480], [80, 40]]);
    expect(presetsOf(layer({ unit: "[hnsf'U]" }), 'stroke').slice(0, 3).map((p) => [p.width, p.centre])).toEqual([[80, 40], [40, 40], [8, 32]]);
    const windows = (list: readonly { width: number; centre: number }[]): string[] => list.map((p) => `${p.width}/${p.centre}`).sort();
    for (const pathway of ['', 'lung', 'glioma', 'cardiac']) for (const role of ['', 'CTA']) expect(windows(ctPresets(pathway, role))).toEqual(windows(ctPresets('')));
    expect(presetsOf(layer({}))).toBe(PET_PRESETS);
    expect(PET_PRESETS.map((p) => [p.centre - p.width / 2, p.centre + p.width / 2])).toEqual([[0, 5], [0, 7], [0, 10], [0, 15]]);
    expect(presetsOf(layer({ unit: '', modality: 'MR', role: 'T2', window: [900, 450] }))[0]).toEqual({ name: 'Auto (1–99 %)', width: 900, centre: 450 });
  });
  test('opacity: the base is solid, PET fades in, anatomy blends evenly', () => {
    expect(opacityCurve(layer({}), true, 0.5)).toEqual([[0, 1], [1, 1]]);
    expect(opacityCurve(layer({}), false, 0.5)).toEqual([[0, 0], [0.2, 0.5], [1, 0.5]]);
    expect(opacityCurve(layer({ modality: 'MR', role: 'T2' }), false, 0.4)).toEqual([[0, 0.4], [1, 0.4]]);
  });
  test('figures and units as readers write them', () => {
    expect(shown(-600, 1500)).toBe('−600');
    expect(shown(2.5, 5)).toBe('2.5');
    expect(shown(0.5, 1)).toBe('0.50');
    expect([unitLabel("[hnsf'U]"), unitLabel('g/ml{SUVbw}'), unitLabel('1')]).toEqual(['HU', 'SUVbw', '']);
  });
});

describe('colours', () => {
  test('hot iron ends in white and passes through red', () => {
    expect(colourAt('hot-iron', 0)).toEqual([0, 0, 0]);
    expect(colourAt('hot-iron', 0.5)).toEqual([1, 0, 0]);
    expect(colourAt('hot-iron', 1)).toEqual([1, 1, 1]);
    expect(cssGradient('grey', true, 'to top')).toBe('linear-gradient(to top, rgb(255 255 255) 0%, rgb(0 0 0) 100%)');
  });
});

describe('fusion badge', () => {
  test('says state and decision, never only by colour', () => {
    const fusion = layer({}).fusion;
    expect([badgeText(layer({})), badgeLevel(layer({}))]).toEqual(['PET: Registered', 'ok']);
    const doubtful = layer({ fusion: { ...fusion, verdict: 'doubtful', decision: { decision: 'accepted', by: 'Dr A', at: '', reason: '' } } });
    expect([badgeText(doubtful), badgeLevel(doubtful)]).toEqual(['PET: Registered, accepted by Dr A', 'warn']);
    const refused = layer({ fusion: { ...fusion, state: 'not_registered', fused: false, badge: '' } });
    expect([badgeText(refused), badgeLevel(refused)]).toEqual(['PET: Not registered: not fused', 'bad']);
    const heat = layer({ kind: 'heatmap', label: 'Heatmap', model: 'unet 0.1' });
    expect([badgeText(heat), badgeLevel(heat)]).toEqual(['Heatmap: AI unet 0.1, unverified', 'ai']);
  });
});

test('the scale bar is a round length of at most a quarter of the pane', () => {
  expect(scaleBar(0.5, 800)).toEqual({ mm: 100, pixels: 200 });
  expect(scaleBar(0.1, 400).mm).toBe(10);
});
