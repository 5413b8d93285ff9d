/** What the viewer asks the stream for, and what it gives back: memory, slow lines, a viewer at rest. */
import { SlowLineWatch } from './drawing-mode';
import type { Loaded } from './loaded';
import { Prefetch, warmNextCase } from './prefetch';
import type { Scene } from './scene';
import type { Stream } from './stream';
import type { View } from './types';

export class Supply {
  /** Told once when the line is too slow for voxels. */
  tooSlow: () => void = () => undefined;
  private readonly watch = new SlowLineWatch();
  private kept: Node[] | null = null;
  private readonly prefetch = new Prefetch({
    next: () => this.scene.expect((layer) => this.loaded.complete(layer)),
    want: (more) => this.ask(more),
    warmNextCase,
  });

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
    this.prefetch.wanting();
    this.ask([]);
  }

  private ask(more: readonly number[]): void {
    if (this.kept) return;
    const { scene } = this;
    const ahead = scene.view.layers.filter((layer) => more.includes(layer.id));
    this.stream.want(scene.view.layers, [...new Set([...scene.wanted, ...ahead])], scene.streamFocus);
  }

  /** The stream sent all that was asked for. */
  done(): void {
    if (!this.kept) this.prefetch.done();
  }

  /** The reader does something: nothing is fetched ahead meanwhile. */
  busy(): void {
    this.prefetch.busy();
  }

  /** Only until there is something to see everywhere: full quality may take its time, and a stream of tiny slices
   * says nothing about the line. */
  line(bytesPerSecond: number): void {
    const owed = !this.scene.wanted.every((layer) => this.loaded.covered(layer));
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
    this.prefetch.wanting();
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
