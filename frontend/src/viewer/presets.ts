/** Window presets and default looks by modality; units as the layer has them (HU, SUV, ...). */
import { t } from '../i18n';
import type { ColormapName } from './colormaps';
import type { Layer } from './types';

export interface Preset {
  name: string;
  width: number;
  centre: number;
}

/** Width and centre in HU, by what is looked at. Names are shown, so they are made when asked for. */
const CT = {
  soft: () => ({ name: t('Soft tissue'), width: 400, centre: 40 }),
  lung: () => ({ name: t('Lung'), width: 1500, centre: -600 }),
  liver: () => ({ name: t('Liver'), width: 150, centre: 90 }),
  bone: () => ({ name: t('Bone'), width: 2500, centre: 480 }),
  brain: () => ({ name: t('Brain'), width: 80, centre: 40 }),
  mediastinum: () => ({ name: t('Mediastinum'), width: 350, centre: 50 }),
  abdomen: () => ({ name: t('Abdomen'), width: 400, centre: 50 }),
  angiography: () => ({ name: t('CT angiography'), width: 600, centre: 170 }),
  stroke: () => ({ name: t('Stroke'), width: 40, centre: 40 }),
  // A narrow window raises the sensitivity for early ischaemia.
  strokeNarrow: () => ({ name: t('Stroke, narrow'), width: 8, centre: 32 }),
  subdural: () => ({ name: t('Subdural'), width: 200, centre: 80 }),
  temporalBone: () => ({ name: t('Temporal bone'), width: 4000, centre: 700 }),
} satisfies Record<string, () => Preset>;
type CtName = keyof typeof CT;

const BODY: readonly CtName[] = ['soft', 'lung', 'liver', 'bone', 'brain', 'mediastinum', 'abdomen', 'angiography', 'stroke', 'subdural', 'strokeNarrow', 'temporalBone'];
const HEAD: readonly CtName[] = ['brain', 'stroke', 'strokeNarrow', 'subdural', 'bone', 'angiography', 'temporalBone', 'soft', 'lung', 'liver', 'mediastinum', 'abdomen'];
const HEART: readonly CtName[] = ['angiography', 'mediastinum', 'soft', 'lung', 'bone', 'liver', 'abdomen', 'brain', 'stroke', 'subdural', 'strokeNarrow', 'temporalBone'];

/** The body part comes first, the others after it: nothing is out of reach. */
export function ctPresets(pathway: string, seriesRole = ''): Preset[] {
  const heart = pathway === 'cardiac' || (seriesRole === 'CTA' && pathway !== 'stroke');
  const order = heart ? HEART : pathway === 'stroke' || pathway === 'glioma' ? HEAD : BODY;
  const names = seriesRole === 'CTA' ? ['angiography' as const, ...order.filter((name) => name !== 'angiography')] : order;
  return names.map((name) => CT[name]());
}

export const PET_PRESETS: readonly Preset[] = [5, 7, 10, 15].map((top) => ({ name: `SUV 0–${top}`, width: top, centre: top / 2 }));

export function isHu(layer: Layer): boolean {
  return layer.unit === "[hnsf'U]";
}
export function isSuvUnit(unit: string): boolean {
  return /^(?:g|cm2)\/ml\{SUV/.test(unit);
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

/** What number keys and the preset list offer for a layer: `1` is the first, `0` the tenth. */
export function presetsOf(layer: Layer, pathway = ''): readonly Preset[] {
  if (isHu(layer)) return ctPresets(pathway, layer.series_role?.code ?? '');
  if (isSuv(layer)) return PET_PRESETS;
  const [width, centre] = layer.window;
  if (layer.kind === 'heatmap') return [{ name: t('Probability 0–1'), width: 1, centre: 0.5 }, { name: '0.5–1', width: 0.5, centre: 0.75 }];
  // The server's window of an MR is its 1st to 99th percentile.
  return [
    { name: t('Auto (1–99 %)'), width, centre },
    { name: t('Auto, narrow'), width: width * 0.6, centre },
    { name: t('Auto, wide'), width: width * 1.6, centre },
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

/** The curve with nothing drawn below the reader's threshold. */
export function withThreshold(
  curve: readonly (readonly [number, number])[],
  settings: { width: number; centre: number; threshold?: number | null } | null,
): readonly (readonly [number, number])[] {
  if (!settings || settings.threshold == null) return curve;
  const from = (settings.threshold - settings.centre) / settings.width + 0.5;
  if (from <= 0) return curve;
  if (from >= 1) return [[0, 0], [0.999, 0], [1, curve[curve.length - 1]![1]]];
  const n = curve.findIndex(([at]) => at >= from);
  const [low, high] = [curve[n - 1] ?? curve[0]!, curve[n]!];
  const here = high[0] === low[0] ? high[1] : low[1] + ((from - low[0]) / (high[0] - low[0])) * (high[1] - low[1]);
  return [[0, 0], [Math.max(from - 0.001, 0), 0], [from, here], ...curve.filter(([at]) => at > from)];
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
