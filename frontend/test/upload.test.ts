import { describe, expect, it } from 'vitest';
import { batches, describe as inWords, type Picked } from '../src/upload';

const MB = 1024 * 1024;
const picked = (size: number, path = 'f'): Picked => ({ file: { size } as File, path });

describe('batches', () => {
  it('holds at most 50 files', () => {
    const sizes = batches(Array.from({ length: 120 }, () => picked(10))).map((batch) => batch.length);
    expect(sizes).toEqual([50, 50, 20]);
  });
  it('holds at most 32 MB, and a larger file travels alone', () => {
    const files = [picked(20 * MB), picked(20 * MB), picked(900 * MB), picked(1), picked(2)];
    expect(batches(files).map((batch) => batch.length)).toEqual([1, 1, 1, 2]);
  });
  it('keeps every file, in order', () => {
    const files = Array.from({ length: 77 }, (_, index) => picked(MB, `${index}`));
    expect(batches(files).flat()).toEqual(files);
  });
  it('makes nothing of nothing', () => {
    expect(batches([])).toEqual([]);
  });
});

describe('what became of the files', () => {
  it('is told without zero counts', () => {
    expect(inWords({ stored: 3, repeated: 0, quarantined: 1, ignored: 0 })).toBe('3 stored, 1 not accepted');
    expect(inWords({ stored: 0, repeated: 0, quarantined: 0, ignored: 0 })).toBe('nothing yet');
  });
});
