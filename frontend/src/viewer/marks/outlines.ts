/** Delivered and computed contours, and the edges of label maps. */
import { cutContours } from '../slicing';
import type { Marks } from '../overlay';
import { AI, type Context, label, path } from './paint';

export function drawOutlines(context: Context, marks: Marks): void {
  context.lineWidth = 1.5;
  let labelled = 0;
  for (const outline of marks.outlines) {
    context.strokeStyle = outline.color;
    const cut = cutContours(outline.contours, marks.plane, marks.halfStep);
    for (const polygon of cut.polygons) {
      path(context, polygon.map(marks.toCanvas), true);
      context.stroke();
    }
    for (const [a, b] of cut.segments) {
      path(context, [marks.toCanvas(a), marks.toCanvas(b)], false);
      context.stroke();
    }
    const first = cut.polygons[0];
    if (first) {
      const points = first.map(marks.toCanvas);
      // Below the contour: findings are labelled above theirs.
      const lowest = points.reduce((best, p) => (p[1] > best[1] ? p : best));
      label(context, outline.name, lowest[0] + 4, lowest[1] + 10 + 14 * labelled++, outline.color);
    }
  }
}

export function drawEdges(context: Context, edges: Marks['edges']): void {
  context.strokeStyle = AI;
  context.lineWidth = 1.25;
  context.beginPath();
  for (const [a, b] of edges) {
    context.moveTo(a[0], a[1]);
    context.lineTo(b[0], b[1]);
  }
  context.stroke();
}
