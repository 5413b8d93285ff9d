/**
 * LPS millimetres, affines and the zyx <-> xyz order: the mirror of analysis/geometry.py, with the
 * same test vectors (tests/analysis/vectors/affine.json). Nothing else in the browser knows them.
 *
 * An affine maps voxel indices (i, j, k, 1) to LPS mm; matrices are row-major, shapes are [nz, ny, nx].
 */
export type Vec3 = readonly [number, number, number];
export type Mat4 = readonly (readonly number[])[];
export type Shape = readonly [number, number, number];

export const IDENTITY: Mat4 = [
  [1, 0, 0, 0],
  [0, 1, 0, 0],
  [0, 0, 1, 0],
  [0, 0, 0, 1],
];

function at(m: Mat4, row: number, column: number): number {
  return m[row]![column]!;
}

export function multiply(a: Mat4, b: Mat4): Mat4 {
  return [0, 1, 2, 3].map((r) =>
    [0, 1, 2, 3].map((c) => at(a, r, 0) * at(b, 0, c) + at(a, r, 1) * at(b, 1, c) + at(a, r, 2) * at(b, 2, c) + at(a, r, 3) * at(b, 3, c)),
  );
}

/** A matrix applied to a point (with its translation). */
export function apply(m: Mat4, p: Vec3): Vec3 {
  const row = (r: number): number => at(m, r, 0) * p[0] + at(m, r, 1) * p[1] + at(m, r, 2) * p[2] + at(m, r, 3);
  return [row(0), row(1), row(2)];
}

export function add(a: Vec3, b: Vec3): Vec3 {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
}
export function subtract(a: Vec3, b: Vec3): Vec3 {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}
export function scale(a: Vec3, s: number): Vec3 {
  return [a[0] * s, a[1] * s, a[2] * s];
}
export function dot(a: Vec3, b: Vec3): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
export function cross(a: Vec3, b: Vec3): Vec3 {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}
export function length(a: Vec3): number {
  return Math.hypot(a[0], a[1], a[2]);
}
export function normalise(a: Vec3): Vec3 {
  return scale(a, 1 / length(a));
}

/** The inverse of an affine (last row 0 0 0 1). Throws for a singular one. */
export function invert(m: Mat4): Mat4 {
  const column = (c: number): Vec3 => [at(m, 0, c), at(m, 1, c), at(m, 2, c)];
  const [a, b, c, t] = [column(0), column(1), column(2), column(3)];
  const determinant = dot(a, cross(b, c));
  if (Math.abs(determinant) < 1e-12) throw new Error('the affine is singular');
  const rows = [cross(b, c), cross(c, a), cross(a, b)].map((row) => scale(row, 1 / determinant));
  return [...rows.map((row) => [...row, -dot(row, t)]), [0, 0, 0, 1]];
}

/** A voxel lattice: its shape [nz, ny, nx] and its affine. */
export class Grid {
  readonly spacing: Vec3;
  /** Unit vectors of i, j, k in LPS. */
  readonly axes: readonly [Vec3, Vec3, Vec3];
  readonly origin: Vec3;
  private readonly inverse: Mat4;

  constructor(
    readonly shape: Shape,
    readonly affine: Mat4,
  ) {
    const columns = [0, 1, 2].map((c): Vec3 => [at(affine, 0, c), at(affine, 1, c), at(affine, 2, c)]);
    const [i, j, k] = columns as [Vec3, Vec3, Vec3];
    this.spacing = [length(i), length(j), length(k)];
    this.axes = [normalise(i), normalise(j), normalise(k)];
    this.origin = [at(affine, 0, 3), at(affine, 1, 3), at(affine, 2, 3)];
    this.inverse = invert(affine);
  }

  /** Number of voxels along i, j, k. */
  get counts(): Vec3 {
    return [this.shape[2], this.shape[1], this.shape[0]];
  }

  /** LPS mm of the lattice's middle. */
  get centre(): Vec3 {
    const [nx, ny, nz] = this.counts;
    return this.toLps([(nx - 1) / 2, (ny - 1) / 2, (nz - 1) / 2]);
  }

  toLps(ijk: Vec3): Vec3 {
    return apply(this.affine, ijk);
  }

  /** Fractional voxel indices (i, j, k). */
  toIndex(lps: Vec3): Vec3 {
    return apply(this.inverse, lps);
  }

  /** The same lattice carried to another space by a matrix (layer LPS -> reference LPS). */
  moved(matrix: Mat4): Grid {
    return new Grid(this.shape, multiply(matrix, this.affine));
  }

  /** Nearest voxel centre inside the lattice. */
  snap(lps: Vec3): Vec3 {
    const index = this.toIndex(lps).map((v, axis) => Math.min(Math.max(Math.round(v), 0), this.counts[axis as 0 | 1 | 2] - 1));
    return this.toLps(index as unknown as Vec3);
  }

  /** True when the axes are perpendicular: a texture with direction cosines can hold it. */
  get orthogonal(): boolean {
    const [i, j, k] = this.axes;
    return Math.max(Math.abs(dot(i, j)), Math.abs(dot(j, k)), Math.abs(dot(i, k))) < 1e-3;
  }
}

/**
 * Letters of the patient direction(s) a vector points to: R/L, A/P, H/F, strongest first; a second
 * and third letter follow where the direction is oblique (component above 0.2, about 12 degrees).
 */
export function directionLetters(v: Vec3): string {
  const unit = normalise(v);
  const names = [
    ['L', 'R'],
    ['P', 'A'],
    ['H', 'F'],
  ] as const;
  return unit
    .map((value, axis) => ({ size: Math.abs(value), letter: names[axis]![value > 0 ? 0 : 1]! }))
    .filter((part) => part.size > 0.2)
    .sort((a, b) => b.size - a.size)
    .map((part) => part.letter)
    .join('');
}

/** A rigid step about a point: rotate by degrees about x, then y, then z of LPS, then translate mm. */
export function rigidAbout(centre: Vec3, translate: Vec3, degrees: Vec3): Mat4 {
  const [ax, ay, az] = degrees.map((d) => (d * Math.PI) / 180) as [number, number, number];
  const rotation = (axis: 0 | 1 | 2, angle: number): Mat4 => {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    if (axis === 0) return [[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]];
    if (axis === 1) return [[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]];
    return [[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];
  };
  const shift = (v: Vec3): Mat4 => [[1, 0, 0, v[0]], [0, 1, 0, v[1]], [0, 0, 1, v[2]], [0, 0, 0, 1]];
  const turned = multiply(rotation(2, az), multiply(rotation(1, ay), rotation(0, ax)));
  return multiply(shift(add(centre, translate)), multiply(turned, shift(scale(centre, -1))));
}
