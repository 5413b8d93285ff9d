/**
 * The upload page: files, folders and ZIP archives, dropped or chosen, sent in batches.
 *
 * A batch that fails on the way is sent again: the server keeps an object it knows once.
 */
import { csrfToken } from './pages/csrf';

export interface Picked {
  file: File;
  path: string;
}
interface Counts {
  stored: number;
  repeated: number;
  quarantined: number;
  ignored: number;
}
interface Refusal {
  name: string;
  code: string;
  reason: string;
}
interface Started {
  files_url: string;
  finish_url: string;
}
interface BatchResult {
  counts: Counts;
  refused: Refusal[];
}

const BATCH_FILES = 50;
const BATCH_BYTES = 32 * 1024 * 1024;
const TRIES = 4;
const SHOWN_REFUSALS = 200;

/** The server said no, in words; sending the same again cannot help. */
class Refused extends Error {}

/** Batches of at most 50 files and about 32 MB; a larger file travels alone. */
export function batches(picked: Picked[]): Picked[][] {
  const all: Picked[][] = [];
  let current: Picked[] = [];
  let bytes = 0;
  for (const item of picked) {
    const full = current.length >= BATCH_FILES || bytes + item.file.size > BATCH_BYTES;
    if (current.length > 0 && full) {
      all.push(current);
      current = [];
      bytes = 0;
    }
    current.push(item);
    bytes += item.file.size;
  }
  if (current.length > 0) all.push(current);
  return all;
}

/** "120 stored, 3 known already, 1 not accepted": what became of the files, without zero counts. */
export function describe(counts: Counts): string {
  const parts: string[] = [];
  if (counts.stored) parts.push(`${counts.stored} stored`);
  if (counts.repeated) parts.push(`${counts.repeated} known already`);
  if (counts.ignored) parts.push(`${counts.ignored} ignored`);
  if (counts.quarantined) parts.push(`${counts.quarantined} not accepted`);
  return parts.join(', ') || 'nothing yet';
}

async function filesOf(entry: FileSystemEntry): Promise<Picked[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => {
      (entry as FileSystemFileEntry).file(resolve, reject);
    });
    return [{ file, path: entry.fullPath.replace(/^\//, '') }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Picked[] = [];
  for (;;) {
    // A folder is read in portions; an empty one is the end.
    const portion = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    });
    if (portion.length === 0) return found;
    for (const child of portion) found.push(...(await filesOf(child)));
  }
}

async function dropped(transfer: DataTransfer): Promise<Picked[]> {
  // The list of items is only valid during the event: take all entries before waiting.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const found: Picked[] = [];
  for (const entry of entries) if (entry) found.push(...(await filesOf(entry)));
  return found;
}

function post(url: string, body: FormData, onProgress: (bytes: number) => void): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', url);
    request.setRequestHeader('X-CSRFToken', csrfToken());
    request.upload.addEventListener('progress', (event) => onProgress(event.loaded));
    request.addEventListener('error', () => reject(new Error('The server cannot be reached.')));
    request.addEventListener('load', () => {
      const isJson = request.getResponseHeader('content-type')?.includes('json') ?? false;
      const answer: unknown = isJson ? JSON.parse(request.responseText) : null;
      if (isJson && request.status < 300) {
        resolve(answer);
        return;
      }
      const said = (answer as { detail?: unknown } | null)?.detail;
      if (typeof said === 'string') reject(new Refused(said));
      else if (request.status >= 500) reject(new Error(`The server failed (${request.status}).`));
      else reject(new Refused('You are signed out, or may not upload. Reload the page and sign in.'));
    });
    request.send(body);
  });
}

async function persistently(attempt: () => Promise<unknown>): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof Refused || tries >= TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tries));
    }
  }
}

function formOf(batch: Picked[]): FormData {
  const body = new FormData();
  for (const { file, path } of batch) {
    body.append('files', file, file.name);
    body.append('paths', path);
  }
  return body;
}

/** Brings the section `[data-upload]` of the upload page to life. */
export function mountUpload(root: HTMLElement): void {
  const part = <T extends HTMLElement>(name: string): T => {
    const found = root.querySelector<T>(`[data-upload-${name}]`);
    if (!found) throw new Error(`upload page lacks [data-upload-${name}]`);
    return found;
  };
  const drop = part('drop');
  const bar = part<HTMLProgressElement>('progress');
  const inputs = [...root.querySelectorAll<HTMLInputElement>('[data-upload-input]')];
  let busy = false;

  function showRefusals(refused: Refusal[]): void {
    part('refusals').hidden = refused.length === 0;
    part('refused').replaceChildren(
      ...refused.slice(0, SHOWN_REFUSALS).map(({ name, reason }) => {
        const row = document.createElement('tr');
        for (const text of [name, reason]) {
          const cell = document.createElement('td');
          cell.textContent = text;
          row.append(cell);
        }
        return row;
      }),
    );
    const more = refused.length - SHOWN_REFUSALS;
    part('more').hidden = more <= 0;
    part('more').textContent = `and ${more} more`;
  }

  async function send(picked: Picked[]): Promise<void> {
    const totals: Counts = { stored: 0, repeated: 0, quarantined: 0, ignored: 0 };
    const refused: Refusal[] = [];
    const bytes = picked.reduce((sum, { file }) => sum + file.size, 0);
    let sent = 0;
    const form = root.querySelector('form');
    if (!form) throw new Error('upload page lacks its form');
    const started = (await post(root.dataset['startUrl'] ?? '', new FormData(form), () => {})) as Started;
    for (const batch of batches(picked)) {
      const before = sent;
      const result = (await persistently(() =>
        post(started.files_url, formOf(batch), (loaded) => {
          bar.value = bytes ? Math.min(1, (before + loaded) / bytes) : 1;
        }),
      )) as BatchResult;
      sent += batch.reduce((sum, { file }) => sum + file.size, 0);
      for (const key of Object.keys(totals) as (keyof Counts)[]) totals[key] += result.counts[key];
      refused.push(...result.refused);
      part('text').textContent = `Sending ${picked.length} files: ${describe(totals)}`;
      showRefusals(refused);
    }
    await persistently(() => post(started.finish_url, new FormData(), () => {}));
    bar.value = 1;
    part('text').textContent = `Finished: ${describe(totals)}.`;
    part('done').hidden = totals.stored + totals.repeated === 0;
  }

  async function take(picking: Promise<Picked[]>): Promise<void> {
    if (busy) return;
    busy = true;
    for (const input of inputs) input.disabled = true;
    part('status').hidden = false;
    part('error').hidden = true;
    part('done').hidden = true;
    bar.value = 0;
    showRefusals([]);
    part('text').textContent = 'Reading the folder…';
    try {
      const picked = await picking;
      if (picked.length === 0) throw new Refused('There are no files in what you chose.');
      part('text').textContent = `Sending ${picked.length} files…`;
      await send(picked);
    } catch (error) {
      part('text').textContent = 'Stopped. What was sent before is stored.';
      part('error').hidden = false;
      part('error').textContent =
        error instanceof Refused
          ? error.message
          : 'The connection was lost. Send the same files again: what has arrived is kept once.';
    } finally {
      busy = false;
      for (const input of inputs) {
        input.disabled = false;
        input.value = '';
      }
      document.body.dispatchEvent(new CustomEvent('radfuse:upload-finished'));
    }
  }

  for (const input of inputs) {
    input.addEventListener('change', () => {
      const picked = [...(input.files ?? [])].map((file) => ({
        file,
        path: file.webkitRelativePath || file.name,
      }));
      void take(Promise.resolve(picked));
    });
  }
  for (const name of ['dragenter', 'dragover']) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add('is-over');
    });
  }
  for (const name of ['dragleave', 'drop']) {
    drop.addEventListener(name, () => drop.classList.remove('is-over'));
  }
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    if (event.dataTransfer) void take(dropped(event.dataTransfer));
  });
  window.addEventListener('beforeunload', (event) => {
    if (busy) event.preventDefault();
  });
}
