/** The pair of landmarks that is being placed, and the marks of all pairs in one space. */
import type { Vec3 } from '../affine';
import { t } from '../i18n';
import type { LandmarkMark } from './overlay';
import type { LandmarkPair } from './registration-types';

export type End = 'reference' | 'moving';

export class LandmarkPairs {
  /** Ends of the pair that is being placed, and whose it is; the moving one in that series' own LPS. */
  private pending: { registration: number; reference?: Vec3; moving?: Vec3 } | null = null;

  forget(): void {
    this.pending = null;
  }

  /** What the reader is to do next. */
  waiting(registration: number): string {
    if (this.pending?.registration !== registration) return '';
    if (this.pending.reference) return t('Now the same spot in the moving series.');
    return this.pending.moving ? t('Now the same spot in the reference.') : '';
  }

  /** One end of a pair; both, once the other is there. */
  put(registration: number, end: End, point: Vec3): { reference: Vec3; moving: Vec3 } | null {
    const before = this.pending?.registration === registration ? this.pending : { registration };
    this.pending = { ...before, [end]: point };
    const { reference, moving } = this.pending;
    if (!reference || !moving) return null;
    this.pending = null;
    return { reference, moving };
  }

  /** Marks of one space: stored pairs where they are shown, and the end that waits for its other. */
  marks(registration: number, pairs: readonly LandmarkPair[], space: End, shown: boolean): LandmarkMark[] {
    const stored = (shown ? pairs : []).map((pair, n) => ({ text: String(n + 1), point: pair[space], open: false }));
    const waiting = this.pending?.registration === registration ? this.pending[space] : undefined;
    return waiting ? [...stored, { text: String(pairs.length + 1), point: waiting, open: true }] : stored;
  }
}
