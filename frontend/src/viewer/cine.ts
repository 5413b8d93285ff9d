/** Cine: a pane's slices, or the volumes of its series, one after the other at a set rate. */
import type { PaneName } from './stage';

export const RATES: readonly number[] = [2, 5, 8, 12, 15, 20, 25, 30];
export const FIRST_RATE = 12;

export interface CineActions {
  /** One frame on in a pane, from the last to the first. */
  advance(pane: PaneName): void;
  changed(): void;
}

export class Cine {
  rate = FIRST_RATE;
  pane: PaneName | null = null;
  private timer = 0;
  private due = 0;

  constructor(private readonly actions: CineActions) {}

  get playing(): boolean {
    return this.pane !== null;
  }

  toggle(pane: PaneName): void {
    if (this.pane === pane) this.stop();
    else this.play(pane);
  }

  play(pane: PaneName): void {
    this.pane = pane;
    this.due = performance.now();
    window.cancelAnimationFrame(this.timer);
    this.tick();
    this.actions.changed();
  }

  stop(): void {
    if (this.pane === null) return;
    this.pane = null;
    window.cancelAnimationFrame(this.timer);
    this.actions.changed();
  }

  setRate(rate: number): void {
    this.rate = rate;
    this.actions.changed();
  }

  /** Frames a slow machine cannot draw are waited for, never skipped: no slice is left out. */
  private tick(): void {
    this.timer = window.requestAnimationFrame((now) => {
      if (this.pane === null) return;
      if (now >= this.due) {
        this.due = Math.max(this.due + 1000 / this.rate, now);
        this.actions.advance(this.pane);
      }
      this.tick();
    });
  }
}
