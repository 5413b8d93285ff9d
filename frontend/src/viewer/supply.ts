/** What the viewer asks the stream for, and what it gives back: memory, slow lines, a viewer at rest. */
import { SlowLineWatch } from './drawing-mode';
import type { Loaded } from './loaded';
import type { Scene } from './scene';
import type { Stream } from './stream';
import type { View } from './types';

export class Supply {
  /** Told once when the line is too slow for voxels. */
  tooSlow: () => void = () => undefined;
  private readonly watch = new SlowLineWatch();
  private kept: Node[] | null = null;

  constructor(
    private readonly root: HTMLElement,
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly stream: Stream,
    private readonly back: () => void,
  ) {
    scene.unloaded = (ids) => this.forget(ids);
  }

  want(): void {
    if (this.kept) return;
    this.stream.want(this.scene.view.layers, this.scene.wanted, this.scene.streamFocus);
  }

  line(bytesPerSecond: number, owed: boolean): void {
    if (!this.kept && this.watch.measured(bytesPerSecond, owed)) this.tooSlow();
  }

  /** Volumes of a series that were shown longest ago. */
  release(): void {
    this.forget(this.scene.release());
  }

  private forget(ids: readonly number[]): void {
    for (const id of ids) this.loaded.forget(id);
    this.stream.forget(ids);
  }

  get view(): View {
    return this.scene.view;
  }

  get suspended(): boolean {
    return this.kept !== null;
  }

  /** Another viewer takes the page; nothing more is streamed. What is held stays held. */
  suspend(): void {
    if (this.kept) return;
    this.stream.cancel();
    this.kept = [...this.root.childNodes];
    this.root.replaceChildren();
  }

  resume(): void {
    if (!this.kept) return;
    this.root.replaceChildren(...this.kept);
    this.kept = null;
    this.back();
  }
}
