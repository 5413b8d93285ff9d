/** How a mark is drawn by hand: drags and clicks become the tool's points. Pure, in patient mm. */
import type { Vec3 } from '../../affine';
import { distance, ellipseInBox, type Frame, shortAxis, shortAxisThrough } from './shapes';
import type { MarkTool } from './tools';

const NEEDED: Record<MarkTool, number> = {
  length: 2, bidirectional: 2, angle: 3, ellipse: 2, freehand: 3, sphere: 2, threshold: 2, probe: 1, arrow: 2, text: 1,
};

/** The server takes so many of an outline. */
const MOST_POINTS = 2000;

/**
 * Every two-point tool takes a drag, or a click at each end. The angle's third point and the short axis
 * follow the pointer after that. A freehand line is one drag, closed at its end.
 */
export class Gesture {
  private placed: Vec3[];
  private pointer: Vec3;
  private down = true;
  /** The button was let go before: what follows are clicks at further points. */
  private clicking = false;
  /** Where the button went down for the short axis. */
  private from: Vec3 | null = null;

  /** `step`: mm that a freehand line's points are apart. */
  constructor(
    readonly tool: MarkTool,
    readonly frame: Frame,
    start: Vec3,
    private step: number,
  ) {
    this.placed = [start];
    this.pointer = start;
  }

  private get onShortAxis(): boolean {
    return this.tool === 'bidirectional' && this.placed.length === 2;
  }

  /** Another press of the button; the first one made the gesture. */
  press(at: Vec3): void {
    this.down = true;
    this.pointer = at;
    if (this.onShortAxis) this.from = at;
  }

  move(at: Vec3): void {
    this.pointer = at;
    const last = this.placed[this.placed.length - 1]!;
    if (this.tool !== 'freehand' || !this.down || distance(at, last) < this.step) return;
    this.placed.push(at);
    if (this.placed.length < MOST_POINTS) return;
    // A very long line goes on with points twice as far apart.
    this.placed = this.placed.filter((_, n) => n % 2 === 0);
    this.step *= 2;
  }

  /** The button was let go, `moved` if it was a drag; true when the mark is complete. */
  release(at: Vec3, moved: boolean): boolean {
    this.pointer = at;
    this.down = false;
    if (this.tool === 'freehand') return true;
    if (this.onShortAxis) {
      this.placed.push(...this.shortEnds(moved));
      return true;
    }
    if (NEEDED[this.tool] > 1 && (moved || this.clicking)) this.placed.push(at);
    this.clicking = true;
    return this.tool !== 'bidirectional' && this.placed.length >= NEEDED[this.tool];
  }

  private shortEnds(drawn: boolean): [Vec3, Vec3] {
    const [a, b] = this.placed as [Vec3, Vec3];
    if (drawn && this.from) return shortAxisThrough(a, b, this.from, this.pointer, this.frame.normal);
    return shortAxis(a, b, this.pointer, this.frame.normal);
  }

  /** The points as they would be if the gesture ended here. */
  get points(): Vec3[] {
    const { placed, pointer, tool } = this;
    if (tool === 'freehand') return [...placed];
    if (this.onShortAxis) return [...placed, ...this.shortEnds(this.down)];
    const all = placed.length < NEEDED[tool] ? [...placed, pointer] : [...placed];
    return tool === 'ellipse' && all.length === 2 ? ellipseInBox(all[0]!, all[1]!, this.frame) : all;
  }
}
