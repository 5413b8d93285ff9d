/** The requests around the bytes: open or continue an upload, ask how it stands, end it. */
import { t } from '../i18n';
import { csrfToken } from '../pages/csrf';
import { markOf } from './mark';
import type { Item } from './sending';
import type { Picked } from './picking';
import type { Counts } from './words';

export interface Started {
  id: number;
  continued: boolean;
  files_url: string;
  known_url: string;
  state_url: string;
  finish_url: string;
}
export interface Disc {
  name: string;
  listed: number;
  missing: number;
  unreadable: number;
  names: string[];
}
export interface State {
  finished: boolean;
  files: number;
  counts: Counts;
  refused: { name: string; reason: string }[];
  opening: { name: string; entries: number; done: number }[];
  discs: Disc[];
}
type Known = null | { done: true } | { done: false; offset: number; url: string };

const SAMPLE = 200;
const ASKED_AT_ONCE = 1000;
const TRIES = 5;

/** The server said no, in words; asking the same again cannot help. */
export class Refused extends Error {}

async function ask(url: string, form?: FormData): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    const answer = await answerOf(url, form);
    if (answer.ok && answer.body !== null) return answer.body;
    const said = (answer.body as { detail?: unknown } | null)?.detail;
    if (answer.status !== 423 && typeof said === 'string') throw new Refused(said);
    if (answer.status === 200) throw new Refused(t('You are signed out. Reload the page and sign in.'));
    if (tries >= TRIES) throw new Error(t('The server cannot be reached ({status}).', { status: answer.status }));
    await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tries));
  }
}

async function answerOf(url: string, form?: FormData): Promise<{ ok: boolean; status: number; body: unknown }> {
  const headers = { 'X-CSRFToken': csrfToken(), Accept: 'application/json' };
  try {
    const response = await fetch(url, form ? { method: 'POST', body: form, headers } : { headers });
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    return { ok: response.ok, status: response.status, body: isJson ? await response.json() : null };
  } catch {
    return { ok: false, status: 0, body: null };
  }
}

async function listed(picked: Picked[]): Promise<string> {
  const marked = picked.map(async ({ file, path }) => [path, file.size, await markOf(file)]);
  return JSON.stringify(await Promise.all(marked));
}

/** Opens an upload, or the unfinished one that holds some of these files already. */
export async function start(url: string, form: HTMLFormElement, picked: Picked[]): Promise<Started> {
  const body = new FormData(form);
  body.set('files', String(picked.length));
  body.set('bytes', String(picked.reduce((sum, { file }) => sum + file.size, 0)));
  body.set('sample', await listed(picked.slice(0, SAMPLE)));
  return (await ask(url, body)) as Started;
}

/** Every picked file with what the server has of it. */
export async function known(started: Started, picked: Picked[]): Promise<Item[]> {
  const items: Item[] = picked.map((one) => ({ ...one, sent: 0, state: 'waiting' }));
  if (!started.continued) return items;
  for (let first = 0; first < items.length; first += ASKED_AT_ONCE) {
    const portion = items.slice(first, first + ASKED_AT_ONCE);
    const body = new FormData();
    body.set('files', await listed(portion));
    const { files } = (await ask(started.known_url, body)) as { files: Known[] };
    portion.forEach((item, index) => take(item, files[index] ?? null));
  }
  return items;
}

function take(item: Item, what: Known): void {
  if (what === null) return;
  if (what.done) {
    item.state = 'done';
  } else {
    item.url = what.url;
    item.sent = what.offset;
  }
}

export async function state(started: Started): Promise<State> {
  return (await ask(started.state_url)) as State;
}

/** One question, no patience: does the server answer? */
export async function reachable(started: Started): Promise<boolean> {
  const { status } = await answerOf(started.state_url);
  return status > 0 && status < 500;
}

export async function finish(started: Started): Promise<State> {
  return (await ask(started.finish_url, new FormData())) as State;
}
