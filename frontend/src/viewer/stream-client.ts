/**
 * The client's end of the slice stream (workstation/reading/README.md, version 2): checks frames,
 * grants credit, asks again for what came damaged, reconnects and resumes. It runs in a Worker.
 */
import { backoff, isFinal } from '../pages/backoff';
import { arrival, type Arrival, type StreamLayer } from './arrivals';
import { Line } from './credit';
import { type Frame, isIntact, parseFrame, PROTOCOL_VERSION } from './frames';
import { type Have, Holdings, type Ranges } from './holdings';

export interface Focus {
  layer: number;
  slice: number;
}

export type ToWorker =
  | { type: 'start'; url: string; layers: StreamLayer[]; wanted: number[]; focus: Focus }
  | { type: 'focus'; focus: Focus }
  | { type: 'layers'; layers: StreamLayer[]; wanted: number[] }
  | { type: 'cancel' }
  | { type: 'forget'; layers: number[] }
  | { type: 'reconnect' };

/** What went wrong, for the page to put into words. `detail` is the server's, in English. */
export type Trouble = 'decoding' | 'damaged' | 'unreadable' | 'incomplete' | 'server' | 'version';

export type FromWorker =
  | { type: 'state'; state: 'connected' | 'reconnecting' }
  | { type: 'state'; state: 'offline'; code: number }
  | ({ type: 'slice' } & Arrival)
  | { type: 'done' }
  | { type: 'line'; rate: number; damaged: number; drops: number }
  | { type: 'error'; code: Trouble; layer?: number; detail: string };

interface ServerMessage {
  type: string;
  code?: string;
  detail?: string;
  layer?: number;
  level?: number;
  slice?: number;
}

/** A socket that owes slices and has been silent this long is dead, whatever TCP still believes. */
export const STALL_MS = 20_000;
/** A slice that came wrong this often is reported and stays marked as missing. */
const MOST_TRIES = 3;

export class StreamClient {
  private readonly layers = new Map<number, StreamLayer>();
  private readonly holdings = new Holdings();
  private readonly line = new Line();
  private url = '';
  private wanted: number[] = [];
  private focus: Focus = { layer: 0, slice: 0 };
  private socket: WebSocket | undefined;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  /** Sequence of the next frame of this socket. */
  private expected = 0;
  private finished = false;
  private lastHeard = 0;
  private damaged = 0;
  private drops = 0;
  private readonly tries = new Map<string, number>();
  /** Slices that will not come, by `layer/level/slice`, and layers whose file cannot be read. */
  private readonly lost = new Set<string>();
  private readonly unreadable = new Set<number>();
  private completions = 0;
  /** Layers given back by the page. The server believes them sent, and some may be on their way. */
  private readonly forgotten = new Set<number>();

  constructor(
    private readonly tell: (message: FromWorker, transfer?: Transferable[]) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  handle(message: ToWorker): void {
    switch (message.type) {
      case 'start':
        this.learn(message.layers);
        [this.url, this.wanted, this.focus] = [message.url, message.wanted, message.focus];
        this.connect();
        setInterval(() => this.watch(), STALL_MS / 4);
        break;
      case 'focus':
        this.focus = message.focus;
        this.say({ type: 'focus', ...this.focus });
        break;
      case 'layers':
        this.learn(message.layers);
        this.want(message.wanted);
        break;
      case 'cancel':
        this.wanted = [];
        this.owedNothing();
        this.say({ type: 'cancel' });
        break;
      case 'forget':
        for (const id of message.layers) {
          this.forgotten.add(id);
          this.holdings.forget(id);
        }
        break;
      case 'reconnect':
        this.attempt = 0;
        if (!this.socket || this.socket.readyState > WebSocket.OPEN) this.connect();
        break;
    }
  }

  private learn(layers: readonly StreamLayer[]): void {
    for (const layer of layers) this.layers.set(layer.id, layer);
  }

  private want(wanted: number[]): void {
    const back = wanted.filter((id) => this.forgotten.delete(id));
    this.wanted = wanted;
    this.finished = false;
    this.completions = 0;
    this.lastHeard = this.now();
    const again = this.missing(back, true);
    if (Object.keys(again).length) this.say({ type: 'again', slices: again, damaged: false });
    this.say({ type: 'layers', layers: wanted, finest: this.finest });
  }

  /** Layers of which the finest levels are not wanted. */
  private get finest(): Record<string, number> {
    return Object.fromEntries(this.wanted.map((id) => [String(id), this.layers.get(id)?.finest ?? 0]).filter(([, level]) => level));
  }

  private say(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // ---- the socket ---------------------------------------------------------------------------

  private connect(): void {
    clearTimeout(this.retry);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.expected = 0;
    this.finished = false;
    this.completions = 0;
    this.lastHeard = this.now();
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      for (const id of this.wanted) this.forgotten.delete(id);
      this.say({
        type: 'open', versions: [PROTOCOL_VERSION], ...this.line.begin(),
        focus: this.focus, layers: this.wanted, finest: this.finest, have: this.holdings.have(this.wanted),
      });
    };
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      if (this.socket !== socket) return;
      this.lastHeard = this.now();
      if (typeof event.data === 'string') this.onText(JSON.parse(event.data) as ServerMessage);
      else this.onBinary(event.data);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      if (isFinal(event.code)) this.tell({ type: 'state', state: 'offline', code: event.code });
      else this.retryLater();
    };
  }

  private retryLater(): void {
    this.drops += 1;
    this.tell({ type: 'state', state: 'reconnecting' });
    this.retry = setTimeout(() => this.connect(), backoff(this.attempt++));
  }

  /** Away from this socket, to a new one that resumes: what is held stays held. */
  private abandon(): void {
    const dead = this.socket;
    this.socket = undefined;
    dead?.close();
    this.retryLater();
  }

  private watch(): void {
    const { socket } = this;
    if (!socket || this.finished || socket.readyState > WebSocket.OPEN || this.now() - this.lastHeard < STALL_MS) return;
    this.abandon();
  }

  // ---- what comes in ------------------------------------------------------------------------

  private onText(message: ServerMessage): void {
    if (message.type === 'ready') {
      this.attempt = 0;
      this.tell({ type: 'state', state: 'connected' });
    } else if (message.type === 'done') {
      this.onDone();
    } else if (message.type === 'error') {
      this.onError(message);
    }
  }

  private onError({ code, detail = '', layer, level, slice }: ServerMessage): void {
    if (code === 'unreadable' && layer !== undefined) this.unreadable.add(layer);
    if (code === 'damaged') this.lost.add(`${layer}/${level}/${slice}`);
    const known = code === 'unreadable' || code === 'damaged' || code === 'version';
    this.tell({ type: 'error', code: known ? code : 'server', detail, ...(layer === undefined ? {} : { layer }) });
  }

  private onBinary(buffer: ArrayBuffer): void {
    let frame: Frame;
    try {
      frame = parseFrame(buffer);
      if (frame.sequence !== this.expected) throw new Error(`frame ${frame.sequence}, expected ${this.expected}`);
    } catch {
      // Which slice this was is not known; a socket that resumes sends whatever is not held.
      this.damaged += 1;
      this.abandon();
      return;
    }
    this.expected += 1;
    if (isIntact(frame)) this.accept(frame);
    else this.askAgain(frame);
    this.line.arrived(buffer.byteLength, this.now());
    const credit = this.line.due();
    if (!credit) return;
    this.say({ type: 'credit', ...credit });
    this.tell({ type: 'line', rate: credit.rate, damaged: this.damaged, drops: this.drops });
  }

  private accept(frame: Frame): void {
    const layer = this.layers.get(frame.layer);
    if (!layer || this.forgotten.has(layer.id) || this.holdings.has(frame.layer, frame.level, frame.slice)) return;
    let arrived: Arrival | null;
    try {
      arrived = arrival(frame, layer);
    } catch (error) {
      // What is stored is no slice of this size: asking again would bring the same.
      this.lost.add(`${frame.layer}/${frame.level}/${frame.slice}`);
      this.tell({ type: 'error', code: 'decoding', layer: layer.id, detail: error instanceof Error ? error.message : '' });
      return;
    }
    if (!arrived) return;
    this.holdings.add(frame.layer, frame.level, frame.slice);
    this.tell({ type: 'slice', ...arrived }, [arrived.pixels.buffer]);
  }

  private askAgain({ layer, level, slice }: Frame): void {
    this.damaged += 1;
    const key = `${layer}/${level}/${slice}`;
    const tries = (this.tries.get(key) ?? 0) + 1;
    this.tries.set(key, tries);
    if (tries < MOST_TRIES) {
      this.say({ type: 'again', slices: { [layer]: { [level]: [[slice, slice]] } }, damaged: true });
    } else if (!this.lost.has(key)) {
      this.lost.add(key);
      this.tell({ type: 'error', code: 'damaged', layer, detail: '' });
    }
  }

  /** Everything was sent. Is everything here? */
  private onDone(): void {
    const missing = this.missing(this.wanted, false);
    if (Object.keys(missing).length && this.completions++ < MOST_TRIES) {
      this.say({ type: 'again', slices: missing, damaged: false });
      return;
    }
    this.owedNothing();
    if (Object.keys(missing).length) this.tell({ type: 'error', code: 'incomplete', detail: '' });
    else this.tell({ type: 'done' });
  }

  private owedNothing(): void {
    this.finished = true;
    this.line.rest();
    this.tell({ type: 'line', rate: Math.round(this.line.rate), damaged: this.damaged, drops: this.drops });
  }

  /** Full-resolution slices (or those of all levels) that these layers should have and have not. */
  private missing(ids: readonly number[], allLevels: boolean): Have {
    const result: Have = {};
    for (const id of ids) {
      const layer = this.layers.get(id);
      if (!layer || this.unreadable.has(id)) continue;
      const levels: Record<string, Ranges> = {};
      const finest = layer.finest ?? 0;
      layer.levels.forEach(({ shape }, level) => {
        if (level < finest || (level > finest && !allLevels)) return;
        const absent = this.holdings.missing(id, level, shape[0], (k) => this.lost.has(`${id}/${level}/${k}`));
        if (absent.length) levels[String(level)] = absent;
      });
      if (Object.keys(levels).length) result[String(id)] = levels;
    }
    return result;
  }
}
