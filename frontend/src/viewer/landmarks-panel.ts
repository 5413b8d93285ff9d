/** Landmark pairs of a registration: the list with residuals, placing, undo, and the fit to them. */
import { t } from '../i18n';
import type { Mat4 } from '../affine';
import { mean, residual } from './alignment';
import { button, h } from './dom';
import type { LandmarkFit, LandmarkPair, ToolsState } from './registration-types';

export interface LandmarkActions {
  /** Shows reference and moving series side by side with the landmark tool. */
  place(): void;
  goto(pair: LandmarkPair): void;
  remove(pair: LandmarkPair): void;
  fit(): void;
}

const LEAST_PAIRS = 3;

const millimetres = (value: number | null): string => (value === null ? '–' : `${value.toFixed(1)} mm`);

/** Residuals under a matrix that is tried, else as the server has them (deformation included). */
export function residuals(pairs: readonly LandmarkPair[], tried: Mat4 | null): (number | null)[] {
  return pairs.map((pair) => (tried ? residual(tried, pair) : pair.residual_mm));
}

function rootMeanSquare(values: readonly number[]): number | null {
  const squares = mean(values.map((value) => value * value));
  return squares === null ? null : Math.sqrt(squares);
}

export class LandmarksPanel {
  readonly element = h('div', { class: 'stack' });
  private key = '';

  constructor(private readonly actions: LandmarkActions) {}

  /** `tried`: the matrix on screen where it is not the one on record; `waiting`: which end comes next. */
  update(state: ToolsState, tried: Mat4 | null, fit: LandmarkFit | null, waiting: string, mayDecide: boolean): void {
    const key = JSON.stringify([state.landmarks, tried, fit, waiting, mayDecide]);
    if (key === this.key) return;
    this.key = key;
    const pairs = state.landmarks?.pairs ?? [];
    const values = residuals(pairs, tried);
    const known = values.filter((value): value is number => value !== null);
    const focused = this.element.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['landmark'] : undefined;
    this.element.replaceChildren(
      h('p', { class: 'small', text: waiting || t('Mark the same spot in both images, side by side: first in one, then in the other.'), attrs: { role: 'status' } }),
      h('div', { class: 'row' },
        mayDecide ? button(t('Place pairs (M)'), this.actions.place, { class: 'btn btn--small btn--primary', data: { landmark: 'place' } }) : null,
        mayDecide ? this.fitButton(pairs.length) : null,
        mayDecide && pairs.length ? button(t('Undo last pair'), () => this.actions.remove(pairs[pairs.length - 1]!), { data: { landmark: 'undo' } }) : null,
      ),
      ...(pairs.length ? [this.table(pairs, values, mayDecide), this.summary(known, tried !== null)] : []),
      fit ? h('div', { class: 'notice', data: { fit: '' } }, h('span', { text: t('Rigid fit to {fit} pairs: RMS {rms_mm}, mean {mean_mm}, largest {max_mm}. It is on the images; save it under Align.', { fit: fit.count, rms_mm: millimetres(fit.rms_mm), mean_mm: millimetres(fit.mean_mm), max_mm: millimetres(fit.max_mm) }) })) : '',
      h('p', { class: 'muted small', text: t('Residuals hold at the landmarks. A few good pairs do not prove the alignment elsewhere.') }),
    );
    if (focused) this.element.querySelector<HTMLElement>(`[data-landmark="${focused}"]`)?.focus();
  }

  private fitButton(count: number): HTMLButtonElement {
    const fit = button(t('Fit rigid to landmarks'), this.actions.fit, { data: { landmark: 'fit' }, title: count < LEAST_PAIRS ? t('Needs at least three pairs') : t('Least squares on the server; shown before it is saved') });
    fit.disabled = count < LEAST_PAIRS;
    return fit;
  }

  private table(pairs: readonly LandmarkPair[], values: readonly (number | null)[], mayDecide: boolean): HTMLElement {
    const rows = pairs.map((pair, n) => {
      const place = button(String(n + 1), () => this.actions.goto(pair), { title: t('Show pair {number} ({by})', { number: n + 1, by: pair.by }), attrs: { 'aria-label': t('Show pair {number}', { number: n + 1 }) }, data: { landmark: `goto-${pair.id}` } });
      const remove = mayDecide ? button(t('Delete'), () => this.actions.remove(pair), { class: 'btn btn--small btn--quiet', attrs: { 'aria-label': t('Delete pair {number}', { number: n + 1 }) }, data: { landmark: `delete-${pair.id}` } }) : null;
      return h('tr', { data: { pair: String(pair.id) } },
        h('td', {}, place),
        h('td', { class: 'right num', text: millimetres(values[n]!), data: { residual: '' } }),
        h('td', { class: 'muted small', text: pair.label || pair.by }),
        h('td', { class: 'right' }, remove),
      );
    });
    const head = h('tr', {}, h('th', { text: t('Pair') }), h('th', { class: 'right', text: t('Residual') }), h('th', { text: t('By') }), h('th', {}, h('span', { class: 'sr-only', text: t('Delete') })));
    return h('table', { class: 'table table--dense' }, h('thead', {}, head), h('tbody', {}, ...rows));
  }

  private summary(known: readonly number[], tried: boolean): HTMLElement {
    const largest = known.length ? Math.max(...known) : null;
    const figures = { rms: millimetres(rootMeanSquare(known)), max: millimetres(largest) };
    return h('p', { class: 'num', data: { landmarkSummary: '' } },
      h('strong', { text: t('Mean {known}', { known: millimetres(mean(known)) }) }),
      tried
        ? t(', RMS {rms}, largest {max} under the alignment on screen (not saved).', figures)
        : t(', RMS {rms}, largest {max} under the alignment on record.', figures),
    );
  }
}
