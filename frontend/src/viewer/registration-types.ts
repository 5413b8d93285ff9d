/** The registration tools' JSON (workstation/reading/README.md, "API of the registration tools"). */
import type { Mat4, Vec3 } from '../affine';
import type { DecisionKind, Fusion, QualityFigure, TransformModel } from './types';

export type Verdict = Fusion['verdict'];

export interface LandmarkPair {
  id: number;
  label: string;
  /** Reference LPS mm. */
  reference: Vec3;
  /** LPS mm of the moving series' own space: it stays true when the alignment changes. */
  moving: Vec3;
  residual_mm: number | null;
  by: string;
  at: string;
}

export interface LandmarkSet {
  pairs: LandmarkPair[];
  count: number;
  mean_mm: number | null;
  rms_mm: number | null;
  max_mm: number | null;
}

export interface LandmarkFit {
  matrix: Mat4;
  count: number;
  mean_mm: number;
  rms_mm: number;
  max_mm: number;
  pairs: { id: number; residual_mm: number }[];
}

interface RefinementResult {
  matrix: Mat4;
  model: TransformModel;
  method: string;
  version: string;
  verdict: Verdict;
  reasons: string[];
  quality: QualityFigure[];
  /** The deformed layer, or null. */
  layer: number | null;
}

export interface Refinement {
  id: number;
  registration: number;
  model: TransformModel;
  state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled' | 'discarded';
  progress: number;
  text: string;
  error: string;
  attempts: number;
  start: { matrix: Mat4; method: 'computed' | 'delivered' | 'hand' | 'landmarks' | 'refined' };
  by: string;
  at: string;
  finished_at: string | null;
  accepted: boolean;
  can_accept: boolean;
  result: RefinementResult | null;
}

export interface DecisionRow {
  id: number;
  decision: DecisionKind;
  method: 'computed' | 'hand' | 'landmarks' | 'refined' | '';
  reason: string;
  matrix: Mat4 | null;
  refinement: number | null;
  evidence: Record<string, unknown>;
  by: string;
  at: string;
}

export interface ToolsState {
  id: number;
  layer: number;
  series: number | null;
  label: string;
  computed: {
    state: Fusion['state'];
    verdict: Verdict;
    method: string;
    version: string;
    model: TransformModel;
    matrix: Mat4;
    reasons: string[];
    quality: QualityFigure[];
    can_accept: boolean;
  };
  matrix: Mat4;
  fusion: Fusion;
  deformed_layer: number | null;
  /** Why the deformation on record cannot be read; empty if it can, or there is none. */
  problem: string;
  landmarks: LandmarkSet | null;
  refinements: Refinement[];
  decisions: DecisionRow[];
}

/** A decision on what is there already: what was computed, or a finished refinement. */
export interface JudgedBody {
  decision: Exclude<DecisionKind, 'nudged'>;
  reason?: string;
  refinement?: number;
}

export type DecisionBody = JudgedBody | { decision: 'nudged'; reason?: string; matrix: Mat4; method?: 'landmarks' };

export const isOpen = (refinement: Refinement): boolean => refinement.state === 'queued' || refinement.state === 'running';
