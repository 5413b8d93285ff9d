/** Binary frames of /ws/cases/<id>/slices/: a 32-byte little-endian header, then the codec's bytes. */
import { crc32 } from './crc32';

export const MAGIC = 0x4652;
export const HEADER_BYTES = 32;
export const PROTOCOL_VERSION = 2;

export interface Frame {
  codec: number;
  layer: number;
  level: number;
  /** Slice index k in that level. */
  slice: number;
  /** Number of the frame on this socket, from 0. */
  sequence: number;
  /** CRC-32 of the payload, as the server knows it. */
  checksum: number;
  payload: Uint8Array<ArrayBuffer>;
}

/** Throws for a header that is damaged: which slice this was is then unknown. */
export function parseFrame(buffer: ArrayBuffer): Frame {
  if (buffer.byteLength < HEADER_BYTES) throw new Error(`frame of ${buffer.byteLength} bytes is too short`);
  const view = new DataView(buffer);
  if (view.getUint16(0, true) !== MAGIC) throw new Error('frame without its mark');
  const version = view.getUint8(2);
  if (version !== PROTOCOL_VERSION) throw new Error(`frame of protocol version ${version}`);
  if (view.getUint32(28, true) !== crc32(new Uint8Array(buffer, 0, 28))) throw new Error('frame with a damaged header');
  const size = view.getUint32(16, true);
  if (size !== buffer.byteLength - HEADER_BYTES) throw new Error('frame length does not match its header');
  return {
    codec: view.getUint8(3),
    layer: view.getUint32(4, true),
    level: view.getUint16(8, true),
    slice: view.getUint32(12, true),
    sequence: view.getUint32(20, true),
    checksum: view.getUint32(24, true),
    payload: new Uint8Array(buffer, HEADER_BYTES, size),
  };
}

export function isIntact(frame: Frame): boolean {
  return crc32(frame.payload) === frame.checksum;
}
