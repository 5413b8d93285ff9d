/**
 * A series that holds several volumes (b-values, phases, echoes) is one row in the layer list and
 * one volume on screen: which of its siblings, the reader chooses.
 */
import type { Layer } from './types';

/** Series key -> chosen layer. */
export type Chosen = Readonly<Record<string, number>>;

/** What a layer is a sibling within; layers that are no series stand alone. */
export function seriesKey(layer: Layer): string {
  return layer.kind === 'series' && layer.series !== null ? `series ${layer.series}` : `layer ${layer.id}`;
}

/** All volumes of a layer's series, in their order; a series of one volume has one. */
export function siblings(layer: Layer, layers: readonly Layer[]): Layer[] {
  const key = seriesKey(layer);
  return layers.filter((other) => seriesKey(other) === key).sort((a, b) => a.volume.number - b.volume.number);
}

/** One layer per series: the chosen one, else the main one, which was registered and measured. */
export function shown(layers: readonly Layer[], chosen: Chosen): Layer[] {
  const found = new Map<string, Layer>();
  for (const layer of layers) {
    const key = seriesKey(layer);
    const before = found.get(key);
    if (!before || layer.id === chosen[key] || (layer.volume.main && before.id !== chosen[key])) found.set(key, layer);
  }
  return [...found.values()];
}

/** A deformed picture is that of one volume: it goes while another volume of its series is shown, `but` one. */
export function withoutStranded(layers: readonly Layer[], but: number | null): Layer[] {
  const here = new Set(layers.map((layer) => layer.id));
  return layers.filter(({ id, deformed }) => deformed?.of == null || here.has(deformed.of) || id === but);
}

/** The sibling some places on; stays at the ends. */
export function step(layer: Layer, layers: readonly Layer[], by: number): Layer {
  const all = siblings(layer, layers);
  const place = all.findIndex((other) => other.id === layer.id);
  return all[Math.min(Math.max(place + by, 0), all.length - 1)] ?? layer;
}

/** What the selector calls a volume. */
export function settingText(layer: Layer): string {
  const { number, count, setting, main } = layer.volume;
  return `${setting || `volume ${number} of ${count}`}${main ? ' (main)' : ''}`;
}

export function bytesOf(layer: Layer): number {
  const [nz, ny, nx] = layer.shape;
  return nz * ny * nx * (layer.dtype === 'int16' ? 2 : 1);
}

/** Volumes not on screen beyond the budget, oldest first: `recent` names the last shown last. */
export function toForget(recent: readonly number[], onScreen: ReadonlySet<number>, size: (id: number) => number, budget: number): number[] {
  let kept = 0;
  const forgotten: number[] = [];
  for (const id of [...recent].reverse()) {
    if (onScreen.has(id)) continue;
    kept += size(id);
    if (kept > budget) forgotten.push(id);
  }
  return forgotten.reverse();
}
