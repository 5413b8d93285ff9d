/** What all marks are drawn with: colours, paths, text that can be read on any image. */
import type { Point2 } from '../stage';

export type Context = CanvasRenderingContext2D;

export const AI = '#c5a3ff';
export const ACCEPTED = '#6fcf97';
export const MEASURE = '#ffd166';
export const UNSAVED = '#ff8a80';
export const LANDMARK = '#7ee2a8';
export const FONT = '600 12px system-ui, sans-serif';
const HALO = 'rgb(0 0 0 / 70%)';

export function path(context: Context, points: readonly Point2[], close: boolean): void {
  context.beginPath();
  points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (close) context.closePath();
}

/** A line with a dark edge: seen on bone and on air alike. Dashes are those of the context. */
export function haloed(context: Context, colour: string, width: number): void {
  context.strokeStyle = HALO;
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

export function label(context: Context, text: string, x: number, y: number, colour: string): void {
  context.font = FONT;
  context.textBaseline = 'middle';
  context.lineWidth = 3;
  context.strokeStyle = 'rgb(0 0 0 / 85%)';
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
