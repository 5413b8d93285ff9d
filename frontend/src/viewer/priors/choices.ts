/** What the reader may pair: the current sizes, and those of each earlier study. Pure. */
import type { Item, Named, Pair, PairBody, Prior, Priors } from './types';

export interface Choice {
  /** Of a <select>: kind, id and, for sizes of this case, the study. */
  value: string;
  item: Item;
}

export const keyOf = ({ kind, id }: Named): string => `${kind}:${id}`;

export function find(items: readonly Item[], named: Named): Item | undefined {
  return items.find((item) => keyOf(item) === keyOf(named));
}

/** Sizes that may stand on the earlier side of a pair with this study: those of the case in which it was read, and measurements of this case, for what was measured on its images here. */
export function earlierChoices(priors: Priors, prior: Prior): Choice[] {
  const read = prior.case === null ? [] : (priors.earlier[prior.case] ?? []);
  const here = prior.in_case ? priors.current.filter(({ kind }) => kind === 'measurement') : [];
  return [
    ...read.map((item) => ({ value: keyOf(item), item })),
    ...here.map((item) => ({ value: `${keyOf(item)}:${prior.study}`, item })),
  ];
}

/** The body of the request for two choices; null where one is missing or both are the same. */
export function bodyOf(current: string, earlier: string, isNode: boolean): PairBody | null {
  const named = (value: string): Named | null => {
    const [kind, id] = value.split(':');
    return (kind === 'measurement' || kind === 'finding') && Number(id) > 0 ? { kind, id: Number(id) } : null;
  };
  const [now, then] = [named(current), named(earlier)];
  if (!now || !then || keyOf(now) === keyOf(then)) return null;
  const study = Number(earlier.split(':')[2] ?? 0);
  return { current: now, earlier: then, study: study || null, is_node: isNode };
}

/** All that is known of one current lesion's past, the newest first. */
export function entriesOf(pair: Pair): { earlier: Item; change: NonNullable<Pair['change']> }[] {
  const own = pair.earlier && pair.change ? [{ earlier: pair.earlier, change: pair.change }] : [];
  return [...own, ...pair.history];
}
