/** Flips as a reader asks for them: of what is on the screen now. */
import { NO_TURN, type Turn } from './orientation';

type Quarter = Turn['quarter'];
const quarter = (n: number): Quarter => ((((n % 4) + 4) % 4) as Quarter);

/** Mirrored on screen, left to right or top to bottom. A turn is a mirror first, then quarters clockwise. */
export function flipped(turn: Turn = NO_TURN, way: 'horizontal' | 'vertical'): Turn {
  return { quarter: quarter(-turn.quarter + (way === 'vertical' ? 2 : 0)), flip: !turn.flip };
}
