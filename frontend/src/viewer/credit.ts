/**
 * Back-pressure in bytes: the server may have `window` bytes under way that we are not done with.
 *
 * The window is what the line carries in half a second, so a change of focus takes effect after
 * about that; the rate it is made from also tells the server whether levels in between are worth it.
 */
export const FIRST_WINDOW = 256 * 1024;
export const LEAST_WINDOW = 64 * 1024;
export const MOST_WINDOW = 4 * 1024 * 1024;
const UNDER_WAY_SECONDS = 0.5;
const SAMPLE_MS = 250;

export interface Credit {
  received: number;
  window: number;
  rate: number;
}

export class Line {
  /** Bytes per second; 0 until measured. It outlives a socket. */
  rate = 0;
  private received = 0;
  private acknowledged = 0;
  /** The window that the server was told last. */
  private told = FIRST_WINDOW;
  private sampleBytes = 0;
  private sampleStart = -1;

  /** A new socket; what its `open` says. */
  begin(): { window: number; rate: number } {
    this.received = this.acknowledged = 0;
    this.told = this.window;
    this.rest();
    return { window: this.told, rate: Math.round(this.rate) };
  }

  /** The server owes nothing: the time until the next frame says nothing about the line. */
  rest(): void {
    this.sampleStart = -1;
  }

  /** A frame of so many bytes came in and was dealt with. */
  arrived(bytes: number, now: number): void {
    this.received += bytes;
    if (this.sampleStart < 0) {
      [this.sampleStart, this.sampleBytes] = [now, 0];
      return;
    }
    this.sampleBytes += bytes;
    const elapsed = now - this.sampleStart;
    if (elapsed < SAMPLE_MS) return;
    const sample = (this.sampleBytes / elapsed) * 1000;
    this.rate = this.rate ? (this.rate + sample) / 2 : sample;
    [this.sampleStart, this.sampleBytes] = [now, 0];
  }

  get window(): number {
    if (!this.rate) return FIRST_WINDOW;
    return Math.round(Math.min(Math.max(this.rate * UNDER_WAY_SECONDS, LEAST_WINDOW), MOST_WINDOW));
  }

  /**
   * What to tell the server now; null: nothing yet. Due at a quarter of the smaller of the window it
   * knows and the one we want, so that neither side waits for the other.
   */
  due(): Credit | null {
    const window = this.window;
    if ((this.received - this.acknowledged) * 4 < Math.min(window, this.told)) return null;
    [this.acknowledged, this.told] = [this.received, window];
    return { received: this.received, window, rate: Math.round(this.rate) };
  }
}
