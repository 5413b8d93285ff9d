/** The crosshair of a pane, open round the point itself. */
import type { Point2 } from '../stage';
import type { Context } from './paint';

const CROSS = 'rgb(120 190 235 / 75%)';

export function drawCrosshair(context: Context, at: Point2, width: number, height: number): void {
  const gap = 14;
  const [x, y] = at;
  context.strokeStyle = CROSS;
  context.lineWidth = 1;
  context.beginPath();
  for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]] as const) {
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
  }
  context.stroke();
}
