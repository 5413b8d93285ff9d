/**
 * Sends files, some at a time, until each is on the server or has a reason why not.
 *
 * A lost connection is no failure: everything waits until the server answers again and goes on at
 * the byte it has. How one file travels is the transport's business (`transport.ts`).
 */
import type { Picked } from './picking';

export interface Item extends Picked {
  /** Where the server goes on with a half-sent file. */
  url?: string;
  sent: number;
  state: 'waiting' | 'sending' | 'done' | 'failed';
  reason?: string;
}

/** What a transport reports when it stops. */
export type Trouble =
  | { kind: 'lost' } // no answer, or one that may be another in a moment
  | { kind: 'file'; reason: string } // this file cannot be sent; others can
  | { kind: 'stop'; reason: string }; // nothing can be sent until a person acts

export interface Sending {
  /** Stops; the server keeps what it has. */
  abort(): void;
}
export type Transport = (
  item: Item,
  on: { progress: (sent: number) => void; done: () => void; trouble: (trouble: Trouble) => void },
) => Sending;

export type Status = 'sending' | 'paused' | 'reconnecting' | 'stopped' | 'ended';

const AT_ONCE = 4;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

export class Sender {
  status: Status = 'sending';
  reason = '';
  private readonly running = new Map<Item, Sending>();
  private wait = FIRST_WAIT_MS;
  /** Nothing before this item waits. */
  private next = 0;

  constructor(
    readonly items: Item[],
    private readonly transport: Transport,
    /** Whether the server answers again. */
    private readonly reachable: () => Promise<boolean>,
    private readonly changed: (status: Status) => void,
  ) {}

  get sentBytes(): number {
    return this.items.reduce((sum, item) => sum + (item.state === 'done' ? item.file.size : item.sent), 0);
  }

  get doneFiles(): number {
    return this.items.filter((item) => item.state === 'done').length;
  }

  get failed(): Item[] {
    return this.items.filter((item) => item.state === 'failed');
  }

  go(): void {
    this.next = 0;
    this.become('sending');
    this.fill();
  }

  pause(): void {
    if (this.status === 'ended') return;
    this.halt();
    this.become('paused');
  }

  /** Try again what could not be sent. */
  again(): void {
    for (const item of this.failed) item.state = 'waiting';
    this.go();
  }

  private become(status: Status): void {
    this.status = status;
    this.changed(status);
  }

  private halt(): void {
    for (const [item, sending] of this.running) {
      sending.abort();
      item.state = 'waiting';
    }
    this.running.clear();
  }

  private fill(): void {
    if (this.status !== 'sending') return;
    for (; this.next < this.items.length; this.next += 1) {
      if (this.running.size >= AT_ONCE) return;
      const item = this.items[this.next];
      if (item?.state === 'waiting') this.start(item);
    }
    if (this.running.size === 0) this.become('ended');
  }

  private start(item: Item): void {
    item.state = 'sending';
    const current = (): boolean => this.running.get(item) === sending;
    const sending = this.transport(item, {
      progress: (sent) => {
        item.sent = sent;
        this.wait = FIRST_WAIT_MS;
      },
      done: () => {
        if (!current()) return;
        this.running.delete(item);
        item.state = 'done';
        item.sent = item.file.size;
        this.fill();
      },
      trouble: (trouble) => {
        if (!current()) return;
        this.running.delete(item);
        item.state = 'waiting';
        this.handle(item, trouble);
      },
    });
    this.running.set(item, sending);
  }

  private handle(item: Item, trouble: Trouble): void {
    if (trouble.kind === 'file') {
      item.state = 'failed';
      item.reason = trouble.reason;
      this.fill();
      return;
    }
    this.halt();
    if (trouble.kind === 'stop') {
      this.reason = trouble.reason;
      this.become('stopped');
    } else {
      this.become('reconnecting');
      void this.reconnect();
    }
  }

  private async reconnect(): Promise<void> {
    while (this.status === 'reconnecting') {
      await new Promise((resolve) => setTimeout(resolve, this.wait));
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
      if (this.status === 'reconnecting' && (await this.reachable())) {
        if (this.status === 'reconnecting') this.go();
        return;
      }
    }
  }
}
