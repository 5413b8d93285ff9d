import { describe, expect, it } from 'vitest';
import { bodyOf, earlierChoices, entriesOf, find, keyOf } from '../src/viewer/priors/choices';
import type { Change, Item, Pair, Prior, Priors } from '../src/viewer/priors/types';

const item = (kind: Item['kind'], id: number, of = 1): Item => ({ kind, id, name: `${kind} ${id}`, label: '', case: of, date: '2026-11-22', position: null, outdated: '' });
const prior = (change: Partial<Prior>): Prior => ({
  study: 7, date: '2026-05-26', description: 'Chest CT', accession: '', modalities: ['CT'], site: '', patient: { name: '', patient_id: 'P', issuer: '' }, linked: false,
  reason: '', days: 180, case: 2, case_state: 'Signed', view: '/api/cases/2/view/', in_case: false, layers: [], can_register: true, why_not: '', can_take_out: false, ...change,
});
const priors: Priors = {
  case: 1, date: '2026-11-22', can: { pair: true, register: true }, priors: [], pairs: [], sums: [], proposals: [],
  current: [item('measurement', 1), item('measurement', 2), item('finding', 5)],
  earlier: { 2: [item('finding', 9, 2), item('measurement', 3, 2)] },
};

describe('what may be paired', () => {
  it('offers the sizes of the case in which the prior was read', () => {
    expect(earlierChoices(priors, prior({})).map(({ value }) => value)).toEqual(['finding:9', 'measurement:3']);
    expect(earlierChoices(priors, prior({ case: null }))).toEqual([]);
    expect(earlierChoices(priors, prior({ case: 99 }))).toEqual([]);
  });

  it('offers measurements of this case with the study they were made on, never findings: those are of the current images', () => {
    expect(earlierChoices(priors, prior({ case: null, in_case: true })).map(({ value }) => value)).toEqual(['measurement:1:7', 'measurement:2:7']);
  });

  it('asks for a pair of two different things', () => {
    expect(bodyOf('measurement:1', 'finding:9', false)).toEqual({ current: { kind: 'measurement', id: 1 }, earlier: { kind: 'finding', id: 9 }, study: null, is_node: false });
    expect(bodyOf('measurement:1', 'measurement:2:7', true)).toEqual({ current: { kind: 'measurement', id: 1 }, earlier: { kind: 'measurement', id: 2 }, study: 7, is_node: true });
    for (const [now, then] of [['', 'finding:9'], ['measurement:1', ''], ['measurement:1', 'measurement:1:7'], ['arrow:1', 'finding:9'], ['finding:0', 'finding:9']]) {
      expect(bodyOf(now!, then!, false)).toBeNull();
    }
  });

  it('finds by kind and number', () => {
    expect(find(priors.current, { kind: 'finding', id: 5 })?.name).toBe('finding 5');
    expect(find(priors.current, { kind: 'measurement', id: 5 })).toBeUndefined();
    expect(keyOf({ kind: 'finding', id: 5 })).toBe('finding:5');
  });

  it('tells the past of a lesion newest first, and nothing of what is not to be seen', () => {
    const change: Change = { date: '2026-05-26', days: 180, rows: [], doubling: null, notes: [], sentence: '' };
    const pair: Pair = {
      id: 1, study: 7, is_node: false, proposed_mm: null, by: '', at: '', current: item('measurement', 1), earlier: item('finding', 9, 2), change,
      history: [{ earlier: item('finding', 4, 3), change: { ...change, days: 700 } }],
    };
    expect(entriesOf(pair).map((entry) => entry.change.days)).toEqual([180, 700]);
    expect(entriesOf({ ...pair, earlier: null, change: null, history: [] })).toEqual([]);
  });
});
