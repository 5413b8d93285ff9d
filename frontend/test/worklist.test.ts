import { expect, test } from 'vitest';
import { askedOf, moved, withFilter } from '../src/pages/worklist';

test('a saved filter holds what was asked for, and nothing else of the address', () => {
  expect(askedOf('?tab=all&q=&modality=PT&page=3&next=%2F&order=-patient')).toBe('tab=all&modality=PT&order=-patient');
  expect(askedOf('')).toBe('');
});

test('a filter is kept once by its name, and only one comes first', () => {
  const old = { name: 'PET', query: 'modality=PT', default: true };
  const list = withFilter([old], { name: 'MR', query: 'modality=MR', default: true });
  expect(list.map((one) => [one.name, one.default])).toEqual([['PET', false], ['MR', true]]);
  expect(withFilter(list, { ...old, query: 'tab=all', default: false })).toHaveLength(2);
});

test('a column moves by one place and stays inside', () => {
  expect(moved(['a', 'b', 'c'], 'c', -1)).toEqual(['a', 'c', 'b']);
  expect(moved(['a', 'b', 'c'], 'a', 1)).toEqual(['b', 'a', 'c']);
  expect(moved(['a', 'b'], 'a', -1)).toEqual(['a', 'b']);
  expect(moved(['a', 'b'], 'x', 1)).toEqual(['a', 'b']);
});
