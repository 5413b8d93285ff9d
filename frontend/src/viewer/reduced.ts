/** A volume that alone is larger than the memory: opened at the finest of its levels that fits. */
import type { Mat4 } from '../affine';
import { t } from '../i18n';
import type { Layer, Notice } from './types';

function bytesAt(layer: Layer, level: number): number {
  const [nz, ny, nx] = layer.levels[level]!.shape;
  return nz * ny * nx * (layer.dtype === 'int16' ? 2 : 1);
}

/** The affine of a lattice whose voxels are the means of blocks: its first centre lies in the middle of a block. */
export function coarserAffine(affine: Mat4, [fz, fy, fx]: readonly [number, number, number]): Mat4 {
  const factors = [fx, fy, fz];
  return affine.map((row, r) => {
    if (r === 3) return [...row];
    const shift = factors.reduce((sum, factor, c) => sum + row[c]! * ((factor - 1) / 2), 0);
    return [...factors.map((factor, c) => row[c]! * factor), row[3]! + shift];
  });
}

export function reduced(layer: Layer, budget: number): Layer {
  if (layer.finest) return layer;
  let finest = 0;
  while (finest < layer.levels.length - 1 && bytesAt(layer, finest) > budget) finest += 1;
  const level = layer.levels[finest];
  if (!finest || !level) return layer;
  return { ...layer, shape: level.shape, affine: coarserAffine(layer.affine, level.factors), finest, full: { shape: layer.shape, affine: layer.affine } };
}

/** Why it is not shown as it is; empty for a layer that is. */
export function reducedWords(layer: Layer): string {
  if (!layer.finest) return '';
  return t('shown at 1/{factor} of its resolution: too large for the memory of this browser', { factor: layer.levels[layer.finest]!.factors[2] });
}

export function reducedNotices(layers: readonly Layer[]): Notice[] {
  return layers.filter((layer) => layer.finest).map((layer) => ({
    code: 'reduced',
    severity: 'warning',
    message: t('{label} is {why}. Measurements are computed from the full images on the server.', { label: layer.label, why: reducedWords(layer) }),
    subject: layer.key,
  }));
}
