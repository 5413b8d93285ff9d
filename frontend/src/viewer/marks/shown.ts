/** The marks of a case as they stand in this window, for drawing: stored, moved, new, refused. */
import type { Mat4 } from '../../affine';
import type { Layer, Measurement } from '../types';
import { type Book, keyOf } from './book';
import { type Grown, grownOf } from './grown';
import type { ShownMark } from './placing';
import { briefOf, linesOf } from './words';

export interface Layers {
  /** Ids on screen, whose values stand beside the marks. */
  shown: readonly number[];
  find(key: string): Layer | undefined;
  matrix(layer: Layer): Mat4;
}

const grown = new WeakMap<Measurement, { matrix: Mat4; made: Grown | null }>();

function grownFor(measurement: Measurement, layers: Layers): Grown | null {
  const { mask } = measurement;
  const layer = mask ? layers.find(mask.key) : undefined;
  if (!mask || !layer) return null;
  const matrix = layers.matrix(layer);
  let kept = grown.get(measurement);
  if (kept?.matrix !== matrix) grown.set(measurement, (kept = { matrix, made: grownOf(mask, layer, matrix) }));
  return kept.made;
}

export function marksShown(book: Book, layers: Layers): ShownMark[] {
  const stored = book.measurements.filter((measurement) => measurement.drawn).map((measurement): ShownMark => {
    const move = book.moves.get(measurement.id);
    return {
      key: keyOf(measurement),
      id: measurement.id,
      name: measurement.name,
      tool: measurement.tool,
      // Loops that the server cut off are not part of what it measured.
      points: move?.points ?? (measurement.tool === 'freehand' ? measurement.outline : null) ?? measurement.points,
      label: measurement.label,
      // Numbers of the old place are not shown at the new one.
      lines: move ? [] : linesOf(measurement, layers.shown),
      brief: move ? [] : briefOf(measurement, layers.shown),
      grown: move ? null : grownFor(measurement, layers),
      state: move?.state ?? 'stored',
      reason: move?.reason ?? '',
    };
  });
  const unsaved = book.unsaved.map(({ key, body, state, reason }): ShownMark => ({
    key, id: null, name: '', tool: body.tool, points: body.points, label: body.label, lines: [], brief: [], grown: null, state, reason,
  }));
  return [...stored, ...unsaved];
}
