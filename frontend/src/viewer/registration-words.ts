/** Registrations in words and tables: quality with unit and basis, verdicts, decisions with who and when. */
import { t, tn } from '../i18n';
import { h } from './dom';
import type { DecisionRow, Verdict } from './registration-types';
import type { DecisionKind, Fusion, QualityFigure, TransformModel } from './types';

/** Names and units come as the analysis writes them: "estimated_error", "deg". */
function readable(name: string): string {
  const words = name.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
const UNITS: Record<string, string> = { '1': '', deg: '°' };

export function figureText(figure: Pick<QualityFigure, 'value' | 'unit'>): string {
  const unit = UNITS[figure.unit] ?? figure.unit;
  // A tenth of a millimetre is more than any of them can know.
  const digits = unit === 'mm' ? 2 : 3;
  return `${String(Number(figure.value.toPrecision(digits))).replace('-', '−')}${unit ? ` ${unit}` : ''}`;
}

export function qualityTable(quality: readonly QualityFigure[]): HTMLElement | null {
  if (!quality.length) return null;
  const rows = quality.map((figure) => {
    const mark = figure.passed === null ? '' : figure.passed ? t('passed') : t('failed');
    return h('tr', {},
      h('td', {}, readable(figure.name), figure.basis ? h('div', { class: 'muted small', text: figure.basis }) : null),
      h('td', { class: 'right num nowrap', text: figureText(figure) }),
      h('td', {}, mark ? h('span', { class: `badge badge--${figure.passed ? 'ok' : 'bad'}`, text: mark }) : ''),
    );
  });
  const head = h('tr', {}, h('th', { text: t('Quality figure and its basis') }), h('th', { class: 'right', text: t('Value') }), h('th', {}, h('span', { class: 'sr-only', text: t('Passed') })));
  return h('table', { class: 'table table--dense' }, h('thead', {}, head), h('tbody', {}, ...rows));
}

/** The estimated target error, if the registration has one. */
export function estimatedError(quality: readonly QualityFigure[]): QualityFigure | undefined {
  return quality.find((figure) => figure.unit === 'mm' && /error/i.test(figure.name) && /estimat|target/i.test(figure.name));
}

export const MODELS: Record<TransformModel, string> = { rigid: t('Rigid'), affine: t('Affine'), deformable: t('Deformable') };

/** What a reader decided, as said of it in a line. */
export const DECISIONS: Record<DecisionKind, string> = {
  accepted: t('accepted'), rejected: t('rejected'), nudged: t('aligned'), withdrawn: t('taken back'),
};

const VERDICTS = { usable: t('Usable'), doubtful: t('Doubtful'), refused: t('Refused') };

export function verdictBadge(verdict: Verdict): HTMLElement | null {
  if (!verdict) return null;
  const level = { usable: 'ok', doubtful: 'warn', refused: 'bad' }[verdict];
  return h('span', { class: `badge badge--${level}`, text: VERDICTS[verdict] });
}

export function when(at: string): string {
  return new Date(at).toLocaleString('sv-SE', { dateStyle: 'short', timeStyle: 'short' });
}

function decisionWords(row: Pick<DecisionRow, 'decision' | 'method' | 'evidence'>): string {
  if (row.decision === 'rejected') return t('Rejected');
  if (row.decision === 'withdrawn') return t('Decision taken back');
  if (row.method === 'refined') return t('Refinement accepted');
  if (row.decision === 'accepted') return t('Accepted as computed');
  if (row.method !== 'landmarks') return t('Aligned by hand');
  const { count, rms_mm: rms } = row.evidence as { count?: number; rms_mm?: number };
  const figures = [count === undefined ? '' : tn('{n} pair', '{n} pairs', count), rms === undefined ? '' : `RMS ${rms.toFixed(1)} mm`].filter(Boolean);
  return `${t('Fitted to landmarks')}${figures.length ? ` (${figures.join(', ')})` : ''}`;
}

export function historyList(decisions: readonly DecisionRow[]): HTMLElement {
  if (!decisions.length) return h('p', { class: 'muted small', text: t('No decision yet: the registration stands as computed.') });
  return h('ol', { class: 'plain stack-tight history' }, ...decisions.map((row, n) =>
    h('li', { data: { decisionRow: String(row.id) } },
      h('div', {}, h('span', { class: 'strong', text: decisionWords(row) }), n || row.decision === 'withdrawn' ? null : h('span', { class: 'badge badge--info', text: t('in force') })),
      h('div', { class: 'muted small', text: `${row.by}, ${when(row.at)}${row.reason ? `: ${row.reason}` : ''}` }),
    ),
  ));
}

export function facts(rows: readonly (readonly [string, string | Node | null])[]): HTMLElement {
  const list = h('dl', { class: 'facts small' });
  for (const [name, value] of rows) if (value) list.append(h('dt', { text: name }), h('dd', {}, value));
  return list;
}

export function reasonsList(reasons: readonly string[]): HTMLElement | null {
  return reasons.length ? h('ul', { class: 'small', attrs: { 'aria-label': t('Reasons') } }, ...reasons.map((text) => h('li', { text }))) : null;
}

export function fusionFacts(fusion: Fusion): HTMLElement {
  const error = estimatedError(fusion.quality);
  return facts([
    [t('Method'), fusion.method],
    [t('Version'), fusion.version],
    [t('Transform'), fusion.model ? MODELS[fusion.model] : ''],
    [t('Estimated error'), error ? `${figureText(error)} (${error.basis})` : ''],
    [t('Verdict'), verdictBadge(fusion.verdict)],
  ]);
}
