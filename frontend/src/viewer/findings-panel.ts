/** The findings: jump, accept, edit, reject. Model output says so until a reader has accepted it. */
import { t } from '../i18n';
import { button, h } from './dom';
import { originOf } from './overlay';
import type { Finding, ReviewState } from './types';

export interface Review {
  state: ReviewState;
  comment: string;
  label: string;
  location: string;
}

export interface FindingActions {
  goto(finding: Finding): void;
  review(finding: Finding, review: Review): Promise<boolean>;
}

const STATE_BADGE: Record<Exclude<ReviewState, 'pending'>, readonly [string, string]> = {
  accepted: ['ok', t('Accepted')],
  edited: ['ok', t('Edited')],
  rejected: ['bad', t('Rejected')],
};

function size(finding: Finding): string {
  const parts = [`${finding.long_axis_mm.toFixed(1)} × ${finding.short_axis_mm.toFixed(1)} mm`, `${finding.volume_ml.toFixed(2)} ml`];
  if (finding.suv_max !== null) parts.push(t('SUVmax {suv_max}', { suv_max: finding.suv_max.toFixed(1) }));
  if (finding.suv_peak !== null) parts.push(t('SUVpeak {suv_peak}', { suv_peak: finding.suv_peak.toFixed(1) }));
  return parts.join(' · ');
}

export class FindingsPanel {
  readonly element = h('div', { class: 'findings-panel' });
  private key = '';
  private editing: number | null = null;
  private findings: readonly Finding[] = [];
  private mayReview = false;
  private selected: number | null = null;

  constructor(private readonly actions: FindingActions) {}

  update(findings: readonly Finding[], mayReview: boolean, selected: number | null): void {
    [this.findings, this.mayReview, this.selected] = [findings, mayReview, selected];
    const key = JSON.stringify([findings, mayReview, selected, this.editing]);
    if (key === this.key) return;
    this.key = key;
    if (!findings.length) {
      this.element.replaceChildren(h('div', { class: 'empty' }, h('h3', { text: t('No findings') }), h('span', { text: t('The analysis marked nothing, or has not finished. Read the images as usual.') })));
      return;
    }
    this.element.replaceChildren(...findings.map((finding) => this.card(finding)));
    this.element.querySelector('.is-selected')?.scrollIntoView({ block: 'nearest' });
  }

  private refresh(): void {
    this.update(this.findings, this.mayReview, this.selected);
  }

  private card(finding: Finding): HTMLElement {
    const { state } = finding.review;
    const [level, words] = state === 'pending' ? ['ai', t('{origin}, unverified', { origin: originOf(finding) }).replace(/^c/, 'C')] : STATE_BADGE[state];
    const label = finding.review.label || finding.label;
    const location = finding.review.location || finding.location;
    const goto = h('button', { class: 'finding-goto', title: t('Show in the images'), attrs: { type: 'button' }, data: { finding: String(finding.id) } },
      h('span', { class: 'strong', text: label }),
      location ? h('span', { text: location }) : null,
    );
    goto.addEventListener('click', () => this.actions.goto(finding));
    const probability = finding.probability === null ? '' : t('Model probability {probability} %', { probability: Math.round(finding.probability * 100) });
    return h('div', { class: `finding finding--${finding.review.state}${finding.id === this.selected ? ' is-selected' : ''}`, data: { finding: String(finding.id) } },
      h('span', { class: 'number', text: String(finding.number) }),
      h('div', { class: 'grow' },
        goto,
        h('div', { class: 'row' }, h('span', { class: `badge badge--${level}`, text: words, title: finding.review.by ? `${finding.review.by}` : '' }), h('span', { class: 'muted small', text: probability })),
        h('div', { class: 'small num', text: size(finding) }),
        finding.method ? h('div', { class: 'muted small', text: finding.method }) : null,
        finding.review.comment ? h('div', { class: 'small', text: `“${finding.review.comment}”` }) : null,
        this.mayReview ? (this.editing === finding.id ? this.form(finding) : this.buttons(finding)) : null,
      ),
    );
  }

  private buttons(finding: Finding): HTMLElement {
    const { review } = finding;
    const keep = { comment: review.comment, label: review.label, location: review.location };
    const set = (state: ReviewState) => () => void this.actions.review(finding, { state, ...keep });
    const row = h('div', { class: 'row' });
    const add = (text: string, state: string, run: () => void): void => {
      row.append(button(text, run, { data: { review: state }, attrs: { 'aria-pressed': String(review.state === state) } }));
    };
    add(t('Accept'), 'accepted', set('accepted'));
    add(t('Edit'), 'edited', () => {
      this.editing = finding.id;
      this.refresh();
    });
    add(t('Reject'), 'rejected', set('rejected'));
    if (review.state !== 'pending') add(t('Undo'), 'pending', set('pending'));
    return row;
  }

  private form(finding: Finding): HTMLElement {
    const field = (name: string, text: string, value: string): [HTMLElement, HTMLInputElement] => {
      const input = h('input', { class: 'input', attrs: { name, value, 'aria-label': text } });
      return [h('label', { class: 'small stack-tight' }, h('span', { class: 'muted', text }), input), input];
    };
    const [labelRow, label] = field('label', t('Label'), finding.review.label || finding.label);
    const [placeRow, place] = field('location', t('Location'), finding.review.location || finding.location);
    const [noteRow, note] = field('comment', t('Comment'), finding.review.comment);
    const save = h('button', { class: 'btn btn--small btn--primary', text: t('Save'), attrs: { type: 'submit' } });
    const cancel = button(t('Cancel'), () => {
      this.editing = null;
      this.refresh();
    });
    const form = h('form', { class: 'stack-tight' }, labelRow, placeRow, noteRow, h('div', { class: 'row' }, save, cancel));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      save.disabled = true;
      const review: Review = { state: 'edited', label: label.value.trim(), location: place.value.trim(), comment: note.value.trim() };
      void this.actions.review(finding, review).then((done) => {
        save.disabled = false;
        if (!done) return;
        this.editing = null;
        this.refresh();
      });
    });
    return form;
  }
}
