import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { preference, savePreference, takePreferences } from '../src/preferences';

interface Sent {
  url: string;
  value: unknown;
}
const sent: Sent[] = [];
let answers: (() => Promise<Response>)[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  sent.length = 0;
  answers = [];
  vi.stubGlobal('document', { querySelector: () => null, cookie: '' });
  vi.stubGlobal('fetch', (url: string, options: { body: string }) => {
    sent.push({ url, value: (JSON.parse(options.body) as { value: unknown }).value });
    return (answers.shift() ?? (() => Promise.resolve(new Response(null, { status: 204 }))))();
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('preferences', () => {
  it('are known at once and sent', async () => {
    const done = savePreference('viewer.mouse', { left: 'scroll' });
    expect(preference('viewer.mouse')).toEqual({ left: 'scroll' });
    await done;
    expect(sent).toEqual([{ url: '/api/preferences/viewer.mouse/', value: { left: 'scroll' } }]);
  });

  it('end at the last value when it changes while the first is under way', async () => {
    const first = savePreference('viewer.keys', { a: 1 });
    const last = savePreference('viewer.keys', { a: 2 });
    await Promise.all([first, last]);
    expect(sent.map((one) => one.value)).toEqual([{ a: 1 }, { a: 2 }]);
  });

  it('are not put back by an older view that comes meanwhile', async () => {
    const saving = savePreference('viewer.display', { text: false });
    takePreferences({ 'viewer.display': { text: true }, 'viewer.layouts': { pet: '3x3' } });
    expect(preference('viewer.display')).toEqual({ text: false });
    expect(preference('viewer.layouts')).toEqual({ pet: '3x3' });
    await saving;
    takePreferences({ 'viewer.display': { text: true } });
    expect(preference('viewer.display')).toEqual({ text: true });
  });

  it('are sent again when the line is down or the server fails', async () => {
    answers = [() => Promise.reject(new TypeError('no line')), () => Promise.resolve(new Response(null, { status: 503 }))];
    const saving = savePreference('worklist.columns', ['patient']);
    await vi.advanceTimersByTimeAsync(10_000);
    await saving;
    expect(sent).toHaveLength(3);
  });

  it('count null as not kept', async () => {
    await savePreference('language', null);
    expect(preference('language')).toBeUndefined();
  });
});
