/** The page's side of the slice worker. */
import type { Focus, FromWorker, StreamLayer, ToWorker } from './stream.worker';
import type { Layer } from './types';

export type { Focus, FromWorker } from './stream.worker';

const FOCUS_EVERY_MS = 80;

function describe(layer: Layer): StreamLayer {
  return { id: layer.id, codec: layer.codec, smooth: layer.kind !== 'segmentation', levels: layer.levels };
}

export class Stream {
  private readonly worker: Worker;
  private started = false;
  private pendingFocus: Focus | undefined;
  private timer = 0;

  constructor(
    private readonly path: string,
    onMessage: (message: FromWorker) => void,
  ) {
    this.worker = new Worker(new URL('./stream.worker.ts', import.meta.url), { type: 'module' });
    this.worker.onmessage = (event: MessageEvent<FromWorker>) => onMessage(event.data);
    this.worker.onerror = (event) => {
      onMessage({ type: 'error', code: 'worker', detail: `Images cannot be decoded (${event.message}). Reload the page.` });
    };
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
