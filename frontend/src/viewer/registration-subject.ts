/** Which layers a registration is about. */
import type { Layer } from './types';

/** A deformed layer stands for the one it was made from: that is what is aligned and compared. */
export function subjectOf(layer: Layer, layers: readonly Layer[]): Layer {
  const { deformed } = layer;
  if (!deformed) return layer;
  return layers.find((other) => other.kind === 'series' && other.registration_id === deformed.registration) ?? layer;
}

/** Series other than the reference, one per registration, for the list. */
export function listedSeries(layers: readonly Layer[], reference: Layer): Layer[] {
  const seen = new Set<number>();
  return layers.filter((layer) => {
    const id = layer.registration_id;
    if (layer.kind !== 'series' || layer.id === reference.id || (id !== null && seen.has(id))) return false;
    if (id !== null) seen.add(id);
    return true;
  });
}
