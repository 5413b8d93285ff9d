/** Marks in words: the server's values as the image shows them, and the preview while a line is drawn. */
import type { Vec3 } from '../../affine';
import { t } from '../../i18n';
import type { MeasuredValue, Measurement } from '../types';
import { isSuvUnit } from '../presets';
import { distance } from './shapes';
import type { MarkTool } from './tools';

/** What stands beside a mark, by name of the value; everything else is in the table. */
const ON_IMAGE: readonly string[] = ['mean', 'sd', 'max', 'peak', 'volume', 'tlg', 'value'];

/**
 * Values of the layers on screen, a layer to a line or two, then what the reader must know of them. A
 * layer without a value says why. `layers`: ids on screen.
 */
export function linesOf(measurement: Measurement, layers: readonly number[]): string[] {
  const { tool, values } = measurement;
  if (tool === 'arrow' || tool === 'text') return [];
  if (measurement.outdated) return [measurement.text, `⚠ ${measurement.outdated}`];
  const keys = [...new Set(values.map((value) => value.key).filter(Boolean))];
  if (!keys.length) return [measurement.text];
  const shown = keys.filter((key) => values.some((value) => value.key === key && value.layer !== null && layers.includes(value.layer)));
  const lines = values.filter((value) => !value.key).map((value) => `${value.title} ${value.text}`);
  for (const key of shown.length ? shown : keys.slice(0, 1)) {
    const mine = values.filter((value) => value.key === key);
    const name = mine[0]!.layer_label;
    const told = mine.filter((value) => ON_IMAGE.includes(value.name) && value.value !== null);
    if (!told.length) {
      lines.push(`${name}: ${mine.find((value) => value.reason)?.reason ?? t('no value')}`);
    } else if (tool === 'probe') {
      lines.push(`${name} ${told[0]!.text}`);
    } else {
      const units = [...new Set(told.map((value) => value.unit))];
      units.forEach((unit, n) => lines.push(`${n ? '  ' : `${name}  `}${together(told.filter((value) => value.unit === unit))}`));
    }
  }
  return lines;
}

/** One value of each layer on screen: SUVmax of a PET, the mean of anything else. */
export function briefOf(measurement: Measurement, layers: readonly number[]): string[] {
  const { tool, values } = measurement;
  const regions = values.filter((value) => value.layer !== null && layers.includes(value.layer));
  if (measurement.outdated || tool === 'probe' || !regions.length) return linesOf(measurement, layers);
  const parts = [...new Set(regions.map((value) => value.key))].map((key) => {
    const mine = regions.filter((value) => value.key === key);
    const best = mine.find((value) => value.name === 'max' && isSuvUnit(value.unit)) ?? mine.find((value) => value.name === 'mean') ?? mine[0]!;
    return best.value === null ? `${best.layer_label}: ${best.reason}` : `${best.title} ${best.text}`;
  });
  return [parts.join('  ')];
}

/** Values of one unit, which is said once: the server's words without the unit, and the last one with it. */
function together(values: readonly MeasuredValue[]): string {
  const bare = (text: string): string => text.slice(0, text.lastIndexOf(' ')) || text;
  return values.map((value, n) => `${value.title} ${n < values.length - 1 ? bare(value.text) : value.text}`).join('  ');
}

/** A length while it is drawn, and nothing else: numbers that stay come from the server. */
export function preview(tool: MarkTool, points: readonly Vec3[]): string[] {
  const [a, b] = points;
  if (!a || !b) return [];
  if (tool === 'length' || tool === 'bidirectional') return [`≈ ${distance(a, b).toFixed(0)} mm`];
  if (tool === 'sphere' || tool === 'threshold') return [t('≈ {mm} mm across', { mm: (2 * distance(a, b)).toFixed(0) })];
  return [];
}
