/** Window presets and default looks by modality; units as the layer has them (HU, SUV, ...). */
import type { ColormapName } from './colormaps';
import type { Layer } from './types';

export interface Preset {
  name: string;
  width: number;
  centre: number;
}

export const CT_PRESETS: readonly Preset[] = [
  { name: 'Soft tissue', width: 400, centre: 40 },
  { name: 'Lung', width: 1500, centre: -600 },
  { name: 'Liver', width: 150, centre: 90 },
  { name: 'Bone', width: 2500, centre: 480 },
  { name: 'Brain', width: 80, centre: 40 },
];

export const PET_PRESETS: readonly Preset[] = [5, 7, 10, 15].map((top) => ({ name: `SUV 0–${top}`, width: top, centre: top / 2 }));

export function isHu(layer: Layer): boolean {
  return layer.unit === "[hnsf'U]";
}
export function isSuv(layer: Layer): boolean {
  return layer.unit.startsWith('g/ml{SUV');
}
/** Images of the patient, not maps computed from them. */
export function isImage(layer: Layer): boolean {
  return layer.kind === 'series' || layer.kind === 'deformed';
}
export function isPet(layer: Layer): boolean {
  return layer.modality === 'PT' || layer.role === 'PET';
}

/** What number keys and the preset list offer for a layer. */
export function presetsOf(layer: Layer): readonly Preset[] {
  if (isHu(layer)) return CT_PRESETS;
  if (isSuv(layer)) return PET_PRESETS;
  const [width, centre] = layer.window;
  if (layer.kind === 'heatmap') return [{ name: 'Probability 0–1', width: 1, centre: 0.5 }, { name: '0.5–1', width: 0.5, centre: 0.75 }];
  return [
    { name: 'Auto', width, centre },
    { name: 'Auto, narrow', width: width * 0.6, centre },
    { name: 'Auto, wide', width: width * 1.6, centre },
  ];
}

/** [width, centre] at first sight. Grey matter takes up so much FDG that brain PET needs SUV 0-10. */
export function firstWindow(layer: Layer, pathway: string): readonly [number, number] {
  return isSuv(layer) && pathway === 'glioma' ? [10, 5] : layer.window;
}

export function defaultColormap(layer: Layer, isBase: boolean): ColormapName {
  if (layer.kind === 'heatmap') return 'probability';
  if (layer.kind === 'segmentation') return 'finding';
  if (isPet(layer) && !isBase) return 'hot-iron';
  return 'grey';
}

/** PET alone is read black on white. */
export function defaultInvert(layer: Layer, isBase: boolean): boolean {
  return isBase && isPet(layer);
}

export function defaultOpacity(layer: Layer): number {
  if (layer.kind === 'segmentation') return 0.3;
  return 0.5;
}

/**
 * Opacity over the window as (fraction, opacity). PET and probabilities fade in from nothing, so
 * that cold tissue keeps the look of the image below; anatomy over anatomy blends evenly.
 */
export function opacityCurve(layer: Layer, isBase: boolean, opacity: number): readonly (readonly [number, number])[] {
  if (isBase) return [[0, 1], [1, 1]];
  if (layer.kind === 'segmentation') return [[0, 0], [0.49, 0], [0.5, opacity], [1, opacity]];
  if (layer.kind === 'heatmap') return [[0, 0], [0.1, 0], [0.4, opacity], [1, opacity]];
  if (isPet(layer)) return [[0, 0], [0.2, opacity], [1, opacity]];
  // Where the deformed image does not reach, its voxels hold air: clear, as beyond any image's edge.
  if (layer.kind === 'deformed') return [[0, 0], [0.004, opacity], [1, opacity]];
  return [[0, opacity], [1, opacity]];
}

/** "HU", "SUVbw", "%"... as shown to readers. */
export function unitLabel(unit: string): string {
  if (unit === "[hnsf'U]") return 'HU';
  const suv = /^(?:g|cm2)\/ml\{(SUV[\w()]*)\}$/.exec(unit);
  if (suv) return suv[1]!;
  return unit === '1' ? '' : unit;
}

/** A figure with as many decimals as its window makes sensible. */
export function shown(value: number, width: number): string {
  const digits = width >= 50 ? 0 : width >= 5 ? 1 : 2;
  return value.toFixed(digits).replace('-', '−');
}
