/** A lens over the pane under the pointer: the pixels that are there, larger, with their marks. */
import { h } from './dom';
import type { Point2 } from './stage';

const SIZE = 220;
const FACTOR = 2.5;

export class Magnifier {
  private readonly canvas = h('canvas', { class: 'magnifier', attrs: { 'aria-hidden': 'true' } });
  private at: Point2 = [0, 0];
  private host: HTMLElement | null = null;
  private layers: () => readonly HTMLCanvasElement[] = () => [];

  constructor() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.canvas.height = Math.round(SIZE * ratio);
    Object.assign(this.canvas.style, { width: `${SIZE}px`, height: `${SIZE}px` });
  }

  get shown(): boolean {
    return this.host !== null;
  }

  /** `layers`: the pane's canvases, bottom first, each over the whole of it. */
  show(host: HTMLElement, at: Point2, layers: () => readonly HTMLCanvasElement[]): void {
    [this.host, this.at, this.layers] = [host, at, layers];
    if (this.canvas.parentElement !== host) host.append(this.canvas);
    this.draw();
  }

  hide(): void {
    this.host = null;
    this.canvas.remove();
  }

  draw(): void {
    const { host } = this;
    const context = this.canvas.getContext('2d');
    if (!host || !context) return;
    const [x, y] = this.at;
    this.canvas.style.transform = `translate(${x - SIZE / 2}px, ${y - SIZE / 2}px)`;
    const side = this.canvas.width;
    context.fillStyle = '#000';
    context.fillRect(0, 0, side, side);
    const part = SIZE / FACTOR;
    for (const layer of this.layers()) {
      if (!layer.width || layer.hidden) continue;
      const scale = layer.width / host.clientWidth;
      context.drawImage(layer, (x - part / 2) * scale, (y - part / 2) * scale, part * scale, part * scale, 0, 0, side, side);
    }
  }
}
