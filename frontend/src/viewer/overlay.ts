/** Marks drawn over one pane's image on a 2-D canvas: not-loaded bands, outlines, findings, crosshair. */
import { dot, type Grid, subtract, type Vec3 } from '../affine';
import { cutContours, cutSlab, type Contour, distanceTo, type Plane } from './slicing';
import type { Point2 } from './stage';
import type { Finding, Measurement } from './types';

export interface Outlined {
  name: string;
  color: string;
  contours: Contour[];
}

export interface MissingPart {
  grid: Grid;
  /** Inclusive ranges of slices not there yet, not even coarsely. */
  ranges: readonly (readonly [number, number])[];
  /** The base hides what lies below; a layer above is only hatched. */
  base: boolean;
}

/** One end of a landmark pair, in the space of the pane. */
export interface LandmarkMark {
  text: string;
  point: Vec3;
  /** Its other end is not placed yet. */
  open: boolean;
}

export interface Marks {
  plane: Plane;
  halfStep: number;
  toCanvas: (point: Vec3) => Point2;
  missing: readonly MissingPart[];
  outlines: readonly Outlined[];
  edges: readonly (readonly [Point2, Point2])[];
  findings: readonly Finding[];
  selectedFinding: number | null;
  measurements: readonly Measurement[];
  draft: readonly Vec3[];
  focus: Vec3 | null;
  landmarks: readonly LandmarkMark[];
  /** Of the tool "align by hand": inside a drag moves, outside it turns. */
  ring: { at: Point2; radius: number } | null;
  mmPerPixel: number;
  visibleLabels: readonly string[];
  /** Of the pane, CSS px. */
  width: number;
}

const NOT_LOADED = '#16324a';
const NOT_LOADED_LINE = '#4f8fc0';
const AI = '#c5a3ff';
const ACCEPTED = '#6fcf97';
const MEASURE = '#ffd166';
const LANDMARK = '#7ee2a8';
const CROSS = 'rgb(120 190 235 / 75%)';
/** Room kept at the right edge for colour bars. */
const COLOUR_BAR_PX = 64;
const FONT = '600 12px system-ui, sans-serif';

function path(context: CanvasRenderingContext2D, points: readonly Point2[], close: boolean): void {
  context.beginPath();
  points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (close) context.closePath();
}

function label(context: CanvasRenderingContext2D, text: string, x: number, y: number, colour: string): void {
  context.font = FONT;
  context.textBaseline = 'middle';
  context.lineWidth = 3;
  context.strokeStyle = 'rgb(0 0 0 / 85%)';
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawMissing(context: CanvasRenderingContext2D, marks: Marks): void {
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

function drawOutlines(context: CanvasRenderingContext2D, marks: Marks): void {
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

/** A network's findings carry its probability; the others come from thresholds and contours. */
export function originOf(finding: Finding): string {
  return finding.probability === null ? 'computed' : 'AI';
}

export function findingColour(finding: Finding): string {
  if (finding.review.state === 'accepted' || finding.review.state === 'edited') return ACCEPTED;
  return finding.review.state === 'rejected' ? '#9aa6b4' : AI;
}

/** Findings whose extent reaches the plane, with their place on screen. */
export function findingMarks(marks: Pick<Marks, 'plane' | 'toCanvas' | 'findings' | 'halfStep' | 'mmPerPixel'>): { finding: Finding; at: Point2; radius: number }[] {
  return marks.findings.flatMap((finding) => {
    const distance = Math.abs(distanceTo(marks.plane, finding.position));
    const reach = Math.max(finding.long_axis_mm / 2, marks.halfStep);
    if (distance > reach) return [];
    const section = Math.sqrt(Math.max(reach * reach - distance * distance, 0));
    return [{ finding, at: marks.toCanvas(finding.position), radius: Math.max(section / marks.mmPerPixel + 5, 9) }];
  });
}

function drawFindings(context: CanvasRenderingContext2D, marks: Marks): void {
  for (const { finding, at, radius } of findingMarks(marks)) {
    const colour = findingColour(finding);
    const selected = finding.id === marks.selectedFinding;
    const unverified = finding.review.state === 'pending';
    context.save();
    context.strokeStyle = colour;
    context.lineWidth = selected ? 2.5 : 1.5;
    if (unverified) context.setLineDash([5, 4]);
    context.beginPath();
    context.arc(at[0], at[1], radius, 0, Math.PI * 2);
    context.stroke();
    context.restore();
    const text = `${finding.number}${finding.review.state === 'rejected' ? ' rejected' : unverified ? ` ${originOf(finding)}, unverified` : ''}`;
    const reach = radius * 0.72 + 5;
    context.font = FONT;
    const width = context.measureText(text).width;
    // To the left where the right has no room.
    const x = at[0] + reach + width > marks.width - COLOUR_BAR_PX ? at[0] - reach - width : at[0] + reach;
    label(context, text, x, at[1] - reach, colour);
  }
}

function drawMeasurements(context: CanvasRenderingContext2D, marks: Marks): void {
  for (const measurement of marks.measurements) {
    if (measurement.points.some((p) => Math.abs(distanceTo(marks.plane, p)) > marks.halfStep + 1e-6)) continue;
    drawLine(context, measurement.points.map(marks.toCanvas), linesOf(measurement, marks.visibleLabels), false);
  }
  if (marks.draft.length) drawLine(context, marks.draft.map(marks.toCanvas), marks.draft.length > 1 ? ['measuring…'] : [], true);
}

/** A probe's text names every fused layer; on the image only those on screen, one to a line. */
export function linesOf(measurement: Measurement, visibleLabels: readonly string[]): string[] {
  if (measurement.tool === 'length') return [measurement.text];
  const parts = measurement.text.split(', ');
  const shown = parts.filter((part) => visibleLabels.some((name) => part.startsWith(`${name} `)));
  return shown.length ? shown : parts.slice(0, 1);
}

function drawLine(context: CanvasRenderingContext2D, points: readonly Point2[], lines: readonly string[], dashed: boolean): void {
  context.save();
  context.strokeStyle = MEASURE;
  context.lineWidth = 1.5;
  if (dashed) context.setLineDash([4, 3]);
  if (points.length > 1) {
    path(context, points, false);
    context.stroke();
  }
  context.setLineDash([]);
  for (const [x, y] of points) {
    context.beginPath();
    context.moveTo(x - 5, y);
    context.lineTo(x + 5, y);
    context.moveTo(x, y - 5);
    context.lineTo(x, y + 5);
    context.stroke();
  }
  context.restore();
  const last = points[points.length - 1]!;
  lines.forEach((text, n) => label(context, text, last[0] + 10, last[1] + 12 + n * 15, MEASURE));
}

function drawCrosshair(context: CanvasRenderingContext2D, at: Point2, width: number, height: number): void {
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

function drawEdges(context: CanvasRenderingContext2D, edges: Marks['edges']): void {
  context.strokeStyle = AI;
  context.lineWidth = 1.25;
  context.beginPath();
  for (const [a, b] of edges) {
    context.moveTo(a[0], a[1]);
    context.lineTo(b[0], b[1]);
  }
  context.stroke();
}

/** Landmarks within this of the plane are drawn; further than half a slice they are faint. */
const LANDMARK_REACH_MM = 6;

function drawLandmarks(context: CanvasRenderingContext2D, marks: Marks): void {
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

function drawRing(context: CanvasRenderingContext2D, ring: { at: Point2; radius: number }): void {
  context.save();
  context.strokeStyle = 'rgb(255 209 102 / 60%)';
  context.lineWidth = 1.5;
  context.setLineDash([10, 6]);
  context.beginPath();
  context.arc(ring.at[0], ring.at[1], ring.radius, 0, Math.PI * 2);
  context.stroke();
  context.restore();
}

/** Clears the canvas (CSS size times device pixel ratio) and draws all marks. */
export function drawMarks(canvas: HTMLCanvasElement, marks: Marks): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  drawMissing(context, marks);
  drawEdges(context, marks.edges);
  drawOutlines(context, marks);
  drawFindings(context, marks);
  drawMeasurements(context, marks);
  drawLandmarks(context, marks);
  if (marks.ring) drawRing(context, marks.ring);
  if (marks.focus) drawCrosshair(context, marks.toCanvas(marks.focus), width, height);
}

/** Millimetres per CSS pixel of a pane, from two canvas points. */
export function millimetresPerPixel(toWorld: (at: Point2) => Vec3): number {
  const d = subtract(toWorld([100, 0]), toWorld([0, 0]));
  return Math.sqrt(dot(d, d)) / 100;
}
