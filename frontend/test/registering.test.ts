/** What a reader does to a registration, without a screen: panels and messages are left out. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Grid, IDENTITY, type Mat4, type Vec3 } from '../src/affine';
import { shiftBy } from '../src/viewer/alignment';
import { Registering } from '../src/viewer/registering';
import type { Refinement, ToolsState } from '../src/viewer/registration-types';
import type { Layer } from '../src/viewer/types';

vi.mock('../src/pages/toast', () => ({ toast: vi.fn() }));
vi.mock('../src/viewer/align-panel', () => ({ AlignPanel: class { element = {}; remark = 'Breathing'; update(): void {} } }));
vi.mock('../src/viewer/landmarks-panel', () => ({ LandmarksPanel: class { element = {}; update(): void {} } }));
vi.mock('../src/viewer/refine-panel', () => ({ RefinePanel: class { element = {}; update(): void {} } }));
vi.mock('../src/viewer/registration-panel', () => ({
  RegistrationPanel: class {
    element = { querySelector: () => null };
    update = vi.fn();
    decided = vi.fn();
    constructor(readonly actions: unknown) {}
  },
}));
vi.mock('../src/viewer/leave', () => ({ LeaveDialog: class { ask = vi.fn(); } }));

const grid = new Grid([4, 4, 4], IDENTITY);
const layerOf = (id: number, registration: number, kind = 'series'): Layer =>
  ({ id, kind, registration_id: registration, label: `S${id}`, matrix: IDENTITY, shape: grid.shape, affine: IDENTITY, fusion: { fused: true, model: 'rigid', refinement: null } }) as unknown as Layer;
const refinementOf = (id: number, registration: number, state: Refinement['state'], from: Mat4): Refinement =>
  ({ id, registration, model: 'rigid', state, progress: 0, start: { matrix: from, method: 'hand' }, result: null, accepted: false }) as unknown as Refinement;
const stateOf = (id: number, more: Partial<ToolsState> = {}): ToolsState =>
  ({ id, label: `R${id}`, landmarks: null, refinements: [], decisions: [], ...more }) as unknown as ToolsState;
const setOf = (...ids: number[]) => ({
  pairs: ids.map((id) => ({ id, label: '', reference: [id, 0, 0] as Vec3, moving: [id, 1, 0] as Vec3, residual_mm: 1, by: 'a', at: '' })),
  count: ids.length, mean_mm: 1, rms_mm: 1, max_mm: 1,
});

function made() {
  const [reference, a, b] = [layerOf(1, 0), layerOf(2, 20), layerOf(3, 30)];
  const trials = new Map<number, { matrix: Mat4; words: string }>();
  const scene = {
    layers: [reference, a, b], reference, beside: null as Layer | null, compared: a, looked: null as unknown,
    view: { case: { can: { decide_registration: true } }, layers: [reference, a, b], notices: [] },
    store: { state: { tool: 'window', step: 1 }, patch: vi.fn(), patchLayer: vi.fn() },
    layer: (id: number) => scene.layers.find((one) => one.id === id),
    grid: () => grid,
    matrix: (layer: Layer) => trials.get(layer.registration_id!)?.matrix ?? layer.matrix,
    trying: (layer: Layer) => trials.get(layer.registration_id!)?.words ?? null,
    tryMatrix: (id: number, trial: { matrix: Mat4; words: string } | null) => void (trial ? trials.set(id, trial) : trials.delete(id)),
    look: (looked: unknown) => void (scene.looked = looked),
  };
  const commands = { setBeside: (id: number | null) => void (scene.beside = id === null ? null : scene.layer(id)!), setTool: vi.fn() };
  const api = {
    registration: vi.fn(async (id: number) => stateOf(id)),
    decide: vi.fn(async () => ({})),
    addLandmark: vi.fn(async () => setOf(1)),
    removeLandmark: vi.fn(async () => setOf(1, 2, 3)),
    fitLandmarks: vi.fn(async () => ({ matrix: shiftBy([4, 0, 0]), count: 4, mean_mm: 0, rms_mm: 0, max_mm: 0, pairs: [] })),
    refinement: vi.fn(),
  };
  const attempt = async <T>(act: () => Promise<T>): Promise<T | undefined> => act().catch(() => undefined);
  const hooks = { changed: vi.fn(), remount: vi.fn(async () => {}), refresh: vi.fn(async () => {}), showAlone: vi.fn(), goto: vi.fn() };
  const registering = new Registering(scene as never, commands as never, api as never, { attempt } as never, hooks);
  return { scene, api, hooks, registering, reference, a, b, trials, actions: (registering.panel as unknown as { actions: { decide(decision: string, reason: string): void } }).actions };
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

beforeEach(() => {
  vi.stubGlobal('window', { addEventListener: () => {}, setTimeout: () => 1, clearTimeout: () => {} });
});

describe('landmarks belong to the series they were placed in', () => {
  test('a point beside is kept with the series beside, whatever panel is open', async () => {
    const { registering, scene, api, a, b } = made();
    await registering.open(a, 'landmarks');
    scene.beside = b;
    await registering.mark('reference', [1, 2, 3]);
    await registering.mark('moving', [4, 5, 6]);
    expect(api.addLandmark.mock.calls).toEqual([[30, [1, 2, 3], [4, 5, 6]]]);
    expect(registering.layer?.id).toBe(b.id);
  });

  test('the marks in both panes are those of the series beside', async () => {
    const { registering, scene, api, a, b } = made();
    registering.states.set(20, stateOf(20, { landmarks: setOf(7) as never }));
    registering.states.set(30, stateOf(30, { landmarks: setOf(8, 9) as never }));
    api.registration.mockImplementation(async (id) => registering.states.get(id)!);
    await registering.open(a, 'landmarks');
    scene.beside = b;
    expect(registering.marks('moving').map((mark) => mark.point)).toEqual([[8, 1, 0], [9, 1, 0]]);
    expect(registering.marks('reference').map((mark) => mark.point)).toEqual([[8, 0, 0], [9, 0, 0]]);
  });

  test('an end that waits is not paired with a point of another series', async () => {
    const { registering, scene, api, a, b } = made();
    await registering.open(a, 'landmarks');
    scene.beside = a;
    await registering.mark('moving', [4, 5, 6]);
    scene.beside = b;
    expect(registering.marks('moving')).toEqual([]);
    await registering.mark('reference', [1, 2, 3]);
    expect(api.addLandmark).not.toHaveBeenCalled();
  });

  test('pairs of a registration whose panel never was open are shown after the first is placed', async () => {
    const { registering, scene, api, b } = made();
    scene.beside = b;
    api.registration.mockImplementation(async (id) => stateOf(id, { landmarks: setOf(1) as never }));
    await registering.mark('reference', [1, 2, 3]);
    await registering.mark('moving', [4, 5, 6]);
    await settled();
    expect(registering.marks('moving')).toHaveLength(1);
  });
});

describe('the fit to landmarks', () => {
  async function fitted() {
    const parts = made();
    parts.registering.states.set(20, stateOf(20, { landmarks: setOf(1, 2, 3, 4) as never }));
    parts.api.registration.mockImplementation(async () => parts.registering.states.get(20)!);
    await parts.registering.open(parts.a, 'landmarks');
    const panel = parts.registering as unknown as { fitLandmarks(): Promise<void>; save(remark: string): Promise<boolean>; landmarks(id: number, act: () => Promise<unknown>): Promise<void> };
    await panel.fitLandmarks();
    return { ...parts, panel };
  }

  test('is saved with the matrix that the reader saw', async () => {
    const { api, panel } = await fitted();
    await panel.save('seen');
    expect(api.decide).toHaveBeenCalledWith(20, { decision: 'nudged', method: 'landmarks', matrix: shiftBy([4, 0, 0]), reason: 'seen' });
  });

  test('is no fit any more once the pairs changed', async () => {
    const { api, panel, registering, trials } = await fitted();
    expect(registering.aligning.isFit).toBe(true);
    await panel.landmarks(20, () => api.removeLandmark());
    expect(registering.aligning.isFit).toBe(false);
    expect(trials.get(20)!.words).not.toContain('landmarks');
  });

  test('nor once somebody else changed them', async () => {
    const { api, registering } = await fitted();
    api.registration.mockImplementation(async () => stateOf(20, { landmarks: setOf(1, 2, 5) as never }));
    await registering.fetch();
    expect(registering.aligning.isFit).toBe(false);
  });
});

describe('an alignment that is not saved', () => {
  async function moved(state: Refinement['state'], verdict = 'usable') {
    const parts = made();
    await parts.registering.open(parts.a, 'align');
    await settled();
    parts.registering.aligning.begin(parts.a);
    parts.registering.aligning.set({ translate: [3, 0, 0], degrees: [0, 0, 0] });
    const matrix = parts.registering.aligning.session!.alignment.matrix;
    const one = { ...refinementOf(9, 20, state, matrix), result: state === 'done' ? { verdict } : null } as Refinement;
    parts.registering.states.set(20, stateOf(20, { refinements: [one] }));
    const ask = parts.registering.leaveDialog.ask as unknown as ReturnType<typeof vi.fn>;
    ask.mockResolvedValue('stay');
    return { ...parts, ask };
  }

  test.each(['failed', 'cancelled', 'discarded'] as const)('is asked for when its refinement was %s', async (state) => {
    const { registering, ask } = await moved(state);
    expect(await registering.leave()).toBe(false);
    expect(ask).toHaveBeenCalledOnce();
  });

  test.each(['queued', 'running', 'done'] as const)('is handed over to a refinement that is %s', async (state) => {
    const { registering, ask } = await moved(state);
    expect(await registering.leave()).toBe(true);
    expect(ask).not.toHaveBeenCalled();
  });

  test('is not handed over to a refinement that was refused', async () => {
    const { registering } = await moved('done', 'refused');
    expect(await registering.leave()).toBe(false);
  });

  test('is saved with its remark from the question too', async () => {
    const { registering, ask, api } = await moved('failed');
    ask.mockResolvedValue('save');
    expect(await registering.leave()).toBe(true);
    expect(api.decide.mock.calls[0]).toMatchObject([20, { decision: 'nudged', reason: 'Breathing' }]);
  });
});

describe('what is tried ends with the layer', () => {
  test('a preview leaves no badge behind when the case was analysed again', async () => {
    const { registering, scene, trials, a, b } = made();
    await registering.open(a, 'refine');
    const result = { matrix: shiftBy([1, 0, 0]), model: 'affine', layer: null };
    await (registering as unknown as { preview(one: unknown): Promise<void> }).preview({ ...refinementOf(9, 20, 'done', IDENTITY), result });
    expect(trials.get(20)!.words).toContain('Preview');
    scene.layers = scene.layers.filter((layer) => layer !== a);
    registering.update();
    expect(trials.size).toBe(0);
    expect(scene.looked).toBeNull();
    await registering.open(b);
    registering.update();
    const update = registering.panel.update as unknown as ReturnType<typeof vi.fn>;
    expect(update.mock.lastCall![0].trying).toBeNull();
  });
});

describe('asking the server', () => {
  test('an older answer that comes late changes nothing', async () => {
    const { registering, api, a } = made();
    const answers: ((state: ToolsState) => void)[] = [];
    api.registration.mockImplementation(() => new Promise((resolve) => answers.push(resolve)));
    await registering.open(a);
    const second = registering.fetch();
    answers[1]!(stateOf(20, { label: 'new' }));
    await second;
    answers[0]!(stateOf(20, { label: 'old' }));
    await settled();
    expect(registering.states.get(20)!.label).toBe('new');
  });

  test('goes on while a refinement is under way, a lost answer notwithstanding', async () => {
    const { registering, api, a } = made();
    const waits = vi.fn(() => 1);
    vi.stubGlobal('window', { addEventListener: () => {}, setTimeout: waits, clearTimeout: () => {} });
    api.registration.mockResolvedValue(stateOf(20, { refinements: [refinementOf(9, 20, 'running', IDENTITY)] }));
    await registering.open(a);
    await settled();
    expect(waits).toHaveBeenCalledTimes(1);
    api.registration.mockRejectedValue(new Error('away'));
    await registering.fetch();
    expect(waits).toHaveBeenCalledTimes(2);
  });

  test('the reason is put away with the decision it belongs to', async () => {
    const { registering, actions, a } = made();
    await registering.open(a);
    const { decided } = registering.panel as unknown as { decided: ReturnType<typeof vi.fn> };
    actions.decide('rejected', 'wrong patient');
    await settled();
    await settled();
    expect(decided).toHaveBeenCalledOnce();
  });
});
