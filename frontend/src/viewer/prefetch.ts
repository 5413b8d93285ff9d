/**
 * What is fetched while the reader only looks: first the series that may come on screen next, then the next case of
 * the worklist (made ready on the server: nothing of it comes here). Whatever the reader does stops it at once.
 */
import { csrfToken } from '../pages/csrf';

export const IDLE_MS = 1500;

export interface PrefetchHooks {
  /** Layers that may be wanted next and have room, nearest first. */
  next(): number[];
  /** Asks the stream for what is wanted and these besides. */
  want(more: readonly number[]): void;
  warmNextCase(stop: AbortSignal): Promise<void>;
}

export class Prefetch {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ahead: number[] = [];
  /** Everything wanted is here; nothing is fetched ahead before. */
  private isIdle = false;
  private isWarm = false;
  private warming: AbortController | null = null;

  constructor(private readonly hooks: PrefetchHooks) {}

  /** Everything asked for is here, also what was asked for ahead. */
  done(): void {
    this.ahead = [];
    this.isIdle = true;
    this.later();
  }

  /** More is wanted by the reader than is here: nothing ahead of that. */
  wanting(): void {
    this.stop();
    this.ahead = [];
    this.isIdle = false;
  }

  /** The reader does something. */
  busy(): void {
    this.stop();
    if (this.ahead.length) {
      this.ahead = [];
      this.hooks.want([]);
    } else if (this.isIdle) this.later();
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.warming?.abort();
    this.warming = null;
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.begin(), IDLE_MS);
  }

  private begin(): void {
    this.ahead = this.hooks.next();
    if (this.ahead.length) {
      this.hooks.want(this.ahead);
    } else if (!this.isWarm) void this.warm();
  }

  private async warm(): Promise<void> {
    const going = new AbortController();
    this.warming = going;
    await this.hooks.warmNextCase(going.signal);
    if (this.warming === going) [this.warming, this.isWarm] = [null, true];
  }
}

/** Only a help: where it fails, the next case is opened as any other. */
export async function warmNextCase(stop: AbortSignal): Promise<void> {
  try {
    await fetch('/api/next-case/warm/', { method: 'POST', headers: { 'X-CSRFToken': csrfToken(), Accept: 'application/json' }, signal: stop });
  } catch (error) {
    if (!(error instanceof TypeError || (error instanceof DOMException && error.name === 'AbortError'))) throw error;
  }
}
