import { expect, test } from 'vitest';
import { countdown, elapsed, nextRow, rowOfKey } from '../src/pages/widgets';

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

test('Home and End reach the ends; other keys are not for the list', () => {
  expect(rowOfKey('Home', 3, 5)).toBe(0);
  expect(rowOfKey('End', -1, 5)).toBe(4);
  expect(rowOfKey('ArrowDown', -1, 5)).toBe(0);
  expect(rowOfKey('x', 1, 5)).toBeNull();
});

test('the countdown says how long is left, warns near the end, then says how long it is over', () => {
  const due = new Date('2026-01-01T02:00:00Z');
  const warn = new Date('2026-01-01T01:45:00Z');
  const at = (time: string): object => countdown(due, warn, new Date(`2026-01-01T${time}Z`));
  expect(at('00:00:00')).toEqual({ state: 'ok', text: '2 h 00 left' });
  expect(at('01:45:00')).toEqual({ state: 'soon', text: '15 min left' });
  expect(at('02:00:00')).toEqual({ state: 'over', text: '0 min over' });
  expect(at('05:10:00')).toEqual({ state: 'over', text: '3 h 10 over' });
});
