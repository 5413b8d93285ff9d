/** What a pane shows, as data; and what that means for the layers of one case. */
import type { Plane, PlaneFrame } from './orientation';
import { isImage, isPet } from './presets';
import type { Projection } from './slab';
import type { LayerSettings } from './state';
import type { Layer } from './types';

/** Which layer: any condition that is named must hold. The archive's role is finer than the layer's own. */
export interface LayerRule {
  modality?: readonly string[];
  /** Coarse role: CT, PET, T1, T1c, T2, FLAIR, MR. */
  role?: readonly string[];
  /** Role of the archive (analysis/roles/roles.toml): CTA, MR_LGE, MR_ADC, ... */
  series?: readonly string[];
  prior?: boolean;
}

export interface PaneSpec {
  id: string;
  /** Beside the plane, where the base's name does not say enough. */
  title?: () => string;
  /** `reference`, or the first layer that a rule is true of; the first rule that finds one counts. */
  base: 'reference' | readonly LayerRule[];
  /** `fused`: all layers fused with the reference. `maps`: model output only. */
  overlays: 'fused' | 'maps' | 'none';
  plane: Plane;
  kind?: 'mpr' | 'rotating-mip';
  /** Without it: as the reader has set the planes of all panes. */
  frame?: PlaneFrame;
  projection?: Projection;
  /** How this pane draws its base otherwise than the layer is set. A window is [width, centre]. */
  look?: { invert?: boolean; colormap?: LayerSettings['colormap']; window?: readonly [number, number] };
}

/** A pane with its layers. */
export interface PanePlan {
  spec: PaneSpec;
  base: Layer;
  overlays: Layer[];
  /** False where the base is not in the reference's space: own planes, own cursor, nothing fused. */
  linked: boolean;
}

export function fits(layer: Layer, rule: LayerRule): boolean {
  return (
    (!rule.modality || rule.modality.includes(layer.modality)) &&
    (!rule.role || rule.role.includes(layer.role)) &&
    (!rule.series || rule.series.includes(layer.series_role?.code ?? '')) &&
    (layer.prior ?? false) === (rule.prior ?? false)
  );
}

/** The layer that a list of rules finds among the images; the reference before others that fit as well. */
export function find(rules: readonly LayerRule[], layers: readonly Layer[], reference: Layer): Layer | null {
  const images = layers.filter((layer) => layer.kind === 'series');
  images.sort((a, b) => Number(b.id === reference.id) - Number(a.id === reference.id) || Number(b.fusion.fused) - Number(a.fusion.fused));
  for (const rule of rules) {
    const found = images.find((layer) => fits(layer, rule));
    if (found) return found;
  }
  return null;
}

export interface Fused {
  reference: Layer;
  /** All that may be drawn in the reference's space, the reference left out, bottom first. */
  overlays: readonly Layer[];
  layers: readonly Layer[];
  /** A layer that is drawn otherwise than recorded just now: it is that one the reader wants to see. */
  tried?: (layer: Layer) => boolean;
}

/** The layers of a pane; null where its base is not in the case. */
export function planOf(spec: PaneSpec, { reference, overlays, layers, tried }: Fused): PanePlan | null {
  const base = spec.base === 'reference' ? reference : find(spec.base, layers, reference);
  if (!base) return null;
  // A deformed layer stands in for the one it was made from, as it does in the fused panes.
  const replaces = ({ kind, fusion, deformed }: Layer): boolean =>
    kind === 'deformed' && fusion.fused && deformed?.registration === base.registration_id && (deformed?.of ?? base.id) === base.id;
  const deformed = base.id === reference.id || tried?.(base) ? undefined : overlays.find(replaces);
  const drawn = deformed ?? base;
  const linked = drawn.id === reference.id || overlays.some((layer) => layer.id === drawn.id);
  if (!linked || spec.overlays === 'none') return { spec, base: drawn, overlays: [], linked };
  const over = overlays.filter((layer) => layer.id !== drawn.id && (spec.overlays === 'fused' || !isImage(layer)));
  return { spec, base: drawn, overlays: over, linked };
}

/** PET that stands alone is read black on white, whatever it looks like where it is fused. */
export function paneLook(plan: PanePlan): NonNullable<PaneSpec['look']> {
  if (plan.spec.look) return plan.spec.look;
  return plan.spec.base !== 'reference' && isPet(plan.base) ? { invert: true, colormap: 'grey' } : plan.spec.base !== 'reference' ? { colormap: 'grey' } : {};
}
