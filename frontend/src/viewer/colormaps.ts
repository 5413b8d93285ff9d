/** Our colour maps, as points of (position 0..1, r, g, b) with linear steps between, for GPU and colour bar. */
import { t } from '../i18n';

export type ColormapName = 'grey' | 'hot-iron' | 'probability' | 'viridis' | 'finding';
type Stop = readonly [at: number, r: number, g: number, b: number];

export const COLORMAPS: Record<ColormapName, readonly Stop[]> = {
  grey: [[0, 0, 0, 0], [1, 1, 1, 1]],
  // DICOM's Hot Iron (PS3.6 B.1.1): red rises to 1 at the middle, green from there to 3/4, then blue.
  'hot-iron': [[0, 0, 0, 0], [0.5, 1, 0, 0], [0.75, 1, 0.5, 0], [1, 1, 1, 1]],
  // For model output only, so that nobody takes it for uptake: violet to cyan-white.
  probability: [[0, 0.2, 0, 0.35], [0.35, 0.48, 0.12, 0.75], [0.7, 0.45, 0.5, 1], [1, 0.75, 1, 1]],
  viridis: [
    [0, 0.267, 0.005, 0.329], [0.25, 0.229, 0.322, 0.546], [0.5, 0.128, 0.567, 0.551],
    [0.75, 0.369, 0.789, 0.383], [1, 0.993, 0.906, 0.144],
  ],
  finding: [[0, 0.77, 0.64, 1], [1, 0.77, 0.64, 1]],
};

export const COLORMAP_LABELS: Record<ColormapName, string> = {
  grey: t('Grey'),
  'hot-iron': t('Hot iron'),
  probability: t('Probability'),
  viridis: t('Viridis'),
  finding: t('Finding'),
};

/** CSS gradient from low (start) to high, for colour bars. */
export function cssGradient(name: ColormapName, invert: boolean, towards: string): string {
  const stops = COLORMAPS[name].map(([at, r, g, b]) => {
    const rgb = [r, g, b].map((v) => Math.round((invert ? 1 - v : v) * 255)).join(' ');
    return `rgb(${rgb}) ${at * 100}%`;
  });
  return `linear-gradient(${towards}, ${stops.join(', ')})`;
}

/** The colour at a position 0..1, each channel 0..1. */
export function colourAt(name: ColormapName, position: number): [number, number, number] {
  const stops = COLORMAPS[name];
  const at = Math.min(Math.max(position, 0), 1);
  const n = Math.max(1, stops.findIndex((stop) => stop[0] >= at));
  const [low, high] = [stops[n - 1]!, stops[n]!];
  const t = (at - low[0]) / (high[0] - low[0]);
  return [1, 2, 3].map((c) => low[c]! * (1 - t) + high[c]! * t) as [number, number, number];
}
