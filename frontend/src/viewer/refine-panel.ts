/** Refine from here: starting a job, its progress, and its result with verdict, to accept or discard. */
import { t } from '../i18n';
import { button, h } from './dom';
import { isOpen, type Refinement, type ToolsState } from './registration-types';
import { figureText, estimatedError, MODELS, qualityTable, reasonsList, verdictBadge, when } from './registration-words';
import type { TransformModel } from './types';

export interface RefineActions {
  start(model: TransformModel): void;
  act(refinement: Refinement, act: 'cancel' | 'retry' | 'discard'): void;
  /** Shows a result on the images, or takes it off. */
  preview(refinement: Refinement): void;
  accept(refinement: Refinement): void;
}

const HELP: Record<TransformModel, string> = {
  rigid: t('moves and turns'),
  affine: t('also stretches and shears'),
  deformable: t('bends locally; marked as deformed'),
};
const STATES: Record<Refinement['state'], string> = {
  queued: t('Waiting'), running: t('Running'), done: t('Result'), failed: t('Failed'), cancelled: t('Cancelled'), discarded: t('Discarded'),
};
const STARTS: Record<Refinement['start']['method'], string> = {
  computed: t('the computed alignment'), delivered: t('the delivered position'), hand: t('alignment by hand'), landmarks: t('the landmark fit'), refined: t('an earlier refinement'),
};

/** Older ones stand in the history of decisions, if they were accepted. */
const MOST = 6;

export class RefinePanel {
  readonly element = h('div', { class: 'stack' });
  private readonly model = h('select', { class: 'input', attrs: { name: 'model', 'aria-label': t('Kind of refinement') } });
  private key = '';

  constructor(private readonly actions: RefineActions) {
    for (const model of Object.keys(HELP) as TransformModel[]) {
      this.model.append(h('option', { text: `${MODELS[model]}: ${HELP[model]}`, attrs: { value: model } }));
    }
  }

  /** `from`: where a refinement would start now, in words; `shown`: the result on the images. */
  update(state: ToolsState, from: string, shown: number | null, mayDecide: boolean): void {
    const key = JSON.stringify([state.refinements, from, shown, mayDecide]);
    if (key === this.key) return;
    this.key = key;
    const focused = this.element.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['refine'] : undefined;
    const busy = state.refinements.some(isOpen);
    const start = button(t('Refine from here'), () => this.actions.start(this.model.value as TransformModel), { class: 'btn btn--small btn--primary', data: { refine: 'start' } });
    start.disabled = busy;
    const form = mayDecide && !busy
      ? [h('p', { class: 'small', text: t('A refinement starts from {from}. You judge the result before it counts.', { from }) }), h('div', { class: 'row refine-start' }, this.model, start)]
      : [];
    const cards = state.refinements.slice(0, MOST).map((refinement, n) => this.card(refinement, n === 0, shown === refinement.id, mayDecide));
    // What waits for a judgement comes first.
    const waits = state.refinements[0]?.state === 'done' && !state.refinements[0].accepted;
    const none = state.refinements.length ? [] : [h('p', { class: 'muted small', text: t('No refinement yet.') })];
    this.element.replaceChildren(...(waits || busy ? [...cards, ...form] : [...form, ...cards]), ...none);
    if (focused) this.element.querySelector<HTMLElement>(`[data-refine="${focused}"]`)?.focus();
  }

  private card(refinement: Refinement, newest: boolean, shown: boolean, mayDecide: boolean): HTMLElement {
    const { result } = refinement;
    const title = t('{model} from {start}', { model: MODELS[refinement.model], start: STARTS[refinement.start.method] });
    const state = refinement.accepted ? h('span', { class: 'badge badge--ok', text: t('Accepted, in force') }) : h('span', { class: 'muted small', text: STATES[refinement.state] });
    const card = h('section', { class: 'refinement', data: { refinement: String(refinement.id), state: refinement.state } },
      h('div', { class: 'spread' }, h('span', { class: 'strong', text: title }), state),
      h('div', { class: 'muted small', text: `${refinement.by}, ${when(refinement.at)}` }),
    );
    const act = (name: 'cancel' | 'retry' | 'discard', text: string): HTMLButtonElement =>
      button(text, () => this.actions.act(refinement, name), { data: { refine: `${name}-${refinement.id}` } });
    if (isOpen(refinement)) {
      const percent = Math.round(refinement.progress * 100);
      card.append(
        h('div', { class: 'row' }, h('progress', { class: 'progress grow', attrs: { max: '1', value: String(refinement.progress), 'aria-label': t('Refinement') } }), h('span', { class: 'num small', text: `${percent} %` })),
        h('div', { class: 'small', text: refinement.text, attrs: { role: 'status' } }),
      );
      if (mayDecide) card.append(h('div', { class: 'row' }, act('cancel', t('Cancel'))));
    } else if (refinement.state === 'failed') {
      card.append(h('div', { class: 'notice notice--bad' }, h('span', { text: refinement.error || t('It stopped without a reason.') })));
      if (mayDecide) card.append(h('div', { class: 'row' }, act('retry', t('Try again')), act('cancel', t('Give up'))));
    } else if (refinement.state === 'done' && result) {
      const error = estimatedError(result.quality);
      card.append(h('div', { class: 'row' }, verdictBadge(result.verdict), error ? h('span', { class: 'small num', text: `estimated error ${figureText(error)}` }) : null));
      const preview = button(shown ? t('Take off the images') : t('Show on the images'), () => this.actions.preview(refinement), { attrs: { 'aria-pressed': String(shown) }, data: { refine: `preview-${refinement.id}` } });
      const accept = button(t('Accept'), () => this.actions.accept(refinement), { class: 'btn btn--small btn--primary', data: { refine: `accept-${refinement.id}` } });
      accept.disabled = !refinement.can_accept;
      if (!refinement.accepted) card.append(h('div', { class: 'row' }, preview, mayDecide ? accept : null, mayDecide ? act('discard', t('Discard')) : null));
      const list = reasonsList(result.reasons);
      const details = h('details', {}, h('summary', { class: 'small', text: t('Quality and reasons') }), h('p', { class: 'muted small', text: `${result.method}, ${result.version}` }), list, qualityTable(result.quality));
      details.open = newest && !refinement.accepted;
      card.append(details);
    }
    return card;
  }
}
