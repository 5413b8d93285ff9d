/** The tab "Priors": earlier studies by relevance, what became of each lesion, and pairing by hand. */
import { t, tn } from '../../i18n';
import { toast } from '../../pages/toast';
import { type Api, ApiError } from '../api';
import { button, h } from '../dom';
import { bodyOf, earlierChoices, entriesOf, find, keyOf } from './choices';
import type { Change, Item, Pair, PairBody, Prior, Priors, Proposal } from './types';

export interface PriorActions {
  /** Beside the current images: a layer of this case, or the other case in its own pane. */
  open(prior: Prior): void;
  opened(): number | null;
  goto(item: Item): void;
}

export class PriorsPanel {
  readonly element = h('div', { class: 'priors-panel' });
  private priors: Priors | null = null;
  private problem = '';
  private asked = false;
  private busy = false;

  constructor(
    private readonly api: Api,
    private readonly actions: PriorActions,
  ) {
    this.draw();
  }

  /** Fetched when the tab is opened first, and after that when something changed. */
  get known(): boolean {
    return this.asked;
  }

  get count(): number {
    return this.priors?.priors.length ?? 0;
  }

  async fetch(): Promise<void> {
    this.asked = true;
    if (!this.priors) this.draw();
    try {
      this.priors = await this.api.priors();
      this.problem = '';
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.problem = error.message;
    }
    this.draw();
  }

  draw(): void {
    const { priors } = this;
    if (!priors) {
      this.element.replaceChildren(this.problem
        ? h('div', { class: 'empty' }, h('h3', { text: t('The earlier studies could not be listed') }), h('span', { text: this.problem }), button(t('Try again'), () => void this.fetch()))
        : h('div', { class: 'empty' }, h('span', { text: t('Looking for earlier studies …') })));
      return;
    }
    if (!priors.priors.length) {
      this.element.replaceChildren(h('div', { class: 'empty' }, h('h3', { text: t('No earlier study') }), h('span', { text: t('At your sites this patient, under every known ID, has no earlier study.') })));
      return;
    }
    this.element.replaceChildren(
      ...(this.problem ? [h('div', { class: 'notice notice--warn', text: this.problem })] : []),
      ...priors.priors.map((prior) => this.entry(prior)),
      ...this.proposed(priors),
      ...this.history(priors),
      ...(priors.can.pair ? [this.form(priors)] : [h('p', { class: 'muted small', text: t('Claim the case to pair measurements with earlier ones.') })]),
    );
  }

  /** One request at a time; a refusal is shown, and what is true is fetched again either way. */
  private async act<T>(run: () => Promise<T>): Promise<T | undefined> {
    if (this.busy) return undefined;
    this.busy = true;
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
      return undefined;
    } finally {
      this.busy = false;
      await this.fetch();
    }
  }

  // ---- the list -----------------------------------------------------------------------------

  private entry(prior: Prior): HTMLElement {
    const fused = prior.layers.find((layer) => layer.fused);
    const badge = prior.in_case
      ? prior.layers.length
        ? h('span', { class: `badge badge--${fused ? 'ok' : 'warn'}`, text: fused ? t('Registered: {badge}', { badge: fused.badge }) : prior.layers[0]!.badge })
        : h('span', { class: 'badge badge--warn', text: t('In this case: waits for the analysis') })
      : h('span', { class: 'badge', text: t('Not registered with these images') });
    const isOpen = this.actions.opened() === prior.study;
    const beside = button(isOpen ? t('Close') : t('Open beside'), () => this.actions.open(prior), { data: { openPrior: String(prior.study) }, attrs: { 'aria-pressed': String(isOpen) } });
    const canOpen = prior.layers.length > 0 || prior.view !== null;
    beside.disabled = !canOpen;
    if (!canOpen) beside.title = t('No analysed case of yours holds these images.');
    const register = prior.in_case ? null : button(t('Register with current'), () => void this.register(prior), { data: { registerPrior: String(prior.study) }, title: prior.why_not || t('Puts the study into this case for comparison; the analysis then runs again and registers it.') });
    if (register) register.disabled = !prior.can_register;
    return h('article', { class: 'prior', data: { prior: String(prior.study) } },
      h('div', { class: 'prior-head' },
        h('span', { class: 'strong num', text: prior.date || t('without a date') }),
        h('span', { class: 'grow', text: prior.description }),
        h('span', { class: 'muted', text: prior.modalities.join(' ') })),
      h('div', { class: 'small', text: prior.reason }),
      h('div', { class: 'row' }, badge,
        prior.linked ? h('span', { class: 'badge badge--warn', text: t('Linked patient {id}', { id: prior.patient.patient_id }) }) : null,
        prior.site ? h('span', { class: 'badge badge--info', text: prior.site }) : null,
        prior.case === null ? null : h('a', { class: 'small', text: t('Case {id}, {state}', { id: prior.case, state: prior.case_state }), attrs: { href: `/cases/${prior.case}/`, target: '_blank', rel: 'noopener' } })),
      h('div', { class: 'row' }, beside, register,
        prior.can_take_out ? button(t('Take out of this case'), () => void this.act(() => this.api.takeOutPrior(prior.study)), { class: 'btn btn--small btn--quiet' }) : null),
    );
  }

  private async register(prior: Prior): Promise<void> {
    await this.act(async () => {
      await this.api.registerPrior(prior.study);
      toast(t('The study of {date} was put into this case. The analysis runs again and registers it; its progress stands in the status line.', { date: prior.date }), 'ok');
    });
  }

  // ---- pairs --------------------------------------------------------------------------------

  private proposed(priors: Priors): HTMLElement[] {
    if (!priors.can.pair || !priors.proposals.length) return [];
    const row = (proposal: Proposal): HTMLElement | null => {
      const current = find(priors.current, proposal.current);
      const earlier = find(priors.earlier[proposal.case] ?? [], proposal.earlier);
      if (!current || !earlier) return null;
      return h('div', { class: 'row prior-proposal', data: { proposal: keyOf(proposal.current) } },
        h('span', { class: 'grow', text: `${this.named(current)} ↔ ${earlier.date} ${this.named(earlier)}` }),
        h('span', { class: 'muted num', text: t('{mm} mm apart', { mm: proposal.mm.toFixed(1) }) }),
        button(t('Same lesion'), () => void this.pair({ current: proposal.current, earlier: proposal.earlier, study: null, is_node: false })));
    };
    return [h('h3', { class: 'layers-heading', text: t('At the same place, by the registration') }), ...priors.proposals.map(row).filter((one): one is HTMLElement => one !== null)];
  }

  private named(item: Item): string {
    return `${item.name} ${item.label}`.trim();
  }

  private history(priors: Priors): HTMLElement[] {
    if (!priors.pairs.length) return [];
    return [
      h('h3', { class: 'layers-heading', text: t('Change over time') }),
      ...priors.pairs.map((pair) => this.pairCard(pair, priors)),
      ...priors.sums.map((sum) => h('div', { class: 'prior-sum', data: { sum: String(sum.study) } },
        h('div', {}, h('span', { class: 'strong', text: t('Sum of diameters since {date}', { date: sum.date }) }), ` ${tn('{n} lesion', '{n} lesions', sum.count)}: ${sum.before_text} → ${sum.after_text} (${sum.change_text}, ${sum.percent_text})`),
        ...sum.notes.map((note) => h('div', { class: 'muted small', text: note })))),
    ];
  }

  private pairCard(pair: Pair, priors: Priors): HTMLElement {
    const { current } = pair;
    const remove = priors.can.pair ? button(t('Unpair'), () => void this.unpair(pair), { class: 'btn btn--small btn--quiet', data: { unpair: String(pair.id) } }) : null;
    const head = h('div', { class: 'prior-head' },
      current ? button(this.named(current), () => this.actions.goto(current), { class: 'btn btn--small btn--quiet strong', title: t('Show in the images') }) : null,
      h('span', { class: 'grow small muted', text: [pair.is_node ? t('lymph node') : '', pair.proposed_mm === null ? '' : t('found by place'), pair.by].filter(Boolean).join(' · ') }),
      remove);
    if (!current || !pair.change) {
      return h('article', { class: 'prior-pair', data: { pair: String(pair.id) } }, head, h('div', { class: 'muted', text: t('The other half is of a case that you may not see.') }));
    }
    return h('article', { class: 'prior-pair', data: { pair: String(pair.id) } }, head,
      ...[current, pair.earlier].map((item) => (item?.outdated ? h('div', { class: 'mark-unsaved', text: item.outdated }) : null)),
      ...entriesOf(pair).map(({ earlier, change }) => this.change(earlier, change, priors.date)));
  }

  private change(earlier: Item, change: Change, today: string): HTMLElement {
    const cell = (...parts: string[]): HTMLElement => h('td', { class: 'num' }, ...parts.filter(Boolean).map((text) => h('span', { text })).flatMap((part, n) => (n ? [' ', part] : [part])));
    const rows = change.rows.map((row) => h('tr', { data: { row: row.name } }, h('th', { text: row.title, attrs: { scope: 'row' } }), cell(row.before_text), cell(row.after_text), cell(row.change_text, row.percent_text)));
    const { doubling } = change;
    return h('div', {},
      h('table', { class: 'table table--dense prior-table' },
        h('thead', {}, h('tr', {},
          h('th', { text: this.named(earlier) }), h('th', { class: 'num', text: change.date || t('without a date') }), h('th', { class: 'num', text: today || t('now') }),
          h('th', { class: 'num', text: t('Change') }))),
        h('tbody', {}, ...rows)),
      doubling ? h('div', { class: 'small', data: { doubling: doubling.days === null ? '' : doubling.days.toFixed(1) } },
        h('span', { class: 'strong', text: t('Volume doubling time: {text}', { text: doubling.text || doubling.reason }) }), ` ${doubling.basis}`,
        doubling.growth_text ? h('div', { text: doubling.growth_text }) : null) : null,
      ...change.notes.map((note) => h('div', { class: 'muted small', text: note })),
      change.sentence ? button(t('Copy as a sentence'), () => void this.copy(change.sentence), { title: change.sentence }) : null);
  }

  private async copy(sentence: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(sentence);
      toast(t('Copied. Paste it into the report.'), 'ok');
    } catch (error) {
      if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      // Without a secure connection a browser has no clipboard for pages: the text is shown to be taken by hand.
      toast(sentence, 'warn');
    }
  }

  private async pair(body: PairBody): Promise<void> {
    await this.act(() => this.api.pairPrior(body));
  }

  private async unpair(pair: Pair): Promise<void> {
    const done = await this.act(async () => {
      await this.api.unpairPrior(pair.id);
      return true;
    });
    if (!done) return;
    this.element.prepend(h('div', { class: 'row prior-undo', attrs: { role: 'status' } }, h('span', { class: 'grow', text: t('The pair was taken back.') }), button(t('Undo'), () => void this.act(() => this.api.pairPriorAgain(pair.id)), { data: { act: 'pair-again' } })));
  }

  private form(priors: Priors): HTMLElement {
    const option = (value: string, text: string): HTMLElement => h('option', { text, attrs: { value } });
    const now = h('select', { class: 'input', attrs: { 'aria-label': t('Now') }, data: { pairNow: '' } }, option('', t('Now …')), ...priors.current.map((item) => option(keyOf(item), this.named(item))));
    const groups = priors.priors.map((prior) => {
      const group = h('optgroup', { attrs: { label: `${prior.date} ${prior.description}` } }, ...earlierChoices(priors, prior).map(({ value, item }) => option(value, this.named(item))));
      return group.children.length ? group : null;
    });
    const then = h('select', { class: 'input', attrs: { 'aria-label': t('Earlier') }, data: { pairThen: '' } }, option('', t('Earlier …')), ...groups);
    const node = h('input', { attrs: { type: 'checkbox' } });
    const make = button(t('Compare'), () => {
      const body = bodyOf(now.value, then.value, node.checked);
      if (body) void this.pair(body);
    }, { data: { act: 'pair' } });
    make.disabled = true;
    for (const select of [now, then]) select.addEventListener('change', () => (make.disabled = bodyOf(now.value, then.value, node.checked) === null));
    return h('div', { class: 'prior-form' },
      h('h3', { class: 'layers-heading', text: t('Compare two sizes of one lesion') }),
      h('div', { class: 'row' }, now, then),
      h('div', { class: 'row' }, h('label', { class: 'small' }, node, ' ', t('Lymph node (short axis counts)')), make));
  }
}
