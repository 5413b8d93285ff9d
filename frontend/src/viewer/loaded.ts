/** Which slices of each layer are on screen as yet: none, which level, or fine. */
import { type Ranges, toRanges } from './holdings';
import type { Layer } from './types';

const FINE = 255;

interface Entry {
  /** 0 not loaded, else FINE minus the level. */
  slices: Uint8Array;
  fine: number;
  missing: Ranges;
  /** Grows with every slice, so that what was drawn from fewer is drawn again. */
  stamp: number;
}

export class Loaded {
  private readonly entries = new Map<number, Entry>();

  private entry(layer: Layer): Entry {
    let entry = this.entries.get(layer.id);
    if (!entry) {
      entry = { slices: new Uint8Array(layer.shape[0]), fine: 0, missing: [[0, layer.shape[0] - 1]], stamp: 0 };
      this.entries.set(layer.id, entry);
    }
    return entry;
  }

  /** Notes slices of a level (0 is full resolution); gives those that should now be drawn: a coarser
   * one never replaces a finer one. */
  add(layer: Layer, first: number, last: number, level: number): number[] {
    const entry = this.entry(layer);
    const drawn: number[] = [];
    let wasMissing = false;
    for (let k = first; k <= last; k++) {
      const before = entry.slices[k]!;
      if (before >= FINE - level) continue;
      wasMissing ||= before === 0;
      entry.slices[k] = FINE - level;
      if (level === 0) entry.fine += 1;
      drawn.push(k);
      entry.stamp += 1;
    }
    if (wasMissing) {
      const gone: number[] = [];
      entry.slices.forEach((state, k) => state === 0 && gone.push(k));
      entry.missing = toRanges(gone);
    }
    return drawn;
  }

  /** The voxels were given back. */
  forget(id: number): void {
    this.entries.delete(id);
  }

  stamp(layer: Layer): number {
    return this.entry(layer).stamp;
  }

  missing(layer: Layer): Ranges {
    return this.entry(layer).missing;
  }

  isFine(layer: Layer, slice: number): boolean {
    return !layer.finest && this.entry(layer).slices[slice] === FINE;
  }

  /** Full-resolution slices there, 0..1. */
  fraction(layer: Layer): number {
    return this.entry(layer).fine / layer.shape[0];
  }

  /** Something to see everywhere, if only coarsely. */
  covered(layer: Layer): boolean {
    return this.entry(layer).missing.length === 0;
  }

  /** Everything is here, at full resolution: not for a layer that is shown coarser than it is. */
  lossless(layer: Layer): boolean {
    return !layer.finest && this.complete(layer);
  }

  complete(layer: Layer): boolean {
    return this.entry(layer).fine === layer.shape[0];
  }
}
