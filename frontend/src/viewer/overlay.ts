/** Marks drawn over one pane's image on a 2-D canvas, bottom first; each kind has its file in `marks/`. */
import { dot, type Grid, subtract, type Vec3 } from '../affine';
import { drawCrosshair } from './marks/crosshair';
import { drawFindings } from './marks/findings';
import { drawLandmarks, drawRing } from './marks/landmarks';
import { drawMeasured, type MeasuredMarks } from './marks/measured';
import { drawMissing } from './marks/missing';
import { drawEdges, drawOutlines } from './marks/outlines';
import type { Contour, Plane } from './slicing';
import type { Point2 } from './stage';
import type { Finding } from './types';

export { findingColour, findingMarks, originOf, textPlace } from './marks/findings';

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
  /** Of the reader, where measuring is possible. */
  measured: MeasuredMarks | null;
  focus: Vec3 | null;
  landmarks: readonly LandmarkMark[];
  /** Of the tool "align by hand": inside a drag moves, outside it turns. */
  ring: { at: Point2; radius: number } | null;
  mmPerPixel: number;
  /** Of the pane, CSS px. */
  width: number;
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
  if (marks.measured) drawMeasured(context, marks.measured);
  drawLandmarks(context, marks);
  if (marks.ring) drawRing(context, marks.ring);
  if (marks.focus) drawCrosshair(context, marks.toCanvas(marks.focus), width, height);
}

/** Millimetres per CSS pixel of a pane, from two canvas points. */
export function millimetresPerPixel(toWorld: (at: Point2) => Vec3): number {
  const d = subtract(toWorld([100, 0]), toWorld([0, 0]));
  return Math.sqrt(dot(d, d)) / 100;
}
