import { expect, test } from 'vitest';
import { elapsed, nextRow } from '../src/pages/widgets';

test('arrow keys enter the list at its near end and stay inside it', () => {
  expect(nextRow(-1, 1, 5)).toBe(0);
  expect(nextRow(-1, -1, 5)).toBe(4);
  expect(nextRow(2, 1, 5)).toBe(3);
  expect(nextRow(4, 1, 5)).toBe(4);
  expect(nextRow(0, -1, 5)).toBe(0);
});

test('waiting time reads as minutes, hours, days', () => {
  const from = new Date('2026-01-01T00:00:00Z');
  const after = (minutes: number): string => elapsed(from, new Date(from.getTime() + minutes * 60_000));
  expect(after(-3)).toBe('0 min');
  expect(after(59)).toBe('59 min');
  expect(after(65)).toBe('1 h 05');
  expect(after(72 * 60)).toBe('3 d');
});
