/** A coarse slice drawn on the fine slice's lattice (bilinear), shown until the fine one arrives. */
import type { Pixels } from './codec';

interface Taps {
  low: Int32Array;
  high: Int32Array;
  weight: Float32Array;
}

/** Coarse voxel J is the mean of fine voxels J*f .. J*f+f-1, so its centre is J*f + (f-1)/2. */
function taps(fine: number, coarse: number, factor: number): Taps {
  const result: Taps = { low: new Int32Array(fine), high: new Int32Array(fine), weight: new Float32Array(fine) };
  for (let n = 0; n < fine; n++) {
    const at = Math.min(Math.max((n - (factor - 1) / 2) / factor, 0), coarse - 1);
    const low = Math.floor(at);
    result.low[n] = low;
    result.high[n] = Math.min(low + 1, coarse - 1);
    result.weight[n] = at - low;
  }
  return result;
}

/** `smooth` false repeats voxels: labels must not be mixed. */
export function upsample(
  coarse: Pixels,
  coarseSize: readonly [ny: number, nx: number],
  fineSize: readonly [ny: number, nx: number],
  factors: readonly [fy: number, fx: number],
  smooth: boolean,
): Pixels {
  const [cy, cx] = coarseSize;
  const [ny, nx] = fineSize;
  const out: Pixels = coarse instanceof Int16Array ? new Int16Array(ny * nx) : new Uint8Array(ny * nx);
  if (!smooth) {
    for (let y = 0, p = 0; y < ny; y++) {
      const row = Math.min(Math.floor(y / factors[0]), cy - 1) * cx;
      for (let x = 0; x < nx; x++, p++) out[p] = coarse[row + Math.min(Math.floor(x / factors[1]), cx - 1)]!;
    }
    return out;
  }
  const [ty, tx] = [taps(ny, cy, factors[0]), taps(nx, cx, factors[1])];
  const row = new Float32Array(cx);
  for (let y = 0, p = 0; y < ny; y++) {
    const [a, b, w] = [ty.low[y]! * cx, ty.high[y]! * cx, ty.weight[y]!];
    for (let x = 0; x < cx; x++) row[x] = coarse[a + x]! * (1 - w) + coarse[b + x]! * w;
    for (let x = 0; x < nx; x++, p++) {
      const v = tx.weight[x]!;
      out[p] = Math.round(row[tx.low[x]!]! * (1 - v) + row[tx.high[x]!]! * v);
    }
  }
  return out;
}
