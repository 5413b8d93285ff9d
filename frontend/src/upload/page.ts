/** The upload page: what was chosen, how far it is, what became of it. */
import { t, tn } from '../i18n';
import { chosen, dropped, type Picked } from './picking';
import { Sender, type Item, type Status } from './sending';
import { finish, known, reachable, Refused, start, state, type Disc, type Started, type State } from './server';
import { tusTransport } from './transport';
import { bytes, count, describe, duration, files, Speed } from './words';

const DRAW_MS = 250;
const ASK_MS = 2000;
const SHOWN_ROWS = 200;

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
  let sender: Sender | null = null;
  let latest: State | null = null;

  function say(text: string): void {
    part('text').textContent = text;
  }

  function showError(text: string): void {
    part('error').hidden = text === '';
    part('error').textContent = text;
  }

  function showControls(status: Status | 'none'): void {
    part('pause').hidden = status !== 'sending' && status !== 'reconnecting';
    part('continue').hidden = status !== 'paused' && status !== 'stopped';
    const failed = status === 'ended' && (sender?.failed.length ?? 0) > 0;
    part('again').hidden = !failed;
    part('without').hidden = !failed;
  }

  function showRows(): void {
    const failed: { name: string; reason: string }[] = (sender?.failed ?? []).map((item: Item) => ({
      name: item.path,
      reason: t('Not sent: {reason}', { reason: item.reason ?? '' }),
    }));
    const rows = [...failed, ...(latest?.refused ?? [])];
    const total = failed.length + (latest?.counts.quarantined ?? 0);
    part('refusals').hidden = rows.length === 0;
    part('refused').replaceChildren(...rows.slice(0, SHOWN_ROWS).map(({ name, reason }) => row(name, reason)));
    const more = total - Math.min(rows.length, SHOWN_ROWS);
    part('more').hidden = more <= 0;
    part('more').textContent = t('and {n} more', { n: count(more) });
  }

  function showState(): void {
    if (!latest) return;
    part('became').textContent = latest.files ? t('Taken in: {counts}.', { counts: describe(latest.counts) }) : '';
    part('opening').hidden = latest.opening.length === 0;
    part('opening').replaceChildren(
      ...latest.opening.map(({ name, done, entries }) =>
        line(t('Opening {name}: {done} of {entries}. This goes on without this page.', { name, done: count(done), entries: files(entries) })),
      ),
    );
    part('discs').hidden = latest.discs.length === 0;
    part('discs').replaceChildren(...latest.discs.map((disc) => line(aboutDisc(disc))));
    part('discs').classList.toggle('notice--warn', latest.discs.some((disc) => disc.missing + disc.unreadable > 0));
    showRows();
  }

  async function ask(started: Started): Promise<void> {
    if (sender?.status === 'reconnecting') return;
    try {
      latest = await state(started);
    } catch (error) {
      if (error instanceof Refused && sender?.status === 'sending') throw error;
      return; // asked again in two seconds
    }
    showState();
  }

  /** Resolves when every file was sent or given up by the person. */
  function sent(started: Started, items: Item[]): Promise<void> {
    const total = items.reduce((sum, { file }) => sum + file.size, 0);
    const speed = new Speed();
    return new Promise((resolve) => {
      const draw = (): void => {
        if (!sender) return;
        const now = sender.sentBytes;
        if (sender.status === 'sending') speed.note(performance.now(), now);
        bar.value = total ? now / total : 1;
        const left = speed.value > 0 ? t(', {speed}/s, {time} left', { speed: bytes(speed.value), time: duration((total - now) / speed.value) }) : '';
        say(
          t('{status} {done} of {files}, {sent} of {total}{left}', {
            status: statusWords(sender.status), done: count(sender.doneFiles), files: files(items.length),
            sent: bytes(now), total: bytes(total), left: sender.status === 'sending' ? left : '',
          }),
        );
      };
      const drawing = setInterval(draw, DRAW_MS);
      const asking = setInterval(() => void ask(started), ASK_MS);
      const end = (): void => {
        clearInterval(drawing);
        clearInterval(asking);
        resolve();
      };
      sender = new Sender(items, tusTransport(started.files_url), () => reachable(started), (status) => {
        if (status !== 'sending') speed.restart();
        showError(
          status === 'stopped'
            ? (sender?.reason ?? '')
            : status === 'reconnecting'
              ? t('The connection is lost. It goes on by itself when the server answers again.')
              : '',
        );
        showControls(status);
        showRows();
        draw();
        if (status === 'ended' && sender?.failed.length === 0) end();
      });
      part('without').onclick = end;
      sender.go();
    });
  }

  async function send(picked: Picked[]): Promise<void> {
    const form = root.querySelector('form');
    if (!form) throw new Error('upload page lacks its form');
    const started = await start(root.dataset['startUrl'] ?? '', form, picked);
    const items = await known(started, picked);
    const there = items.filter((item) => item.state === 'done').length;
    if (started.continued) {
      for (const notice of root.querySelectorAll<HTMLElement>('[data-upload-unfinished]')) notice.hidden = true;
    }
    part('continued').hidden = !started.continued;
    part('continued').textContent = t('Going on with your earlier upload: {there} arrived before and are not sent again.', { there: files(there) });
    await sent(started, items);
    say(t('Finishing…'));
    latest = await finish(started);
    bar.value = 1;
    showState();
    while (latest.opening.length > 0) {
      say(t('Sent. The server is opening the archive.'));
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
      await ask(started);
    }
    say(t('Finished: {counts}.', { counts: describe(latest.counts) }));
    part('became').textContent = '';
    part('done').hidden = latest.counts.stored + latest.counts.repeated === 0;
  }

  async function take(picking: Promise<Picked[]>): Promise<void> {
    if (busy) return;
    busy = true;
    sender = latest = null;
    for (const input of inputs) input.disabled = true;
    part('status').hidden = false;
    for (const name of ['done', 'continued', 'opening', 'discs']) part(name).hidden = true;
    part('became').textContent = '';
    showError('');
    showControls('none');
    bar.value = 0;
    showRows();
    say(t('Reading the folder…'));
    try {
      const picked = await picking;
      if (picked.length === 0) throw new Refused(t('There are no files in what you chose.'));
      say(t('Preparing {picked}…', { picked: files(picked.length) }));
      await send(picked);
    } catch (error) {
      say(t('Stopped. What was sent before is stored.'));
      showError(
        error instanceof Refused
          ? error.message
          : t('The connection was lost. Choose the same files again: it goes on where it stopped.'),
      );
    } finally {
      busy = false;
      showControls('none');
      for (const input of inputs) {
        input.disabled = false;
        input.value = '';
      }
      document.body.dispatchEvent(new CustomEvent('radfuse:upload-finished'));
    }
  }

  part('pause').addEventListener('click', () => sender?.pause());
  part('continue').addEventListener('click', () => sender?.go());
  part('again').addEventListener('click', () => sender?.again());
  for (const input of inputs) {
    input.addEventListener('change', () => void take(Promise.resolve(chosen(input))));
    // Chosen before this script was there.
    if (input.files?.length) void take(Promise.resolve(chosen(input)));
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

function statusWords(status: Status): string {
  if (status === 'paused' || status === 'stopped') return t('Paused:');
  if (status === 'reconnecting') return t('Waiting for the server:');
  return t('Sending:');
}

export function aboutDisc({ name, listed, missing, unreadable, names }: Disc): string {
  if (missing + unreadable === 0) return t('{name}: all {listed} that the disc lists are here.', { name, listed: files(listed) });
  const parts: string[] = [];
  if (missing) parts.push(tn('{n} is missing', '{n} are missing', missing, { n: count(missing) }));
  if (unreadable) parts.push(t('{unreadable} could not be accepted', { unreadable: count(unreadable) }));
  const more = missing + unreadable - names.length;
  return (
    t('{name}: the disc lists {files}, {what}: {names}{more}.', {
      name, files: files(listed), what: parts.join(t(' and ')), names: names.join(', '),
      more: more > 0 ? t(' and {n} more', { n: count(more) }) : '',
    })
  );
}

function row(...texts: string[]): HTMLElement {
  const tr = document.createElement('tr');
  for (const text of texts) {
    const cell = document.createElement('td');
    cell.textContent = text;
    tr.append(cell);
  }
  return tr;
}

function line(text: string): HTMLElement {
  const p = document.createElement('p');
  p.textContent = text;
  return p;
}
