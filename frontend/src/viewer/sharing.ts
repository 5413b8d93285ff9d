/**
 * Two windows on one case: what they share, told over a BroadcastChannel of the case. Layout, framing, slabs, turns
 * and links are each window's own. Nothing is asked of the other window: it may be closed at any time.
 */
import type { State, Store } from './state';

/** Told by every change. The crosshair not while a layer is shown alone: it is in that layer's space then. */
const SHARED = ['focus', 'active', 'fusion', 'tool', 'layers', 'siblings', 'marks', 'outlines'] as const satisfies readonly (keyof State)[];
type Shared = Partial<Pick<State, (typeof SHARED)[number]>>;
/** These two work on an open panel, which is in one window only. */
const OWN_TOOLS: readonly State['tool'][] = ['align', 'landmark'];
const TOGETHER_MS = 16;

export type Told =
  | { type: 'hello' }
  | { type: 'state'; state: Shared; finding?: number | null }
  | { type: 'marks' }
  | { type: 'preferences' };

export interface SharingActions {
  finding(): number | null;
  /** Another text whenever a mark or key image was made, changed or removed here. */
  marksKey(): string;
  select(finding: number | null): void;
  /** Marks were changed in the other window. */
  marks(): void;
  preferences(): void;
}

export interface Channel {
  postMessage(message: Told): void;
  onmessage: ((event: MessageEvent<Told>) => void) | null;
}

export class Sharing {
  private readonly waiting = new Set<keyof Shared>();
  private timer = 0;
  /** What is being taken over is not told back. */
  private taking = false;
  private finding: number | null = null;
  private marksKey: string | null = null;

  constructor(
    private readonly store: Store,
    private readonly channel: Channel,
    private readonly actions: SharingActions,
    /** A second window begins as the first one is. */
    begin: boolean,
  ) {
    store.subscribe((_state, changed) => this.changed(changed));
    channel.onmessage = ({ data }) => this.take(data);
    if (begin) channel.postMessage({ type: 'hello' });
  }

  private changed(changed: ReadonlySet<keyof State>): void {
    if (this.taking) return;
    for (const key of SHARED) if (changed.has(key)) this.waiting.add(key);
    if (this.waiting.size) this.timer ||= window.setTimeout(() => this.send(), TOGETHER_MS);
  }

  /** Drags come by the pixel: one message holds what changed since the last. */
  private send(): void {
    this.timer = 0;
    const state = this.shared([...this.waiting]);
    this.waiting.clear();
    if (Object.keys(state).length) this.channel.postMessage({ type: 'state', state });
  }

  private shared(keys: readonly (keyof Shared)[]): Shared {
    const { state } = this.store;
    const told = keys.filter((key) => (key === 'focus' ? state.alone === null && state.focus !== null : key !== 'tool' || !OWN_TOOLS.includes(state.tool)));
    return Object.fromEntries(told.map((key) => [key, state[key]]));
  }

  /** Called at every turn of the panels: selection and marks are no part of the state. */
  tell(): void {
    const [finding, marksKey] = [this.actions.finding(), this.actions.marksKey()];
    if (finding !== this.finding) this.channel.postMessage({ type: 'state', state: {}, finding });
    if (this.marksKey !== null && marksKey !== this.marksKey) this.channel.postMessage({ type: 'marks' });
    [this.finding, this.marksKey] = [finding, marksKey];
  }

  tellPreferences(): void {
    this.channel.postMessage({ type: 'preferences' });
  }

  private take(told: Told): void {
    if (told.type === 'hello') this.channel.postMessage({ type: 'state', state: this.shared(SHARED), finding: this.actions.finding() });
    else if (told.type === 'marks') this.actions.marks();
    else if (told.type === 'preferences') this.actions.preferences();
    else this.takeState(told.state, told.finding);
  }

  private takeState(shared: Shared, finding: number | null | undefined): void {
    const { state } = this.store;
    const { focus, tool, layers, ...rest } = shared;
    const change: Partial<State> = { ...rest };
    if (focus && state.alone === null) [change.focus, change.stands] = [focus, {}];
    if (tool && !OWN_TOOLS.includes(state.tool)) change.tool = tool;
    // Layers that only this window has shown keep their looks.
    if (layers) change.layers = { ...state.layers, ...layers };
    this.taking = true;
    if (Object.keys(change).length) this.store.patch(change);
    this.taking = false;
    if (finding === undefined || finding === this.finding) return;
    this.finding = finding;
    this.actions.select(finding);
  }
}

export function channelOf(caseId: number): Channel {
  return new BroadcastChannel(`radfuse.case:${caseId}`) as unknown as Channel;
}
