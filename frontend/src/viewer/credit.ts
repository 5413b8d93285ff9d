/** Back-pressure: the server may have at most CREDIT frames under way that we have not granted anew. */
export const CREDIT = 32;
const STEP = CREDIT / 2;

/** Frames to grant after the n-th frame of a socket has been decoded; 0 for none yet. */
export function creditDue(received: number): number {
  return received % STEP === 0 ? STEP : 0;
}
