/** Which panes have to be drawn again: once per frame, whatever asked for it. */
import type { PaneName } from './stage';

/** An act that is done in the next frame, once, however often it is asked for. */
export function onceAFrame(act: () => void): () => void {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      act();
    });
  };
}

export class Redrawing {
  private readonly stale = new Set<PaneName>();

  constructor(
    private readonly draw: (pane: PaneName) => void,
    /** Drawn in every frame: they know themselves what changed. */
    private readonly others: () => void,
  ) {}

  mark(panes: Iterable<PaneName>): void {
    for (const pane of panes) this.stale.add(pane);
    this.schedule();
  }

  readonly schedule = onceAFrame(() => {
    for (const pane of this.stale) this.draw(pane);
    this.others();
    this.stale.clear();
  });
}
