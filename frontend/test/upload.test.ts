import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { checksum, markOf } from '../src/upload/mark';
import { aboutDisc } from '../src/upload/page';
import { Sender, type Item, type Status, type Transport, type Trouble } from '../src/upload/sending';
import { troubleOf } from '../src/upload/transport';
import { bytes, describe as inWords, duration, Speed } from '../src/upload/words';

type Handlers = Parameters<Transport>[1];
const item = (path: string, size = 100): Item => ({
  file: { size } as File,
  path,
  sent: 0,
  state: 'waiting',
});

/** A server by hand: which files are on their way, and what becomes of them. */
function stage(count: number) {
  const under = new Map<string, Handlers>();
  const aborted: string[] = [];
  const statuses: Status[] = [];
  let answers = false;
  const transport: Transport = (one, handlers) => {
    under.set(one.path, handlers);
    return {
      abort: () => {
        under.delete(one.path);
        aborted.push(one.path);
      },
    };
  };
  const items = Array.from({ length: count }, (_, index) => item(`f${index}`));
  const sender = new Sender(items, transport, async () => answers, (status) => statuses.push(status));
  const on = (path: string): Handlers => {
    const handlers = under.get(path);
    if (!handlers) throw new Error(`${path} is not on its way`);
    under.delete(path);
    return handlers;
  };
  return {
    sender, items, under, aborted, statuses,
    done: (path: string) => on(path).done(),
    trouble: (path: string, trouble: Trouble) => on(path).trouble(trouble),
    answer: () => (answers = true),
  };
}

describe('sending', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('has four files on their way, and ends when each is there', () => {
    const { sender, under, done, statuses } = stage(6);
    sender.go();
    expect([...under.keys()]).toEqual(['f0', 'f1', 'f2', 'f3']);
    done('f2');
    expect([...under.keys()]).toEqual(['f0', 'f1', 'f3', 'f4']);
    for (const path of ['f0', 'f1', 'f3', 'f4', 'f5']) done(path);
    expect(statuses.at(-1)).toBe('ended');
    expect(sender.doneFiles).toBe(6);
    expect(sender.sentBytes).toBe(600);
  });

  it('does not send what arrived before', () => {
    const { sender, items, under } = stage(3);
    items[0]!.state = 'done';
    sender.go();
    expect([...under.keys()]).toEqual(['f1', 'f2']);
    expect(sender.sentBytes).toBe(100);
  });

  it('stops everything in a pause and goes on with the same files', () => {
    const { sender, under, aborted, done } = stage(5);
    sender.go();
    done('f0');
    sender.pause();
    expect(aborted).toEqual(['f1', 'f2', 'f3', 'f4']);
    expect(under.size).toBe(0);
    sender.go();
    expect([...under.keys()]).toEqual(['f1', 'f2', 'f3', 'f4']);
  });

  it('waits for a lost server, however long, and goes on by itself', async () => {
    const { sender, under, trouble, statuses, answer } = stage(2);
    sender.go();
    trouble('f0', { kind: 'lost' });
    expect(sender.status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(600_000);
    expect(sender.status).toBe('reconnecting');
    answer();
    await vi.advanceTimersByTimeAsync(31_000);
    expect(statuses.at(-1)).toBe('sending');
    expect([...under.keys()]).toEqual(['f0', 'f1']);
    expect(sender.failed).toEqual([]);
  });

  it('lets one bad file not stop the others, and tries it again on request', () => {
    const { sender, trouble, done } = stage(2);
    sender.go();
    trouble('f0', { kind: 'file', reason: 'too large' });
    done('f1');
    expect(sender.status).toBe('ended');
    expect(sender.failed.map(({ path, reason }) => [path, reason])).toEqual([['f0', 'too large']]);
    sender.again();
    done('f0');
    expect(sender.failed).toEqual([]);
    expect(sender.status).toBe('ended');
  });

  it('stops with the reason when a person has to act', () => {
    const { sender, trouble, under } = stage(2);
    sender.go();
    trouble('f1', { kind: 'stop', reason: 'disk full' });
    expect([sender.status, sender.reason]).toEqual(['stopped', 'disk full']);
    expect(under.size).toBe(0);
    sender.go();
    expect(under.size).toBe(2);
  });

  it('ignores what a stopped transport still says', () => {
    const { sender, under, items } = stage(1);
    sender.go();
    const late = under.get('f0')!;
    sender.pause();
    late.done();
    late.trouble({ kind: 'lost' });
    expect(sender.status).toBe('paused');
    expect(items[0]!.state).toBe('waiting');
  });
});

describe('what an answer means', () => {
  it('tells a lost server from a refused file and from what a person must put right', () => {
    expect(troubleOf(0, '')).toEqual({ kind: 'lost' });
    expect(troubleOf(502, '<html>')).toEqual({ kind: 'lost' });
    expect(troubleOf(409, '{"detail": "go on from there"}')).toEqual({ kind: 'lost' });
    expect(troubleOf(413, '{"detail": "too large"}')).toEqual({ kind: 'file', reason: 'too large' });
    expect(troubleOf(507, '{"detail": "no room"}')).toEqual({ kind: 'stop', reason: 'no room' });
    expect(troubleOf(401, '').kind).toBe('stop');
  });
});

describe('words', () => {
  it('tell counts without zeros', () => {
    expect(inWords({ stored: 3000, repeated: 0, quarantined: 1, ignored: 0 })).toBe('3,000 stored, 1 not accepted');
    expect(inWords({ stored: 0, repeated: 0, quarantined: 0, ignored: 0 })).toBe('nothing yet');
  });
  it('tell sizes and times', () => {
    expect([bytes(0), bytes(999), bytes(530_000), bytes(1_060_000_000)]).toEqual(['0 bytes', '999 bytes', '530 kB', '1.1 GB']);
    expect([duration(0.2), duration(59), duration(150), duration(5400)]).toEqual(['1 s', '59 s', '3 min', '1 h 30 min']);
  });
  it('tell the speed of the last ten seconds only', () => {
    const speed = new Speed();
    expect(speed.value).toBe(0);
    for (let second = 0; second <= 60; second += 1) speed.note(second * 1000, second < 30 ? second * 100 : 2900 + (second - 29) * 500);
    expect(speed.value).toBeCloseTo(500, 0);
    speed.restart();
    expect(speed.value).toBe(0);
  });
  it('tell what a disc lacks', () => {
    const disc = { name: 'CD/DICOMDIR', listed: 412, missing: 2, unreadable: 1, names: ['A/1', 'A/2', 'A/3'] };
    expect(aboutDisc(disc)).toBe(
      'CD/DICOMDIR: the disc lists 412 files, 2 are missing and 1 could not be accepted: A/1, A/2, A/3.',
    );
    expect(aboutDisc({ ...disc, missing: 0, unreadable: 0, names: [] })).toContain('all 412 files');
  });
});

describe('what tells a file from another', () => {
  const file = (text: string, lastModified = 5) => new File([text], 'IM000001', { lastModified });

  it('is its date and its beginning', async () => {
    expect(await markOf(file('a slice'))).toBe(await markOf(file('a slice')));
    expect(await markOf(file('a slice'))).not.toBe(await markOf(file('b slice')));
    expect(await markOf(file('a slice', 6))).not.toBe(await markOf(file('a slice')));
    expect(await markOf(file('a slice'))).toMatch(/^5[0-9]{10}$/);
  });

  it('uses FNV-1a, with its published test vectors', () => {
    const of = (text: string) => checksum(new TextEncoder().encode(text));
    expect(of('')).toBe(0x811c9dc5);
    expect(of('a')).toBe(0xe40c292c);
    expect(of('foobar')).toBe(0xbf9cf968);
  });

  it('is there for a file that cannot be read', async () => {
    const gone = { lastModified: 7, slice: () => { throw new Error('gone'); } } as unknown as File;
    expect(await markOf(gone)).toMatch(/^7[0-9]{10}$/);
  });
});
