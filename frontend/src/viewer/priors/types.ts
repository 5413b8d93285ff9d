/** The JSON of GET /api/cases/<id>/priors/ (workstation/reading/README.md, Priors). */
import type { Vec3 } from '../../affine';

export interface Named {
  kind: 'measurement' | 'finding';
  id: number;
}

/** What can be compared over time. */
export interface Item extends Named {
  name: string;
  label: string;
  case: number;
  date: string;
  position: Vec3 | null;
  outdated: string;
}

export interface Prior {
  study: number;
  date: string;
  description: string;
  accession: string;
  modalities: string[];
  /** Empty where it is of this case's site. */
  site: string;
  /** Under which identity it is opened. */
  patient: { name: string; patient_id: string; issuer: string };
  /** Of a patient that an administrator linked to this one. */
  linked: boolean;
  reason: string;
  days: number | null;
  /** The other case in which it is read; null if there is none. */
  case: number | null;
  case_state: string;
  view: string | null;
  /** It is part of this case: its series are layers here. */
  in_case: boolean;
  layers: { id: number; label: string; fused: boolean; badge: string }[];
  can_register: boolean;
  why_not: string;
  can_take_out: boolean;
}

export interface ChangeRow {
  name: string;
  title: string;
  unit: string;
  before: number;
  after: number;
  before_text: string;
  after_text: string;
  change: number;
  percent: number | null;
  change_text: string;
  percent_text: string;
}

export interface Change {
  date: string;
  days: number | null;
  rows: ChangeRow[];
  /** `days` null: why not. The whole null: no size that could double. */
  doubling: { days: number | null; basis: string; reason: string; text: string; grown: boolean | null; growth_text: string } | null;
  notes: string[];
  sentence: string;
}

export interface Pair {
  id: number;
  study: number;
  is_node: boolean;
  proposed_mm: number | null;
  by: string;
  at: string;
  /** Null where it is of a case that this reader may not see. */
  current: Item | null;
  earlier: Item | null;
  change: Change | null;
  history: { earlier: Item; change: Change }[];
}

export interface SumOfDiameters extends ChangeRow {
  study: number;
  date: string;
  count: number;
  notes: string[];
}

export interface Proposal {
  current: Named;
  earlier: Named;
  case: number;
  study: number;
  mm: number;
}

export interface Priors {
  case: number;
  date: string;
  can: { pair: boolean; register: boolean };
  priors: Prior[];
  current: Item[];
  /** Case -> what of it can be compared. */
  earlier: Record<string, Item[]>;
  pairs: Pair[];
  sums: SumOfDiameters[];
  proposals: Proposal[];
}

export interface PairBody {
  current: Named;
  earlier: Named;
  /** The earlier study, where the earlier size was measured in this case. */
  study: number | null;
  is_node: boolean;
}
