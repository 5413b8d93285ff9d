/// <reference lib="webworker" />
/**
 * Owns the slice socket: parses frames, decodes slices, grants credit, reconnects and resumes.
 * The page gets finished pixel arrays (transferred, not copied).
 */
import { backoff, isFinal } from '../pages/backoff';
import { decodeSlice, initCodec, type Pixels } from './codec';
import { type Frame, parseFrame } from './frames';
import { Holdings } from './holdings';
import { creditDue, CREDIT } from './credit';
import { upsample } from './upsample';

export interface StreamLayer {
  id: number;
  codec: number;
  /** False for labels. */
  smooth: boolean;
  levels: { shape: readonly [number, number, number]; factors: readonly [number, number, number] }[];
}

export type ToWorker =
  | { type: 'start'; url: string; layers: StreamLayer[]; wanted: number[]; focus: Focus }
  | { type: 'focus'; focus: Focus }
  | { type: 'layers'; layers: StreamLayer[]; wanted: number[] }
  | { type: 'forget'; layers: number[] }
  | { type: 'reconnect' };

export interface Focus {
  layer: number;
  slice: number;
}

export type FromWorker =
  | { type: 'state'; state: 'connected' | 'reconnecting' | 'offline'; detail: string }
  | { type: 'slice'; layer: number; first: number; last: number; coarse: boolean; pixels: Pixels }
  | { type: 'done' }
  | { type: 'error'; code: string; detail: string };

const scope = self as unknown as DedicatedWorkerGlobalScope;
const layers = new Map<number, StreamLayer>();
const holdings = new Holdings();
let wanted: number[] = [];
let focus: Focus = { layer: 0, slice: 0 };
let url = '';
let socket: WebSocket | undefined;
let attempt = 0;
let retry: ReturnType<typeof setTimeout> | undefined;
let received = 0;
let finished = false;
/** Layers that existed when the socket was opened: the server learns of newer ones only by a new socket. */
let knownAtOpen = new Set<number>();
let lastHeard = 0;
/** Layers given back by the page: slices of theirs still on the way are dropped, and because the
 * server believes them sent, wanting one again takes a new socket. */
const forgotten = new Set<number>();

/** A socket that owes slices and has been silent this long is dead, whatever TCP still believes. */
const STALL_MS = 20_000;

function tell(message: FromWorker, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

function say(message: object): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function accept(frame: Frame): void {
  const layer = layers.get(frame.layer);
  const level = layer?.levels[frame.level];
  const fine = layer?.levels[0];
  if (!layer || !level || !fine || frame.slice >= level.shape[0] || forgotten.has(frame.layer)) return;
  if (!holdings.add(frame.layer, frame.level, frame.slice)) return;
  const pixels = decodeSlice(frame.payload, level.shape[1], level.shape[2], frame.codec);
  if (frame.level === 0) {
    tell({ type: 'slice', layer: frame.layer, first: frame.slice, last: frame.slice, coarse: false, pixels }, [pixels.buffer]);
    return;
  }
  const [fz, fy, fx] = level.factors;
  const first = frame.slice * fz;
  const last = Math.min(first + fz, fine.shape[0]) - 1;
  const drawn = upsample(pixels, [level.shape[1], level.shape[2]], [fine.shape[1], fine.shape[2]], [fy, fx], layer.smooth);
  tell({ type: 'slice', layer: frame.layer, first, last, coarse: true, pixels: drawn }, [drawn.buffer]);
}

function onText(text: string): void {
  const message = JSON.parse(text) as { type: string; code?: string; detail?: string };
  if (message.type === 'ready') {
    attempt = 0;
    tell({ type: 'state', state: 'connected', detail: '' });
  } else if (message.type === 'done') {
    finished = true;
    tell({ type: 'done' });
  } else if (message.type === 'error') {
    tell({ type: 'error', code: message.code ?? '', detail: message.detail ?? 'The image stream reported an error.' });
  }
}

function onBinary(buffer: ArrayBuffer): void {
  accept(parseFrame(buffer));
  received += 1;
  const frames = creditDue(received);
  if (frames) say({ type: 'credit', frames });
}

const FINAL_TEXT: Record<number, string> = {
  4401: 'You are signed out. Sign in again, then reload the page.',
  4403: 'You may not see the images of this case.',
  4404: 'This case no longer exists.',
};

function connect(): void {
  clearTimeout(retry);
  const opened = new WebSocket(url);
  socket = opened;
  received = 0;
  finished = false;
  lastHeard = Date.now();
  opened.binaryType = 'arraybuffer';
  knownAtOpen = new Set(layers.keys());
  for (const id of wanted) forgotten.delete(id);
  opened.onopen = () => {
    say({ type: 'open', version: 1, credit: CREDIT, focus, layers: wanted, have: holdings.have(wanted) });
  };
  opened.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
    if (socket !== opened) return;
    lastHeard = Date.now();
    if (typeof event.data === 'string') onText(event.data);
    else onBinary(event.data);
  };
  opened.onclose = (event) => {
    if (socket !== opened) return;
    if (isFinal(event.code)) {
      tell({ type: 'state', state: 'offline', detail: FINAL_TEXT[event.code] ?? '' });
      return;
    }
    retryLater();
  };
}

function retryLater(): void {
  tell({ type: 'state', state: 'reconnecting', detail: '' });
  retry = setTimeout(connect, backoff(attempt++));
}

/** A new socket at once; what is held stays held. */
function reopen(): void {
  const old = socket;
  socket = undefined;
  old?.close();
  connect();
}

function watch(): void {
  if (!socket || finished || socket.readyState > WebSocket.OPEN || Date.now() - lastHeard < STALL_MS) return;
  const dead = socket;
  socket = undefined;
  dead.close();
  retryLater();
}

scope.onmessage = async (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  switch (message.type) {
    case 'start':
      await initCodec();
      for (const layer of message.layers) layers.set(layer.id, layer);
      ({ url, wanted, focus } = message);
      connect();
      setInterval(watch, STALL_MS / 4);
      break;
    case 'focus':
      focus = message.focus;
      say({ type: 'focus', ...focus });
      break;
    case 'layers':
      for (const layer of message.layers) layers.set(layer.id, layer);
      wanted = message.wanted;
      finished = false;
      lastHeard = Date.now();
      if (wanted.every((id) => knownAtOpen.has(id) && !forgotten.has(id))) say({ type: 'layers', layers: wanted });
      else reopen();
      break;
    case 'forget':
      for (const id of message.layers) {
        forgotten.add(id);
        holdings.forget(id);
      }
      break;
    case 'reconnect':
      attempt = 0;
      if (socket && socket.readyState <= WebSocket.OPEN) break;
      connect();
      break;
  }
};
