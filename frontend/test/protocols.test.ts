import { beforeEach, describe, expect, test } from 'vitest';
import { takePreferences } from '../src/preferences';
import { mismatch } from '../src/viewer/identity';
import { type Fused, planOf } from '../src/viewer/pane-spec';
import { chooseProtocol, offered, PLAIN, PROTOCOLS } from '../src/viewer/protocols';
import type { Layer } from '../src/viewer/types';

let next = 1;
function layer(modality: string, role: string, code: string, more: Partial<Layer> = {}): Layer {
  const id = next++;
  return { id, kind: 'series', modality, role, label: role, series_role: { code, label: code, reason: '', by_hand: false }, prior: false, registration_id: id, fusion: { fused: true }, ...more } as Layer;
}
const REFERENCE = { registration_id: null, fusion: { fused: false, state: 'reference' } } as unknown as Partial<Layer>;

/** One case of the kind that each protocol is for: pathway, and its series, the reference first. */
const CASES: Record<string, { pathway: string; layers: Layer[] }> = {
  stroke: { pathway: 'stroke', layers: [layer('CT', 'CT', 'CT_NATIVE', REFERENCE), layer('CT', 'CT', 'CTA')] },
  heart: { pathway: 'heart', layers: [layer('CT', 'CT', 'CTA', REFERENCE), layer('MR', 'MR', 'MR_LGE')] },
  'glioma-pet': { pathway: 'glioma', layers: [layer('MR', 'T1c', 'MR_T1C', REFERENCE), layer('MR', 'FLAIR', 'MR_FLAIR'), layer('MR', 'T2', 'MR_T2'), layer('MR', 'MR', 'MR_ADC'), layer('PT', 'PET', 'PET_AC')] },
  glioma: { pathway: 'glioma', layers: [layer('MR', 'T1c', 'MR_T1C', REFERENCE), layer('MR', 'FLAIR', 'MR_FLAIR'), layer('MR', 'T2', 'MR_T2'), layer('MR', 'T1', 'MR_T1')] },
  prior: { pathway: 'lung', layers: [layer('CT', 'CT', 'CT_NATIVE', REFERENCE), layer('CT', 'CT', 'CT_NATIVE', { prior: true })] },
  'pet-ct': { pathway: 'lung', layers: [layer('CT', 'CT', 'CT_AC', REFERENCE), layer('PT', 'PET', 'PET_AC')] },
  mpr: { pathway: 'lung', layers: [layer('CT', 'CT', 'CT', REFERENCE)] },
};
const content = ({ layers }: { layers: Layer[] }) => ({ layers, reference: layers[0]! });
const fused = ({ layers }: { layers: Layer[] }): Fused => ({ reference: layers[0]!, layers, overlays: layers.slice(1).filter((one) => one.fusion.fused) });

beforeEach(() => takePreferences({ 'viewer.layouts': {} }));

describe('hanging protocols', () => {
  test.each(Object.entries(CASES))('a case of its kind is shown in %s', (id, one) => {
    expect(chooseProtocol(content(one), one.pathway, null).id).toBe(id);
  });

  test('every shipped protocol is offered for some case, with all its panes filled', () => {
    for (const protocol of PROTOCOLS) {
      const found = Object.values(CASES).filter((one) => offered(content(one)).includes(protocol));
      expect(found.length, protocol.id).toBeGreaterThan(0);
      expect(found.some((one) => protocol.panes.every((spec) => planOf(spec, fused(one)) !== null)), protocol.id).toBe(true);
    }
  });

  test('its template has a place for each pane and for the side panel, and names nothing else', () => {
    for (const { id, panes, template } of PROTOCOLS) {
      const areas = new Set([...template.matchAll(/"([^"]*)"/g)].flatMap((match) => match[1]!.split(' ')));
      expect(areas, id).toEqual(new Set([...panes.map((spec) => spec.id), 'side']));
      const widths = new Set([...template.matchAll(/"([^"]*)"/g)].map((match) => match[1]!.split(' ').length));
      expect(widths.size, id).toBe(1);
      expect(new Set(panes.map((spec) => spec.id)).size, id).toBe(panes.length);
    }
  });

  test('the reader’s choice for the case comes first, then the one for the pathway, where they suit', () => {
    const one = CASES['pet-ct']!;
    takePreferences({ 'viewer.layouts': { lung: 'pet-ct-planes', glioma: 'one' } });
    expect(chooseProtocol(content(one), 'lung', null).id).toBe('pet-ct-planes');
    expect(chooseProtocol(content(one), 'lung', 'mpr').id).toBe('mpr');
    expect(chooseProtocol(content(one), 'lung', 'stroke').id).toBe('pet-ct-planes');
    expect(chooseProtocol(content(one), 'heart', null).id).toBe('pet-ct');
  });

  test('a case that suits none has the three planes', () => {
    const one = { layers: [layer('MR', 'MR', 'MR_OTHER', REFERENCE)] };
    expect(chooseProtocol(content(one), '', null)).toBe(PLAIN);
  });
});

describe('what a pane may show', () => {
  test('a series that is not fused is its own pane, with nothing over it', () => {
    const reference = layer('CT', 'CT', 'CT', REFERENCE);
    const loose = layer('PT', 'PET', 'PET_AC', { fusion: { fused: false } as Layer['fusion'] });
    const heatmap = layer('OT', 'OTHER', '', { kind: 'heatmap' });
    const all: Fused = { reference, layers: [reference, loose, heatmap], overlays: [heatmap] };
    for (const protocol of PROTOCOLS) {
      for (const spec of protocol.panes) {
        const plan = planOf(spec, all);
        if (!plan) continue;
        expect(plan.overlays.every((over) => over.id !== loose.id), `${protocol.id} ${spec.id}`).toBe(true);
        if (plan.base.id === loose.id) expect([plan.linked, plan.overlays]).toEqual([false, []]);
      }
    }
  });

  test('an accepted deformation stands in for its own volume, and not while that one is moved by hand', () => {
    const reference = layer('CT', 'CT', 'CT', REFERENCE);
    const pet = layer('PT', 'PET', 'PET_AC');
    const made = layer('PT', 'PET', '', { kind: 'deformed', registration_id: pet.registration_id, deformed: { registration: pet.registration_id!, refinement: 1, of: pet.id, outside_share: 0 } });
    const spec = PROTOCOLS.find(({ id }) => id === 'pet-ct')!.panes.find(({ id }) => id === 'pet')!;
    const all: Fused = { reference, layers: [reference, pet, made], overlays: [pet, made] };
    expect(planOf(spec, all)!.base.id).toBe(made.id);
    expect(planOf(spec, { ...all, tried: (one) => one.id === pet.id })!.base.id).toBe(pet.id);
    const other = { ...made, deformed: { ...made.deformed!, of: pet.id + 100 } };
    expect(planOf(spec, { ...all, layers: [reference, pet, other], overlays: [pet, other] })!.base.id).toBe(pet.id);
  });

  test('a prior never stands in for the current series', () => {
    const { layers } = CASES['prior']!;
    for (const { panes } of PROTOCOLS) {
      for (const spec of panes) {
        const plan = planOf(spec, fused({ layers }));
        if (plan) expect(plan.base.prior).toBe(spec.id.startsWith('earlier'));
      }
    }
  });
});

describe('identity', () => {
  const view = { case: { id: 7 }, patient: { patient_id: 'P1', issuer: 'A' } } as never;
  test('a view of another case, patient or issuer is not drawn', () => {
    expect(mismatch({ caseId: 7, patientId: 'P1', issuer: 'A' }, view)).toBeNull();
    expect(mismatch({ caseId: 7, patientId: null, issuer: null }, view)).toBeNull();
    expect(mismatch({ caseId: 8, patientId: 'P1', issuer: 'A' }, view)).toContain('case 8');
    expect(mismatch({ caseId: 7, patientId: 'P2', issuer: 'A' }, view)).toContain('not the patient');
    expect(mismatch({ caseId: 7, patientId: 'P1', issuer: 'B' }, view)).toContain('not the patient');
  });
});
