/** The view JSON of GET /api/cases/<id>/view/ (workstation/reading/README.md). */
import type { Mat4, Shape, Vec3 } from '../affine';
import type { MarkTool } from './marks/tools';
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
  series_role?: { code?: string; label: string; reason: string; by_hand: boolean } | null;
  /** Of an earlier study, shown for comparison; and that study's date. */
  prior?: boolean;
  study_date?: string;
  modality: string;
  unit: string;
  shape: Shape;
  affine: Mat4;
  dtype: 'int16' | 'uint8';
  codec: number;
  slope: number;
  intercept: number;
  levels: { shape: Shape; factors: Shape }[];
  /** Finest level that is streamed, where the whole would be too large; `shape` and `affine` are then that level's. */
  finest?: number;
  full?: { shape: Shape; affine: Mat4 };
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

/** One number of a measurement: the server's, in its unit, or the reason why there is none. */
export interface MeasuredValue {
  /** Null for geometry alone, and for a series that is not on screen. */
  layer: number | null;
  /** Of the series; empty for geometry alone. */
  key: string;
  layer_label: string;
  name: string;
  title: string;
  value: number | null;
  unit: string;
  text: string;
  reason: string;
  method: string;
  voxels: number | null;
  position: Vec3 | null;
}

/** Voxels of a grown volume on the own grid of a series: run lengths of zeros and ones in a box, [k][j][i]. */
export interface GrownMask {
  layer: number | null;
  key: string;
  shape: Shape;
  /** [[i0, j0, k0], [i1, j1, k1]], half open. */
  box: readonly [Vec3, Vec3];
  counts: readonly number[];
}

export type ThresholdMethod = '41%' | '50%' | 'fixed' | 'percist';
export interface Threshold {
  method: ThresholdMethod;
  value: number | null;
}

/** What the reader drew; the server adds the numbers. */
export interface MeasurementBody {
  tool: MarkTool;
  points: readonly Vec3[];
  plane?: { normal: Vec3 };
  layers: readonly number[];
  label: string;
  threshold?: Threshold;
  /** Of the mark, made here: sent again after a lost answer it is still one mark. */
  sent?: string;
}
export type MeasurementChange = Partial<Pick<MeasurementBody, 'points' | 'plane' | 'label' | 'layers'>> & { purpose?: '' | 'liver' };

export interface Measurement {
  id: number;
  number: number;
  /** M1, M2, ...; never used twice in a case. */
  name: string;
  tool: MarkTool;
  label: string;
  purpose: '' | 'liver';
  points: Vec3[];
  plane: { normal: Vec3 } | null;
  threshold: Threshold | null;
  value: number | null;
  unit: string;
  text: string;
  values: MeasuredValue[];
  notes: string[];
  /** Closed, of ellipse and freehand, as it was measured. */
  outline: Vec3[] | null;
  mask: GrownMask | null;
  /** False: its points are of the space of another reference. */
  drawn: boolean;
  /** Why its values are no longer those of the images on screen; empty if they are. */
  outdated: string;
  by: string;
  at: string;
  changed_at: string;
}

/** What the reader saw, to be shown again. */
export interface KeyImageState {
  point: Vec3;
  normal: Vec3;
  up: Vec3;
  layers: { layer: number | null; window: [number, number]; opacity: number; colormap: string }[];
  view: Record<string, unknown>;
}
export interface KeyImage {
  id: number;
  number: number;
  name: string;
  label: string;
  state: KeyImageState;
  /** Address of the picture, if one was kept. */
  picture: string | null;
  drawn: boolean;
  by: string;
  at: string;
}

/** What was deleted and can be restored. */
export interface HiddenMark {
  id: number;
  kind: 'measurement' | 'key_image';
  name: string;
  tool: MarkTool | '';
  text: string;
  by: string;
  at: string | null;
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
  patient: { name: string; patient_id: string; issuer?: string; synthetic: boolean };
  run: { id: number | null; number: number; state: 'running' | 'done' | 'failed' | 'none'; steps: Step[] };
  reference: number | null;
  layers: Layer[];
  outlines: Outline[];
  findings: Finding[];
  measurements: Measurement[];
  key_images: KeyImage[];
  notices: Notice[];
  /** What findings and heatmap were computed with is no longer the alignment on record. */
  alignment?: { changed: number[]; message: string; can_run_again: boolean };
  /** The viewer's own settings of this reader. */
  preferences?: Preferences;
  stream: { path: string; version: number };
}
