/** JSON calls of the case page. A refusal becomes an ApiError whose message can be shown as it is. */
import { t } from '../i18n';
import type { Mat4, Vec3 } from '../affine';
import { csrfToken } from '../pages/csrf';
import { takePreferences } from '../preferences';
import type { Pair, PairBody, Priors } from './priors/types';
import type { DecisionBody, LandmarkFit, LandmarkSet, Refinement, ToolsState } from './registration-types';
import type {
  Finding, Fusion, HiddenMark, KeyImage, KeyImageState, Measurement, MeasurementBody, MeasurementChange, ProbeValue, ReviewState, TransformModel, View,
} from './types';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const HINTS: Record<number, string> = {
  401: t('You are signed out. Sign in again in another tab, then reload this page.'),
  403: t('You may not do this in this case.'),
  404: t('This no longer exists. Reload the page.'),
  409: t('The case was changed meanwhile. Reload the page.'),
};

async function call<T>(method: string, url: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-CSRFToken'] = csrfToken();
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  let answer: unknown;
  try {
    response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const isJson = response.status !== 204 && (response.headers.get('content-type')?.includes('json') ?? false);
    // An answer that breaks off in the middle is a lost one too.
    answer = isJson ? await response.json() : undefined;
  } catch (error) {
    const isLost = error instanceof TypeError || error instanceof SyntaxError || error instanceof DOMException;
    if (isLost) throw new ApiError(t('The server cannot be reached. Check the connection and try again.'), 0);
    throw error;
  }
  if (!response.ok) {
    const detail = (answer as { detail?: unknown } | undefined)?.detail;
    const fallback = HINTS[response.status] ?? t('The server could not do this ({status}). Try again.', { status: response.status });
    throw new ApiError(typeof detail === 'string' ? detail : fallback, response.status);
  }
  return answer as T;
}

export class Api {
  constructor(
    private readonly viewUrl: string,
    private readonly caseId: number,
  ) {}

  async view(): Promise<View> {
    const view = await call<View>('GET', this.viewUrl);
    if (view.preferences) takePreferences(view.preferences);
    return view;
  }
  measure(body: MeasurementBody): Promise<Measurement> {
    return call('POST', `/api/cases/${this.caseId}/measurements/`, body);
  }
  /** Points, plane or layers are measured again; a label is only kept. */
  changeMeasurement(id: number, change: MeasurementChange): Promise<Measurement> {
    return call('PATCH', `/api/measurements/${id}/`, change);
  }
  hideMark(kind: HiddenMark['kind'], id: number): Promise<void> {
    return call('DELETE', `/api/${kind === 'measurement' ? 'measurements' : 'key-images'}/${id}/`);
  }
  restoreMeasurement(id: number): Promise<Measurement> {
    return call('POST', `/api/measurements/${id}/restore/`, {});
  }
  restoreKeyImage(id: number): Promise<KeyImage> {
    return call('POST', `/api/key-images/${id}/restore/`, {});
  }
  marks(): Promise<{ measurements: Measurement[]; key_images: KeyImage[]; hidden: HiddenMark[] }> {
    return call('GET', `/api/cases/${this.caseId}/measurements/`);
  }
  keepImage(body: { label: string; state: Omit<KeyImageState, 'view'> & { view: object }; picture: string }): Promise<KeyImage> {
    return call('POST', `/api/cases/${this.caseId}/key-images/`, body);
  }
  labelKeyImage(id: number, label: string): Promise<KeyImage> {
    return call('PATCH', `/api/key-images/${id}/`, { label });
  }
  /** `layers`: those in the layer list, so one volume per series. */
  probe(point: Vec3, layers: readonly number[]): Promise<{ point: Vec3; values: ProbeValue[] }> {
    return call('POST', `/api/cases/${this.caseId}/probe/`, { point, layers });
  }
  review(id: number, review: { state: ReviewState; comment: string; label: string; location: string }): Promise<Finding> {
    return call('POST', `/api/findings/${id}/review/`, review);
  }
  decide(registration: number, body: DecisionBody): Promise<{ fusion: Fusion; matrix: Mat4 }> {
    return call('POST', `/api/registrations/${registration}/decision/`, body);
  }
  registration(id: number): Promise<ToolsState> {
    return call('GET', `/api/registrations/${id}/`);
  }
  addLandmark(registration: number, reference: Vec3, moving: Vec3): Promise<LandmarkSet> {
    return call('POST', `/api/registrations/${registration}/landmarks/`, { reference, moving, label: '' });
  }
  /** Null when no pair is left. */
  removeLandmark(id: number): Promise<LandmarkSet | null> {
    return call('DELETE', `/api/landmarks/${id}/`);
  }
  fitLandmarks(registration: number): Promise<LandmarkFit> {
    return call('POST', `/api/registrations/${registration}/landmarks/fit/`, {});
  }
  /** `matrix`: where to start; null starts from the alignment on record. */
  refine(registration: number, model: TransformModel, matrix: Mat4 | null): Promise<Refinement> {
    return call('POST', `/api/registrations/${registration}/refinements/`, { model, matrix });
  }
  refinement(id: number, act: 'cancel' | 'retry' | 'discard'): Promise<Refinement> {
    return call('POST', `/api/refinements/${id}/${act}/`, {});
  }
  /** Points through the transform on record, deformation included; null where there is no counterpart. */
  map(registration: number, points: readonly Vec3[], from: 'reference' | 'moving'): Promise<{ points: (Vec3 | null)[] }> {
    return call('POST', `/api/registrations/${registration}/map/`, { points, from, refinement: null });
  }
  priors(): Promise<Priors> {
    return call('GET', `/api/cases/${this.caseId}/priors/`);
  }
  /** Of another case: its patient must be compared before anything of it is drawn. */
  viewOf(url: string): Promise<View> {
    return call('GET', url);
  }
  registerPrior(study: number): Promise<void> {
    return call('POST', `/api/cases/${this.caseId}/priors/${study}/`, {});
  }
  takeOutPrior(study: number): Promise<void> {
    return call('DELETE', `/api/cases/${this.caseId}/priors/${study}/`);
  }
  pairPrior(body: PairBody): Promise<Pair> {
    return call('POST', `/api/cases/${this.caseId}/prior-pairs/`, body);
  }
  unpairPrior(id: number): Promise<void> {
    return call('DELETE', `/api/prior-pairs/${id}/`);
  }
  pairPriorAgain(id: number): Promise<Pair> {
    return call('POST', `/api/prior-pairs/${id}/restore/`, {});
  }
  rerun(): Promise<{ run: unknown }> {
    return call('POST', `/api/cases/${this.caseId}/rerun/`, {});
  }
}
