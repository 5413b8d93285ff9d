/** The view JSON of GET /api/cases/<id>/view/ (workstation/reading/README.md). */
import type { Mat4, Shape, Vec3 } from '../affine';
import type { Preferences } from '../preferences';

export interface QualityFigure {
  name: string;
  value: number;
  unit: string;
  basis: string;
  passed: boolean | null;
}

export type DecisionKind = 'accepted' | 'rejected' | 'nudged' | 'withdrawn';
export type TransformModel = 'rigid' | 'affine' | 'deformable';

export interface Fusion {
  state: 'reference' | 'same_frame' | 'registered' | 'not_registered';
  fused: boolean;
  badge: string;
  method: string;
  version: string;
  verdict: 'usable' | 'doubtful' | 'refused' | '';
  reasons: string[];
  quality: QualityFigure[];
  /** How it is carried over, and the accepted refinement that did it. */
  model?: TransformModel;
  refinement?: number | null;
  decision: { decision: DecisionKind; by: string; at: string; reason: string; method?: string } | null;
}

export interface Notice {
  code: string;
  message: string;
  severity: 'info' | 'warning' | 'refused';
  subject?: string;
}

export interface Layer {
  id: number;
  key: string;
  /** Row of the series; the volumes of one series are siblings. Null for maps. */
  series: number | null;
  volume: { number: number; count: number; setting: string; main: boolean };
  /** `deformed`: resampled on the server over the reference, made from another layer. */
  kind: 'series' | 'deformed' | 'heatmap' | 'segmentation';
  label: string;
  role: string;
  /** What the archive says the series is, and why; null for maps. */
  series_role?: { label: string; reason: string; by_hand: boolean } | null;
  modality: string;
  unit: string;
  shape: Shape;
  affine: Mat4;
  dtype: 'int16' | 'uint8';
  codec: number;
  slope: number;
  intercept: number;
  levels: { shape: Shape; factors: Shape }[];
  value_range: [number, number];
  /** [width, centre] in the layer's unit. */
  window: [number, number];
  synthetic: boolean;
  lossy: string;
  /** Layer LPS -> reference LPS. */
  matrix: Mat4;
  registration_id: number | null;
  deformed?: { registration: number; refinement: number; of: number | null; outside_share: number } | null;
  fusion: Fusion;
  /** Name and version of the model that made it; empty for images. */
  model: string;
  notices: Notice[];
}

export interface Outline {
  number: number;
  name: string;
  color: string;
  layer: number;
  fused: boolean;
  polygons: Vec3[][];
}

export type ReviewState = 'pending' | 'accepted' | 'edited' | 'rejected';

export interface Finding {
  id: number;
  number: number;
  label: string;
  location: string;
  laterality: string;
  probability: number | null;
  position: Vec3;
  long_axis_mm: number;
  short_axis_mm: number;
  volume_ml: number;
  suv_max: number | null;
  suv_peak: number | null;
  suv_mean: number | null;
  method: string;
  review: { state: ReviewState; by: string; at: string | null; comment: string; label: string; location: string };
}

export interface Measurement {
  id: number;
  tool: 'length' | 'probe';
  points: Vec3[];
  value: number;
  unit: string;
  text: string;
  by: string;
  at: string;
}

export interface ProbeValue {
  layer: number;
  label: string;
  value: number | null;
  unit: string;
  text: string;
}

export interface Step {
  name: string;
  state: string;
  progress: number;
  text: string;
  error: string;
}

export interface View {
  case: {
    id: number;
    title: string;
    state: string;
    priority: string;
    pathway: string;
    held_by: string;
    held_by_me: boolean;
    can: { review: boolean; measure: boolean; decide_registration: boolean; report: boolean; sign: boolean };
  };
  patient: { name: string; patient_id: string; synthetic: boolean };
  run: { id: number | null; number: number; state: 'running' | 'done' | 'failed' | 'none'; steps: Step[] };
  reference: number | null;
  layers: Layer[];
  outlines: Outline[];
  findings: Finding[];
  measurements: Measurement[];
  notices: Notice[];
  /** What findings and heatmap were computed with is no longer the alignment on record. */
  alignment?: { changed: number[]; message: string; can_run_again: boolean };
  /** The viewer's own settings of this reader. */
  preferences?: Preferences;
  stream: { path: string; version: number };
}
