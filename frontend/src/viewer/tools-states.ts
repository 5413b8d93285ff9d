/** What the server says of registrations that were opened; asked again while a refinement is under way. */
import { t } from '../i18n';
import { toast } from '../pages/toast';
import type { Acts } from './acts';
import type { Api } from './api';
import { isOpen, type ToolsState } from './registration-types';

const POLL_MS = 2500;
/** After a question that was not answered. */
const POLL_AGAIN_MS = 10_000;

const pairIds = (state: ToolsState | undefined): string => state?.landmarks?.pairs.map((pair) => pair.id).join() ?? '';

export class ToolsStates {
  readonly all = new Map<number, ToolsState>();
  private poll = 0;
  private asked = 0;

  constructor(
    private readonly api: Api,
    private readonly acts: Acts,
    private readonly events: { open(): number | null; kept(): void; pairsChanged(registration: number): void },
  ) {}

  stop(): void {
    window.clearTimeout(this.poll);
  }

  /** The open registration's state anew; the view too, when a layer or a decision is new. */
  async fetch(refresh: () => Promise<void>): Promise<void> {
    this.stop();
    const id = this.events.open();
    if (id === null) return;
    const question = ++this.asked;
    const old = this.all.get(id);
    const before = old?.refinements ?? [];
    const state = await this.acts.attempt(() => this.api.registration(id));
    // A later question is under way: its answer is the newer one.
    if (question !== this.asked) return;
    const again = (ms: number): void => {
      this.stop();
      this.poll = window.setTimeout(() => void this.fetch(refresh), ms);
    };
    if (!state) {
      if (before.some(isOpen)) again(POLL_AGAIN_MS);
      return;
    }
    this.keep(state);
    if (state.refinements.some(isOpen)) again(POLL_MS);
    const finished = state.refinements.find((now) => now.state === 'done' && before.some((one) => one.id === now.id && isOpen(one)));
    if (finished) toast(t('{series}: the refinement is done. Judge it before it counts.', { series: state.label }), 'ok');
    // A new layer, or a decision that somebody else made meanwhile.
    if (finished || (old && old.decisions[0]?.id !== state.decisions[0]?.id)) await refresh();
  }

  keep(state: ToolsState): void {
    const old = this.all.get(state.id);
    this.all.set(state.id, state);
    if (old && pairIds(old) !== pairIds(state)) this.events.pairsChanged(state.id);
    this.events.kept();
  }
}
