/** The page's side of the slice worker. */
import { t } from '../i18n';
import type { Arrival, StreamLayer } from './arrivals';
import type { Focus, FromWorker, ToWorker, Trouble } from './stream-client';
import type { Layer } from './types';

export type { Focus } from './stream-client';

/** As the Worker's, in words for the reader. */
export type FromStream =
  | { type: 'state'; state: 'connected' | 'reconnecting' | 'offline'; detail: string }
  | ({ type: 'slice' } & Arrival)
  | { type: 'done' }
  | { type: 'line'; rate: number; damaged: number; drops: number }
  | { type: 'error'; code: Trouble; detail: string };

const FOCUS_EVERY_MS = 80;

function describe(layer: Layer): StreamLayer {
  return { id: layer.id, codec: layer.codec, smooth: layer.kind !== 'segmentation', levels: layer.levels, finest: layer.finest ?? 0 };
}

function endWords(code: number): string {
  if (code === 4401) return t('You are signed out. Sign in again, then reload the page.');
  if (code === 4403) return t('You may not see the images of this case.');
  if (code === 4406) return t('The server was updated. Reload the page.');
  return t('This case no longer exists, or is no longer yours to see.');
}

function troubleWords(code: Trouble, detail: string): string {
  switch (code) {
    case 'decoding':
      return t('Images cannot be decoded. Reload the page.');
    case 'damaged':
      return t('An image slice is damaged and stays marked as missing. Ask for a new analysis.');
    case 'unreadable':
      return t('A stored volume cannot be read. Ask for a new analysis.');
    case 'incomplete':
      return t('Some image slices did not come. Reload the page.');
    case 'version':
      return t('The server was updated. Reload the page.');
    case 'server':
      return t('The image stream reported an error: {detail}', { detail });
  }
}

function inWords(message: FromWorker): FromStream {
  if (message.type === 'state') {
    return { type: 'state', state: message.state, detail: message.state === 'offline' ? endWords(message.code) : '' };
  }
  if (message.type === 'error') return { type: 'error', code: message.code, detail: troubleWords(message.code, message.detail) };
  return message;
}

export class Stream {
  private readonly worker: Worker;
  private started = false;
  private pendingFocus: Focus | undefined;
  private timer = 0;

  constructor(
    private readonly path: string,
    onMessage: (message: FromStream) => void,
  ) {
    this.worker = new Worker(new URL('./stream.worker.ts', import.meta.url), { type: 'module' });
    this.worker.onmessage = (event: MessageEvent<FromWorker>) => onMessage(inWords(event.data));
    this.worker.onerror = () => onMessage({ type: 'error', code: 'decoding', detail: troubleWords('decoding', '') });
    window.addEventListener('online', () => this.post({ type: 'reconnect' }));
  }

  private post(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  /** Asks for some of the case's layers; may be called again with others. */
  want(all: readonly Layer[], wanted: readonly Layer[], focus: Focus): void {
    const message = { layers: all.map(describe), wanted: wanted.map((layer) => layer.id) };
    if (this.started) {
      this.post({ type: 'layers', ...message });
      return;
    }
    this.started = true;
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.post({ type: 'start', url: `${scheme}://${location.host}${this.path}`, focus, ...message });
  }

  /** Nothing more is wanted, until `want`. */
  cancel(): void {
    if (this.started) this.post({ type: 'cancel' });
  }

  /** These layers' voxels were given back: they are streamed again when they are wanted again. */
  forget(ids: readonly number[]): void {
    if (ids.length) this.post({ type: 'forget', layers: [...ids] });
  }

  /** Follows the reader's scrolling, at most a dozen times a second. */
  focus(focus: Focus): void {
    this.pendingFocus = focus;
    this.timer ||= window.setTimeout(() => {
      this.timer = 0;
      if (this.pendingFocus && this.started) this.post({ type: 'focus', focus: this.pendingFocus });
    }, FOCUS_EVERY_MS);
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.worker.terminate();
  }
}
