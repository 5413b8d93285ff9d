import { describe, expect, it } from 'vitest';
import { SlowLineWatch, WEAK_BYTES_PER_SECOND } from '../src/viewer/drawing-mode';

describe('who draws', () => {
  const slow = WEAK_BYTES_PER_SECOND / 2;

  it('turns to the server once the line was slow three times in a row', () => {
    const watch = new SlowLineWatch(() => true);
    expect([slow, slow, slow, slow].map((rate) => watch.measured(rate, true))).toEqual([false, false, true, false]);
  });

  it('starts to count anew after a fast measurement', () => {
    const watch = new SlowLineWatch(() => true);
    expect([slow, slow, 2 * WEAK_BYTES_PER_SECOND, slow, slow].map((rate) => watch.measured(rate, true))).not.toContain(true);
  });

  it('says nothing about a line that owes nothing or was never measured', () => {
    const watch = new SlowLineWatch(() => true);
    expect([0, 0, 0].map((rate) => watch.measured(rate, true))).not.toContain(true);
    expect([slow, slow, slow].map((rate) => watch.measured(rate, false))).not.toContain(true);
  });

  it('leaves a reader who chose alone', () => {
    const watch = new SlowLineWatch(() => false);
    expect([slow, slow, slow].map((rate) => watch.measured(rate, true))).not.toContain(true);
  });
});
