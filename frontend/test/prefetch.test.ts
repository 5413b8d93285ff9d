import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IDLE_MS, Prefetch } from '../src/viewer/prefetch';

describe('fetching ahead', () => {
  let next: number[];
  let asked: (readonly number[])[];
  let stops: AbortSignal[];
  let prefetch: Prefetch;

  beforeEach(() => {
    vi.useFakeTimers();
    [next, asked, stops] = [[7, 8], [], []];
    prefetch = new Prefetch({
      next: () => next,
      want: (more) => asked.push(more),
      warmNextCase: (stop) => {
        stops.push(stop);
        return new Promise(() => undefined);
      },
    });
  });
  afterEach(() => void vi.useRealTimers());

  it('begins only when all is here and the reader rests', () => {
    vi.advanceTimersByTime(10 * IDLE_MS);
    expect(asked).toEqual([]);
    prefetch.done();
    vi.advanceTimersByTime(IDLE_MS - 1);
    prefetch.busy();
    vi.advanceTimersByTime(IDLE_MS - 1);
    expect(asked).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(asked).toEqual([[7, 8]]);
  });

  it('is taken back the moment the reader does something, and begins again later', () => {
    prefetch.done();
    vi.advanceTimersByTime(IDLE_MS);
    prefetch.busy();
    expect(asked).toEqual([[7, 8], []]);
    // The stream says that what is still wanted is complete.
    prefetch.done();
    vi.advanceTimersByTime(IDLE_MS);
    expect(asked).toEqual([[7, 8], [], [7, 8]]);
  });

  it('never runs beside what the reader waits for', () => {
    prefetch.done();
    prefetch.wanting();
    vi.advanceTimersByTime(10 * IDLE_MS);
    prefetch.busy();
    vi.advanceTimersByTime(10 * IDLE_MS);
    expect(asked).toEqual([]);
  });

  it('turns to the next case when no series is left, and lets go of it at once', () => {
    prefetch.done();
    vi.advanceTimersByTime(IDLE_MS);
    next = [];
    prefetch.done();
    vi.advanceTimersByTime(IDLE_MS);
    expect(stops).toHaveLength(1);
    expect(stops[0]!.aborted).toBe(false);
    prefetch.busy();
    expect(stops[0]!.aborted).toBe(true);
  });
});
