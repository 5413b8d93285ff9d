/** Slices that are not there yet: hatched, never drawn as tissue. */
import { cutSlab } from '../slicing';
import type { Marks } from '../overlay';
import { type Context, path } from './paint';

const NOT_LOADED = '#16324a';
const NOT_LOADED_LINE = '#4f8fc0';

export function drawMissing(context: Context, marks: Marks): void {
  for (const part of marks.missing) {
    for (const [k0, k1] of part.ranges) {
      const polygon = cutSlab(part.grid, k0, k1, marks.plane).map(marks.toCanvas);
      if (!polygon.length) continue;
      context.save();
      path(context, polygon, true);
      context.clip();
      const xs = polygon.map(([x]) => x);
      const ys = polygon.map(([, y]) => y);
      const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      if (part.base) {
        context.fillStyle = NOT_LOADED;
        context.fillRect(x0, y0, x1 - x0, y1 - y0);
      }
      context.strokeStyle = NOT_LOADED_LINE;
      context.globalAlpha = part.base ? 0.5 : 0.35;
      context.lineWidth = 1;
      context.beginPath();
      // The overlay's lines lean the other way, so that both can be told apart where they cross.
      for (let x = x0 - (y1 - y0); x < x1; x += 10) {
        context.moveTo(x, part.base ? y1 : y0);
        context.lineTo(x + (y1 - y0), part.base ? y0 : y1);
      }
      context.stroke();
      context.restore();
    }
  }
}
