/** Alignment by hand of one layer: the matrix under way, with undo and redo. No screen, no server. */
import { apply, IDENTITY, invert, type Mat4, multiply, rigidAbout, subtract, type Vec3 } from '../affine';

/** A step as a reader reads it: LPS mm and degrees about x, y, z through a point. */
export interface Readout {
  translate: Vec3;
  degrees: Vec3;
}

const DEGREES = 180 / Math.PI;

/** The inverse of `rigidAbout(centre, ...)`; for a rigid matrix. */
export function decomposeAbout(centre: Vec3, matrix: Mat4): Readout {
  const at = (row: number, column: number): number => matrix[row]![column]!;
  const turned = Math.asin(Math.min(Math.max(-at(2, 0), -1), 1));
  return {
    translate: subtract(apply(matrix, centre), centre),
    degrees: [Math.atan2(at(2, 1), at(2, 2)) * DEGREES, turned * DEGREES, Math.atan2(at(1, 0), at(0, 0)) * DEGREES],
  };
}

/** A turn by degrees about an axis (unit vector, right hand) through a point. */
export function turnAbout(point: Vec3, axis: Vec3, degrees: number): Mat4 {
  const [c, s] = [Math.cos(degrees / DEGREES), Math.sin(degrees / DEGREES)];
  const [x, y, z] = axis;
  const k = 1 - c;
  const rotation: Mat4 = [
    [c + x * x * k, x * y * k - z * s, x * z * k + y * s, 0],
    [y * x * k + z * s, c + y * y * k, y * z * k - x * s, 0],
    [z * x * k - y * s, z * y * k + x * s, c + z * z * k, 0],
    [0, 0, 0, 1],
  ];
  const moved = subtract(point, apply(rotation, point));
  return rotation.map((row, n) => (n < 3 ? [row[0]!, row[1]!, row[2]!, moved[n]!] : row));
}

export function shiftBy(mm: Vec3): Mat4 {
  return IDENTITY.map((row, n) => (n < 3 ? [row[0]!, row[1]!, row[2]!, mm[n]!] : row));
}

function same(a: Mat4, b: Mat4): boolean {
  return a.every((row, r) => row.every((value, c) => Math.abs(value - b[r]![c]!) < 1e-9));
}

export class Alignment {
  private steps: Mat4[];
  private place = 0;
  private under: Mat4 | null = null;

  /** `start`: the layer's matrix on record (layer LPS -> reference LPS). */
  constructor(readonly start: Mat4) {
    this.steps = [start];
  }

  get matrix(): Mat4 {
    return this.under ?? this.steps[this.place]!;
  }
  get dirty(): boolean {
    return !same(this.matrix, this.start);
  }
  get canUndo(): boolean {
    return this.place > 0;
  }
  get canRedo(): boolean {
    return this.place < this.steps.length - 1;
  }

  /** What was done since the start, as one step about a point of the reference. */
  readout(centre: Vec3): Readout {
    return decomposeAbout(centre, multiply(this.matrix, invert(this.start)));
  }

  /** A step of a drag under way: replaces the one before, counts when committed. */
  try(step: Mat4): void {
    this.under = multiply(step, this.steps[this.place]!);
  }

  commit(): void {
    if (this.under) this.go(this.under);
  }

  /** A step (in reference LPS) after all before. */
  step(step: Mat4): void {
    this.go(multiply(step, this.matrix));
  }

  /** Typed figures: the whole of what was done since the start. */
  set(centre: Vec3, { translate, degrees }: Readout): void {
    this.go(multiply(rigidAbout(centre, translate, degrees), this.start));
  }

  go(matrix: Mat4): void {
    this.under = null;
    if (same(matrix, this.steps[this.place]!)) return;
    this.steps = [...this.steps.slice(0, this.place + 1), matrix];
    this.place += 1;
  }

  undo(): void {
    this.under = null;
    this.place = Math.max(this.place - 1, 0);
  }
  redo(): void {
    this.under = null;
    this.place = Math.min(this.place + 1, this.steps.length - 1);
  }
  reset(): void {
    this.go(this.start);
  }
}

/** Distance in mm that a pair of points is apart under a matrix (moving LPS -> reference LPS). */
export function residual(matrix: Mat4, pair: { reference: Vec3; moving: Vec3 }): number {
  return Math.hypot(...subtract(apply(matrix, pair.moving), pair.reference));
}

export function mean(values: readonly number[]): number | null {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/**
 * The rigid matrix nearest to an affine one (polar decomposition, Higham's iteration) that keeps a
 * point where the affine puts it: what an alignment by hand starts from.
 */
export function rigidPart(matrix: Mat4, centre: Vec3): Mat4 {
  let turn = matrix.map((row, n) => (n < 3 ? [row[0]!, row[1]!, row[2]!, 0] : [0, 0, 0, 1])) as Mat4;
  for (let n = 0; n < 30; n++) {
    const inverse = invert(turn);
    turn = turn.map((row, r) => row.map((value, c) => (r < 3 && c < 3 ? (value + inverse[c]![r]!) / 2 : value)));
  }
  const moved = subtract(apply(matrix, centre), apply(turn, centre));
  return turn.map((row, n) => (n < 3 ? [row[0]!, row[1]!, row[2]!, moved[n]!] : row));
}
