/**
 * Hanging protocols, as data: for which cases, which panes, and where they stand. The first in the list
 * that suits a case is shown at first sight; the reader's own choice comes before (`chooseProtocol`).
 */
import { t } from '../i18n';
import { preference } from '../preferences';
import type { Plane } from './orientation';
import { find, fits, type LayerRule, type PaneSpec } from './pane-spec';
import type { Layer, View } from './types';

export interface Protocol {
  id: string;
  name: () => string;
  /** Offered where the reference is this, and every list of rules finds a layer. */
  when: { reference?: LayerRule; finds?: readonly (readonly LayerRule[])[] };
  /** Shown without being asked for: always, never, or on these pathways. */
  first: boolean | readonly string[];
  /** CSS grid-template of the panes (areas are pane ids) and of the side panel (`side`). */
  template: string;
  panes: readonly PaneSpec[];
}

const CT: readonly LayerRule[] = [{ modality: ['CT'], series: ['CT', 'CT_NATIVE', 'CT_CONTRAST', 'CT_ARTERIAL', 'CT_VENOUS', 'CT_DELAYED', 'CTA'] }, { modality: ['CT'] }];
const PET: readonly LayerRule[] = [{ series: ['PET_AC'] }, { role: ['PET'] }];
const NATIVE: readonly LayerRule[] = [{ series: ['CT_NATIVE'] }];
const CTA: readonly LayerRule[] = [{ series: ['CTA'] }, { series: ['CT_ARTERIAL'] }];
const LGE: readonly LayerRule[] = [{ series: ['MR_LGE'] }];
const T1C: readonly LayerRule[] = [{ role: ['T1c'] }];
const FLAIR: readonly LayerRule[] = [{ role: ['FLAIR'] }];
const T2: readonly LayerRule[] = [{ role: ['T2'] }];
const FOURTH: readonly LayerRule[] = [{ series: ['MR_ADC'] }, { role: ['T1'] }, { series: ['MR_DWI', 'MR_SWI'] }];
const EARLIER: readonly LayerRule[] = [{ modality: ['CT'], prior: true }];

type Rest = Partial<Omit<PaneSpec, 'id' | 'base' | 'plane'>>;
const pane = (id: string, base: PaneSpec['base'], plane: Plane, rest: Rest = {}): PaneSpec => ({ id, base, plane, overlays: 'none', ...rest });
const mip = (id: string): PaneSpec => pane(id, PET, 'coronal', { kind: 'rotating-mip' });
const SIDE = 'minmax(236px, 21%)';

export const PLAIN: Protocol = {
  id: 'mpr',
  name: () => t('Three planes'),
  when: {},
  first: true,
  template: '"axial sagittal" minmax(0, 1fr) "coronal side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr)',
  panes: (['axial', 'sagittal', 'coronal'] as const).map((plane) => pane(plane, 'reference', plane, { overlays: 'fused' })),
};

export const PROTOCOLS: readonly Protocol[] = [
  {
    id: 'stroke',
    name: () => t('Stroke: CT in two windows, CTA'),
    when: { finds: [NATIVE, CTA] },
    first: ['stroke', ''],
    template: `"brain stroke side" minmax(0, 1fr) "cta cta-coronal side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) ${SIDE}`,
    panes: [
      pane('brain', NATIVE, 'axial', { title: () => t('Brain window'), look: { window: [80, 40] } }),
      pane('stroke', NATIVE, 'axial', { title: () => t('Stroke window'), look: { window: [40, 40] } }),
      pane('cta', CTA, 'axial', { look: { window: [600, 170] }, projection: { mode: 'mip', mm: 20 } }),
      pane('cta-coronal', CTA, 'coronal', { look: { window: [600, 170] }, projection: { mode: 'mip', mm: 20 } }),
    ],
  },
  {
    id: 'heart',
    name: () => t('Heart: CTA in three planes, LGE'),
    when: { finds: [CTA, LGE] },
    first: true,
    template: `"heart-axial heart-sagittal side" minmax(0, 1fr) "heart-coronal lge side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) ${SIDE}`,
    panes: [
      pane('heart-axial', CTA, 'axial'),
      pane('heart-sagittal', CTA, 'sagittal'),
      pane('heart-coronal', CTA, 'coronal'),
      pane('lge', LGE, 'axial'),
    ],
  },
  {
    id: 'glioma-pet',
    name: () => t('Glioma: sequences and PET'),
    when: { finds: [T1C, FLAIR, PET] },
    first: true,
    template: `"t1c flair t2 side" minmax(0, 1fr) "fourth pet fused side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1fr) ${SIDE}`,
    panes: [
      pane('t1c', T1C, 'axial'),
      pane('flair', FLAIR, 'axial'),
      pane('t2', T2, 'axial'),
      pane('fourth', FOURTH, 'axial'),
      pane('pet', PET, 'axial'),
      pane('fused', 'reference', 'axial', { overlays: 'fused' }),
    ],
  },
  {
    id: 'glioma',
    name: () => t('Glioma: four sequences'),
    when: { finds: [T1C, FLAIR, T2] },
    first: true,
    template: `"t1c flair side" minmax(0, 1fr) "t2 fourth side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) ${SIDE}`,
    panes: [
      pane('t1c', T1C, 'axial', { overlays: 'maps' }),
      pane('flair', FLAIR, 'axial'),
      pane('t2', T2, 'axial'),
      pane('fourth', FOURTH, 'axial'),
    ],
  },
  {
    id: 'prior',
    name: () => t('CT and earlier CT'),
    when: { finds: [CT, EARLIER] },
    first: true,
    template: `"current earlier side" minmax(0, 1fr) "current-coronal earlier-coronal side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) ${SIDE}`,
    panes: [
      pane('current', CT, 'axial', { overlays: 'maps' }),
      pane('earlier', EARLIER, 'axial'),
      pane('current-coronal', CT, 'coronal'),
      pane('earlier-coronal', EARLIER, 'coronal'),
    ],
  },
  {
    id: 'pet-ct',
    name: () => t('PET/CT: CT, fused, PET, MIP'),
    when: { reference: { modality: ['CT'] }, finds: [PET] },
    first: true,
    template: `"ct fused side" minmax(0, 1fr) "pet mip side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) ${SIDE}`,
    panes: [
      pane('ct', 'reference', 'axial', { overlays: 'none' }),
      pane('fused', 'reference', 'axial', { overlays: 'fused' }),
      pane('pet', PET, 'axial'),
      mip('mip'),
    ],
  },
  {
    id: 'pet-ct-planes',
    name: () => t('PET/CT: three planes and MIP'),
    when: { reference: { modality: ['CT'] }, finds: [PET] },
    first: false,
    template: '"ct-axial ct-coronal ct-sagittal mip side" minmax(0, 1fr) "pet-axial pet-coronal pet-sagittal mip side" minmax(0, 1fr) '
      + `"fused-axial fused-coronal fused-sagittal mip side" minmax(0, 1fr) / minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1fr) minmax(0, 0.8fr) ${SIDE}`,
    panes: [
      ...(['axial', 'coronal', 'sagittal'] as const).flatMap((plane) => [
        pane(`ct-${plane}`, 'reference', plane),
        pane(`pet-${plane}`, PET, plane),
        pane(`fused-${plane}`, 'reference', plane, { overlays: 'fused' }),
      ]),
      mip('mip'),
    ],
  },
  PLAIN,
  {
    id: 'one',
    name: () => t('One pane'),
    when: {},
    first: false,
    template: `"single side" minmax(0, 1fr) / minmax(0, 1fr) ${SIDE}`,
    panes: [pane('single', 'reference', 'axial', { overlays: 'fused' })],
  },
];

type Content = { layers: readonly Layer[]; reference: Layer };

export function suits(protocol: Protocol, { layers, reference }: Content): boolean {
  const { when } = protocol;
  return (!when.reference || fits(reference, when.reference)) && (when.finds ?? []).every((rules) => find(rules, layers, reference) !== null);
}

/** What a reader may choose for a case, in the order of its keys. */
export function offered(content: Content): Protocol[] {
  return PROTOCOLS.filter((protocol) => suits(protocol, content));
}

/** Preferences are kept by pathway; cases of none share one. */
export function layoutKey(view: Pick<View, 'case'>): string {
  return view.case.pathway || 'any';
}

/** The reader's choice for this case, else for such cases, else the first by rule. */
export function chooseProtocol(content: Content, pathway: string, chosen: string | null): Protocol {
  const all = offered(content);
  const kept = preference<Record<string, unknown>>('viewer.layouts')?.[pathway || 'any'];
  const known = (id: unknown): Protocol | undefined => all.find((protocol) => protocol.id === id);
  const byRule = all.find(({ first }) => (Array.isArray(first) ? first.includes(pathway) : first === true));
  return known(chosen) ?? known(kept) ?? byRule ?? PLAIN;
}
