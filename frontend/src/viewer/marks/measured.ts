/** Draws the reader's marks: thin lines that leave the lesion visible, handles where they are wanted. */
import type { Point2 } from '../stage';
import { type Context, haloed, MEASURE, path, UNSAVED } from './paint';
import type { PlacedMark } from './placing';

const CHOSEN = '#fff0bf';
const HANDLE_PX = 4.5;
const HEAD_PX = 11;
const FAINT = 0.4;

export interface MeasuredMarks {
  placed: readonly PlacedMark[];
  /** Keys of the marks that show their handles. */
  selected: string | null;
  hovered: string | null;
}

export function drawMeasured(context: Context, { placed, selected, hovered }: MeasuredMarks): void {
  for (const one of placed) {
    const chosen = one.mark.key === selected;
    const colour = one.mark.state === 'failed' ? UNSAVED : chosen ? CHOSEN : MEASURE;
    context.save();
    context.globalAlpha = one.seen === 'faint' ? FAINT : 1;
    context.lineJoin = 'round';
    if (one.mark.state !== 'stored') context.setLineDash([5, 4]);
    for (const { points, closed, aid } of one.lines) {
      if (aid && !chosen && one.mark.key !== hovered) continue;
      context.save();
      if (aid) {
        context.setLineDash([2, 4]);
        context.globalAlpha *= 0.7;
      }
      path(context, points, closed);
      haloed(context, colour, chosen ? 1.75 : 1.5);
      context.restore();
    }
    if (one.edges.length) {
      context.beginPath();
      for (const [a, b] of one.edges) {
        context.moveTo(a[0], a[1]);
        context.lineTo(b[0], b[1]);
      }
      haloed(context, colour, chosen ? 1.75 : 1.5);
    }
    if (one.leader) {
      context.save();
      context.setLineDash([1, 4]);
      context.lineWidth = 1;
      context.strokeStyle = colour;
      path(context, one.leader, false);
      context.stroke();
      context.restore();
    }
    if (one.arrow) arrow(context, one.arrow, colour);
    context.setLineDash([]);
    for (const dot of one.dots) cross(context, dot, colour);
    if (chosen || one.mark.key === hovered || one.mark.state === 'draft') for (const handle of one.handles) ring(context, handle.at, colour);
    else for (const end of endsOf(one)) tick(context, end, colour);
    context.restore();
  }
}

/** Ends of open lines: a small mark says exactly where the length begins. */
function endsOf({ lines, mark }: PlacedMark): Point2[] {
  if (!['length', 'bidirectional'].includes(mark.tool)) return [];
  return lines.flatMap(({ points }) => [points[0]!, points[points.length - 1]!]);
}

function tick(context: Context, [x, y]: Point2, colour: string): void {
  context.beginPath();
  context.arc(x, y, 1.75, 0, Math.PI * 2);
  context.fillStyle = colour;
  context.fill();
}

/** Open, so that the tissue under it stays visible. */
function ring(context: Context, [x, y]: Point2, colour: string): void {
  context.beginPath();
  context.arc(x, y, HANDLE_PX, 0, Math.PI * 2);
  haloed(context, colour, 1.25);
}

function cross(context: Context, [x, y]: Point2, colour: string): void {
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
    context.moveTo(x + dx * 3, y + dy * 3);
    context.lineTo(x + dx * 7, y + dy * 7);
  }
  haloed(context, colour, 1.5);
}

function arrow(context: Context, [head, tail]: readonly [Point2, Point2], colour: string): void {
  const angle = Math.atan2(tail[1] - head[1], tail[0] - head[0]);
  const side = (turn: number): Point2 => [head[0] + HEAD_PX * Math.cos(angle + turn), head[1] + HEAD_PX * Math.sin(angle + turn)];
  path(context, [head, tail], false);
  haloed(context, colour, 2);
  path(context, [side(0.42), head, side(-0.42)], false);
  haloed(context, colour, 2);
}
