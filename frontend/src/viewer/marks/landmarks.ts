/** Landmark pairs and the ring of the hand alignment. */
import type { Point2 } from '../stage';
import { distanceTo } from '../slicing';
import type { Marks } from '../overlay';
import { type Context, label, LANDMARK } from './paint';

/** Landmarks within this of the plane are drawn; further than half a slice they are faint. */
const LANDMARK_REACH_MM = 6;

export function drawLandmarks(context: Context, marks: Marks): void {
  for (const { text, point, open } of marks.landmarks) {
    const distance = Math.abs(distanceTo(marks.plane, point));
    if (distance > Math.max(LANDMARK_REACH_MM, marks.halfStep)) continue;
    const [x, y] = marks.toCanvas(point);
    context.save();
    context.globalAlpha = distance > marks.halfStep + 1e-6 ? 0.55 : 1;
    context.strokeStyle = LANDMARK;
    context.lineWidth = 1.75;
    if (open) context.setLineDash([3, 2]);
    context.beginPath();
    context.arc(x, y, 5, 0, Math.PI * 2);
    context.moveTo(x - 9, y);
    context.lineTo(x - 3, y);
    context.moveTo(x + 3, y);
    context.lineTo(x + 9, y);
    context.stroke();
    label(context, text, x + 11, y - 9, LANDMARK);
    context.restore();
  }
}

export function drawRing(context: Context, ring: { at: Point2; radius: number }): void {
  context.save();
  context.strokeStyle = 'rgb(255 209 102 / 60%)';
  context.lineWidth = 1.5;
  context.setLineDash([10, 6]);
  context.beginPath();
  context.arc(ring.at[0], ring.at[1], ring.radius, 0, Math.PI * 2);
  context.stroke();
  context.restore();
}
