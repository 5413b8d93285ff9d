/**
 * The slice codec of the volume store (analysis/volume_store.py): 2-D gradient, zigzag, byte planes,
 * zstd. Codec 1 is int16, codec 2 is uint8. Lossless; vectors in tests/analysis/vectors/codec.json.
 */
import { ZSTDDecoder } from 'zstddec';

export type Pixels = Int16Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

const zstd = new ZSTDDecoder();
let ready: Promise<void> | undefined;

/** Loads the zstd WebAssembly once; must be awaited before `decodeSlice`. */
export function initCodec(): Promise<void> {
  ready ??= Promise.resolve(zstd.init()).then(() => undefined);
  return ready;
}

export function decodeSlice(payload: Uint8Array, ny: number, nx: number, codec: number): Pixels {
  const voxels = ny * nx;
  if (codec !== 1 && codec !== 2) throw new Error(`unknown codec ${codec}`);
  const size = codec === 1 ? voxels * 2 : voxels;
  const planes = zstd.decode(payload, size);
  if (planes.length !== size) throw new Error(`slice has ${planes.length} bytes, expected ${size}`);
  return codec === 1 ? ungradient16(planes, ny, nx) : ungradient8(planes, ny, nx);
}

/** a[y,x] = sum of the row's residuals so far + a[y-1,x], modulo 2^16. */
function ungradient16(planes: Uint8Array, ny: number, nx: number): Int16Array<ArrayBuffer> {
  const voxels = ny * nx;
  const out = new Int16Array(voxels);
  let p = 0;
  for (let y = 0; y < ny; y++) {
    let run = 0;
    for (let x = 0; x < nx; x++, p++) {
      const z = planes[p]! | (planes[p + voxels]! << 8);
      run += (z >>> 1) ^ -(z & 1);
      out[p] = y === 0 ? run : run + out[p - nx]!;
    }
  }
  return out;
}

function ungradient8(planes: Uint8Array, ny: number, nx: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(ny * nx);
  let p = 0;
  for (let y = 0; y < ny; y++) {
    let run = 0;
    for (let x = 0; x < nx; x++, p++) {
      const z = planes[p]!;
      run += (z >>> 1) ^ -(z & 1);
      out[p] = y === 0 ? run : run + out[p - nx]!;
    }
  }
  return out;
}
