/** Which slices of which layer and level this browser already holds: what a resumed socket says. */
export type Ranges = [number, number][];
export type Have = Record<string, Record<string, Ranges>>;

/** Sorted inclusive ranges of a set of numbers. */
export function toRanges(numbers: Iterable<number>): Ranges {
  const ranges: Ranges = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const last = ranges[ranges.length - 1];
    if (last && n === last[1] + 1) last[1] = n;
    else if (!last || n > last[1]) ranges.push([n, n]);
  }
  return ranges;
}

export class Holdings {
  private readonly held = new Map<number, Map<number, Set<number>>>();

  /** Notes a slice; false if it was held before. */
  add(layer: number, level: number, slice: number): boolean {
    let levels = this.held.get(layer);
    if (!levels) this.held.set(layer, (levels = new Map()));
    let slices = levels.get(level);
    if (!slices) levels.set(level, (slices = new Set()));
    if (slices.has(slice)) return false;
    slices.add(slice);
    return true;
  }

  /** The slices 0..count-1 that are not held, but for those left out. */
  missing(layer: number, level: number, count: number, without: (slice: number) => boolean): Ranges {
    const slices = this.held.get(layer)?.get(level);
    return toRanges(Array.from({ length: count }, (_, k) => k).filter((k) => !slices?.has(k) && !without(k)));
  }

  forget(layer: number): void {
    this.held.delete(layer);
  }

  has(layer: number, level: number, slice: number): boolean {
    return this.held.get(layer)?.get(level)?.has(slice) ?? false;
  }

  count(layer: number, level: number): number {
    return this.held.get(layer)?.get(level)?.size ?? 0;
  }

  /** The `have` of an `open` message, for the wanted layers. */
  have(layers: readonly number[]): Have {
    const result: Have = {};
    for (const layer of layers) {
      const levels = this.held.get(layer);
      if (!levels) continue;
      result[String(layer)] = Object.fromEntries([...levels].map(([level, slices]) => [String(level), toRanges(slices)]));
    }
    return result;
  }
}
