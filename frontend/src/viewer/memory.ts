/** How many bytes of voxels this page may hold, and which layers have to go when there are more. */
import { preference } from '../preferences';
import { bytesOf } from './siblings';
import type { Layer } from './types';

const MEBIBYTE = 1024 * 1024;
const MOST = 1536 * MEBIBYTE;
const LEAST = 256 * MEBIBYTE;

/**
 * What the reader set (`viewer.display.memoryMiB`), else a fifth of the computer's memory as far as the browser
 * tells it: the GPU holds every voxel a second time.
 */
export function memoryBudget(): number {
  const set = preference<{ memoryMiB?: unknown }>('viewer.display')?.memoryMiB;
  if (typeof set === 'number' && set > 0) return set * MEBIBYTE;
  const gibibytes = (navigator as { deviceMemory?: number }).deviceMemory ?? 4;
  return Math.min(Math.max((gibibytes * 1024 * MEBIBYTE) / 5, LEAST), MOST);
}

/** Layers to be without: all that is on screen stays, of the others those seen last, as far as they fit. */
export function toPark(layers: readonly Layer[], onScreen: ReadonlySet<number>, seen: ReadonlyMap<number, number>, budget: number): Set<number> {
  const parked = new Set<number>();
  let held = layers.filter((layer) => onScreen.has(layer.id)).reduce((sum, layer) => sum + bytesOf(layer), 0);
  const others = layers.filter((layer) => !onScreen.has(layer.id));
  // Sorting is stable: what was never seen keeps the order of the list.
  for (const layer of others.sort((a, b) => (seen.get(b.id) ?? 0) - (seen.get(a.id) ?? 0))) {
    if (held + bytesOf(layer) <= budget) held += bytesOf(layer);
    else parked.add(layer.id);
  }
  return parked;
}
