/** Which layers are on screen and where they lie, without a screen. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { IDENTITY } from '../src/affine';
import { takePreferences } from '../src/preferences';
import { Scene } from '../src/viewer/scene';
import { Store } from '../src/viewer/state';
import type { Layer, View } from '../src/viewer/types';

vi.stubGlobal('window', { addEventListener: () => undefined, setTimeout: () => 0, clearTimeout: () => undefined });

const layer = (id: number, modality: string, more: Partial<Layer> = {}): Layer =>
  ({
    id, series: id, kind: 'series', label: `${modality} ${id}`, modality, role: modality === 'PT' ? 'PET' : modality, unit: '', window: [400, 40],
    shape: [4, 4, 4], affine: IDENTITY, matrix: IDENTITY, dtype: 'int16', levels: [{ shape: [4, 4, 4], factors: [1, 1, 1] }], registration_id: id, prior: false,
    volume: { number: 1, count: 1, setting: '', main: true }, fusion: { state: 'registered', fused: true }, ...more,
  }) as unknown as Layer;
const CT = layer(1, 'CT', { registration_id: null });
const viewOf = (...layers: Layer[]): View => ({ case: { pathway: 'lung' }, reference: layers[0]!.id, layers, notices: [] }) as unknown as View;

function made(...layers: Layer[]) {
  const volumes = new Set<number>();
  const stage = {
    addVolume: (id: number) => volumes.add(id), removeVolume: (id: number) => volumes.delete(id), hasVolume: (id: number) => volumes.has(id),
    get held() {
      return [...volumes];
    },
    has: () => false, place: vi.fn(), assign: vi.fn(), frame: vi.fn(), framing: () => ({}), show: vi.fn(async () => true), clearUnused: vi.fn(async () => undefined),
  };
  const store = new Store({ getItem: () => null, setItem: () => undefined }, 'test');
  return { scene: new Scene(viewOf(...layers), store, stage as never), store, stage, volumes };
}

beforeEach(() => takePreferences({ 'viewer.display': { memoryMiB: 64 } }));

describe('at first look', () => {
  test('PET of the day is on, that of an earlier study is not', () => {
    const { scene } = made(CT, layer(2, 'PT'), layer(3, 'PT', { prior: true }));
    expect(scene.overlays.map(({ id }) => id)).toEqual([2, 3]);
    expect(scene.visibleOverlays.map(({ id }) => id)).toEqual([2]);
  });
  test('a deformed earlier CT is not either', () => {
    const deformed = layer(5, 'CT', { kind: 'deformed', prior: true, deformed: { registration: 4, refinement: 1, of: 4, outside_share: 0 } });
    expect(made(CT, layer(4, 'CT', { prior: true }), deformed).scene.visibleOverlays).toEqual([]);
  });
});

describe('newer views', () => {
  test('voxels of layers that a newer analysis replaced are given back', async () => {
    const { scene, volumes } = made(CT, layer(2, 'PT'));
    const told = vi.fn();
    scene.unloaded = told;
    await scene.mount();
    expect([...volumes]).toEqual([1, 2]);
    scene.adopt(viewOf(layer(11, 'CT', { registration_id: null }), layer(12, 'PT')));
    await scene.mount();
    expect([...volumes]).toEqual([11, 12]);
    expect(told).toHaveBeenCalledWith([1, 2]);
  });
  test('a layer alone that is gone takes its cursor with it', async () => {
    const far = layer(2, 'PT', { affine: [[1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] });
    const { scene, store } = made(CT, far);
    await scene.showAlone(2);
    expect(scene.focus[0]).toBe(901.5);
    scene.adopt(viewOf(CT));
    expect(store.state.alone).toBeNull();
    expect(scene.focus).toEqual([1.5, 1.5, 1.5]);
  });
});

test('a volume that the other window chose has its place here', async () => {
  const one = layer(2, 'MR', { series: 7, volume: { number: 1, count: 2, setting: '', main: true } });
  const two = layer(3, 'MR', { series: 7, volume: { number: 2, count: 2, setting: '', main: false } });
  const { scene, store, volumes } = made(CT, one, two);
  await scene.mount();
  store.patch({ siblings: { 'series 7': 3 } });
  await scene.mount();
  expect(volumes.has(3)).toBe(true);
});

test('a mount that failed is told to its caller and holds up no other', async () => {
  const { scene, stage } = made(CT);
  stage.show.mockRejectedValueOnce(new Error('context lost'));
  await expect(scene.mount()).rejects.toThrow('context lost');
  await scene.mount();
  expect(stage.show).toHaveBeenCalledTimes(6);
});
