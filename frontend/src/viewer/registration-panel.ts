/** The side panel of one registration: summary, alignment by hand, landmarks, refinement, history. */
import { t } from '../i18n';
import { badgeLevel, badgeText } from './badge';
import { button, h } from './dom';
import type { JudgedBody, ToolsState } from './registration-types';
import { DECISIONS, estimatedError, facts, figureText, fusionFacts, historyList, qualityTable, reasonsList, when } from './registration-words';
import type { Layer } from './types';

export type Section = 'summary' | 'align' | 'landmarks' | 'refine' | 'history';
const SECTIONS: Record<Section, string> = { summary: t('Summary'), align: t('Align'), landmarks: t('Landmarks'), refine: t('Refine'), history: t('History') };

export interface PanelActions {
  decide(decision: JudgedBody['decision'], reason: string): void;
  select(section: Section): void;
  showAlone(layer: Layer): void;
  beside(layer: Layer): void;
  close(): void;
}

interface PanelState {
  layer: Layer;
  section: Section;
  tools: ToolsState | null;
  mayDecide: boolean;
  /** What is on screen and not on record, for the badge. */
  trying: string | null;
  isBeside: boolean;
  /** What holds for every decision made here now; empty if nothing does. */
  warning: string;
  body: HTMLElement | null;
}

export class RegistrationPanel {
  readonly element = h('section', { class: 'fusion-panel stack' });
  private readonly title = h('h2', {});
  private readonly badge = h('span', { class: 'badge' });
  private readonly beside: HTMLButtonElement;
  private readonly alone: HTMLButtonElement;
  private readonly tabs = h('div', { class: 'tabs tabs--inner', attrs: { role: 'tablist', 'aria-label': t('Registration') } });
  private readonly body = h('div', { class: 'stack' });
  private readonly reason = h('input', { class: 'input', attrs: { type: 'text', name: 'reason', maxlength: '500', placeholder: t('Reason (kept with the decision)'), 'aria-label': t('Reason') } });
  private readonly reasonMissing = h('div', { class: 'error small', text: t('Say why: the reason is kept with the rejection.'), attrs: { role: 'alert' } });
  private layer: Layer | null = null;
  private key = '';

  constructor(private readonly actions: PanelActions) {
    this.beside = button(t('Side by side'), () => this.layer && actions.beside(this.layer), { title: t('Reference and this series in its own space'), data: { beside: '', command: 'compare.beside' } });
    this.alone = button(t('Show alone'), () => this.layer && actions.showAlone(this.layer), { title: t('This series in its own space, nothing over it') });
    for (const section of Object.keys(SECTIONS) as Section[]) {
      this.tabs.append(button(SECTIONS[section], () => actions.select(section), { class: '', attrs: { role: 'tab' }, data: { section } }));
    }
    const back = button(t('Back'), () => actions.close(), { data: { close: '' } });
    this.element.append(
      h('header', { class: 'spread' }, this.title, h('div', { class: 'row' }, this.beside, this.alone, back)),
      h('div', {}, this.badge),
      this.tabs,
      this.body,
    );
    this.reasonMissing.hidden = true;
    this.reason.addEventListener('input', () => (this.reasonMissing.hidden = true));
  }

  /** A decision was kept: its reason is not that of the next one. */
  decided(): void {
    this.reason.value = '';
    this.reasonMissing.hidden = true;
  }

  update(state: PanelState): void {
    const { layer } = state;
    if (this.layer?.id !== layer.id) this.decided();
    this.layer = layer;
    this.element.setAttribute('aria-label', t('Fusion of {label}', { label: layer.label }));
    this.title.textContent = layer.label;
    this.badge.textContent = state.trying ? `${layer.label}: ${state.trying}` : badgeText(layer);
    this.badge.className = `badge badge--${state.trying ? 'warn' : badgeLevel(layer)}`;
    this.alone.hidden = layer.kind !== 'series';
    this.beside.hidden = layer.kind !== 'series' && layer.kind !== 'deformed';
    this.beside.setAttribute('aria-pressed', String(state.isBeside));
    this.tabs.hidden = layer.registration_id === null;
    for (const tab of this.tabs.querySelectorAll<HTMLElement>('[data-section]')) tab.setAttribute('aria-selected', String(tab.dataset['section'] === state.section));
    const own = state.body;
    if (own) {
      this.key = '';
      if (this.body.firstElementChild !== own || this.body.childElementCount !== 1) this.body.replaceChildren(own);
      return;
    }
    const key = JSON.stringify([layer.id, layer.fusion, state.section, state.tools?.decisions, state.tools?.computed, state.tools?.problem, layer.notices, state.warning, state.mayDecide]);
    if (key === this.key) return;
    this.key = key;
    if (state.section === 'history') this.body.replaceChildren(this.history(state));
    else this.body.replaceChildren(...this.summary(state));
  }

  private history({ tools }: PanelState): HTMLElement {
    if (!tools) return h('p', { class: 'muted', text: t('Loading…') });
    const { computed } = tools;
    const error = estimatedError(computed.quality);
    return h('div', { class: 'stack' },
      historyList(tools.decisions),
      h('h3', { text: t('As computed') }),
      facts([[t('Method'), `${computed.method}, ${computed.version}`], [t('Verdict'), computed.verdict], [t('Estimated error'), error ? figureText(error) : '']]),
    );
  }

  private summary({ layer, tools, mayDecide, warning }: PanelState): Node[] {
    const { fusion } = layer;
    const decides = layer.registration_id !== null && fusion.state !== 'reference';
    const nodes: (Node | null)[] = [tools?.problem ? h('div', { class: 'notice notice--bad', data: { problem: '' } }, h('span', { text: tools.problem })) : null, fusionFacts(fusion)];
    if (fusion.decision) {
      const { by, at, reason } = fusion.decision;
      nodes.push(facts([[t('Decision'), t('{decision} by {by}, {at}', { decision: DECISIONS[fusion.decision.decision], by, at: when(at) })], [t('Reason'), reason]]));
    }
    if (decides && warning) nodes.push(h('div', { class: 'notice notice--warn', data: { warning: '' } }, h('span', { text: warning })));
    if (decides && mayDecide) nodes.push(...this.decisions(layer, tools));
    if (decides && !mayDecide) nodes.push(h('p', { class: 'muted small', text: t('Claim the case to accept, align or reject this registration.') }));
    nodes.push(reasonsList(fusion.reasons), qualityTable(fusion.quality));
    for (const notice of layer.notices) {
      nodes.push(h('div', { class: `notice ${notice.severity === 'info' ? '' : notice.severity === 'refused' ? 'notice--bad' : 'notice--warn'}` }, h('span', { text: notice.message })));
    }
    return nodes.filter((node): node is Node => node !== null);
  }

  private decisions(layer: Layer, tools: ToolsState | null): Node[] {
    const act = (decision: JudgedBody['decision']) => () => {
      const reason = this.reason.value.trim();
      if (decision === 'rejected' && !reason) {
        this.reasonMissing.hidden = false;
        this.reason.focus();
        return;
      }
      this.actions.decide(decision, reason);
    };
    const accept = button(t('Accept'), act('accepted'), { class: 'btn btn--small btn--primary', data: { decision: 'accepted' } });
    accept.disabled = tools ? !tools.computed.can_accept : layer.fusion.verdict === 'refused';
    accept.title = t('Accept the registration as computed');
    const reject = button(t('Reject'), act('rejected'), { class: 'btn btn--small btn--danger', title: t('Not fused any more; say why'), data: { decision: 'rejected' } });
    const back = button(t('Take back'), act('withdrawn'), { class: 'btn btn--small btn--quiet', title: t('Back to the registration as computed'), data: { decision: 'withdrawn' } });
    const decided = layer.fusion.decision !== null && layer.fusion.decision.decision !== 'withdrawn';
    return [h('h3', { text: t('Your decision') }), this.reason, this.reasonMissing, h('div', { class: 'row' }, accept, reject, decided ? back : '')];
  }
}

/** The tab that lists each layer's registration. */
export class RegistrationList {
  readonly element = h('div', { class: 'registration-list stack-tight' });
  private key = '';

  constructor(private readonly open: (layer: Layer) => void) {}

  update(layers: readonly Layer[], trying: (layer: Layer) => string | null, states: ReadonlyMap<number, ToolsState>, message: string, rerun: (() => void) | null): void {
    const key = JSON.stringify([layers.map((layer) => [layer.id, layer.fusion, trying(layer), states.get(layer.registration_id ?? -1)?.decisions[0]?.id]), message, rerun !== null]);
    if (key === this.key) return;
    this.key = key;
    this.element.replaceChildren(
      ...(message ? [h('div', { class: 'notice notice--warn' }, h('span', { text: message }), rerun ? button(t('Analyse again'), rerun, { data: { rerun: '' } }) : null)] : []),
      ...layers.map((layer) => this.row(layer, trying(layer), states.get(layer.registration_id ?? -1))),
      layers.length ? '' : h('p', { class: 'muted', text: t('Only the reference: nothing to register.') }),
    );
  }

  private row(layer: Layer, trying: string | null, tools: ToolsState | undefined): HTMLElement {
    const { fusion } = layer;
    const error = estimatedError(fusion.quality);
    const last = tools?.decisions[0];
    const decided = fusion.decision ?? last;
    const words = [fusion.method, fusion.version, error ? `estimated error ${figureText(error)}` : ''].filter(Boolean).join(' · ');
    return h('div', { class: 'layer-row', data: { registration: String(layer.registration_id) } },
      h('div', { class: 'grow' },
        h('div', { class: 'strong', text: layer.label }),
        h('span', { class: `badge badge--${trying ? 'warn' : badgeLevel(layer)}`, text: trying ? `${layer.label}: ${trying}` : badgeText(layer) }),
        words ? h('div', { class: 'muted small', text: words }) : null,
        decided ? h('div', { class: 'muted small', text: t('{decision} by {by}, {at}', { decision: DECISIONS[decided.decision], by: decided.by, at: when(decided.at) }) }) : null,
        ...(fusion.fused ? [] : fusion.reasons.slice(0, 2).map((text) => h('div', { class: 'muted small', text }))),
      ),
      button(t('Open'), () => this.open(layer), { attrs: { 'aria-label': t('Registration of {label}', { label: layer.label }) } }),
    );
  }
}
