/** Everything a reader does to a registration: the open panel, hand alignment, landmarks, refinements. */
import type { Vec3 } from '../affine';
import { toast } from '../pages/toast';
import type { Acts } from './acts';
import { AlignPanel } from './align-panel';
import { Aligning } from './aligning';
import type { Api } from './api';
import type { Commands } from './commands';
import { LandmarksPanel } from './landmarks-panel';
import { LeaveDialog } from './leave';
import type { LandmarkMark } from './overlay';
import { isImage } from './presets';
import { RefinePanel } from './refine-panel';
import { RegistrationPanel, type Section } from './registration-panel';
import { type DecisionBody, isOpen, type LandmarkFit, type LandmarkPair, type LandmarkSet, type Refinement, type ToolsState } from './registration-types';
import { MODELS } from './registration-words';
import type { Scene } from './scene';
import type { Layer, TransformModel } from './types';

export interface RegisteringHooks {
  /** Panels and marks must be drawn again. */
  changed(): void;
  /** Layers came to or left the screen. */
  remount(): Promise<void>;
  /** The view must be fetched again. */
  refresh(): Promise<void>;
  showAlone(layer: Layer): void;
}

const POLL_MS = 2500;

export class Registering {
  readonly aligning: Aligning;
  readonly leaveDialog = new LeaveDialog();
  readonly panel: RegistrationPanel;
  readonly states = new Map<number, ToolsState>();
  private readonly alignPanel: AlignPanel;
  private readonly landmarksPanel: LandmarksPanel;
  private readonly refinePanel: RefinePanel;
  private openLayer: number | null = null;
  private section: Section = 'summary';
  private fit: LandmarkFit | null = null;
  /** Ends of the pair that is being placed; the moving one in its own LPS. */
  private pending: { reference?: Vec3; moving?: Vec3 } = {};
  /** The refinement whose result is on the images without being accepted. */
  private shown: number | null = null;
  private shownWords: string | null = null;
  private poll = 0;

  constructor(
    private readonly scene: Scene,
    private readonly commands: Commands,
    private readonly api: Api,
    private readonly acts: Acts,
    private readonly hooks: RegisteringHooks,
  ) {
    this.aligning = new Aligning(scene, (mounts) => {
      if (mounts) void hooks.remount();
      else hooks.changed();
    });
    this.panel = new RegistrationPanel({
      decide: (decision, reason) => void this.decide({ decision, reason }),
      select: (section) => this.select(section),
      showAlone: (layer) => hooks.showAlone(layer),
      beside: (layer) => commands.setBeside(this.scene.beside ? null : this.subject(layer).id),
      close: () => void this.close(),
    });
    this.alignPanel = new AlignPanel(scene, this.aligning, {
      begin: () => commands.setTool('align'),
      save: (remark) => void this.save(remark),
      cancel: () => this.endAlignment(),
    });
    this.landmarksPanel = new LandmarksPanel({
      place: () => this.place(),
      goto: (pair) => scene.store.patch({ focus: pair.reference }),
      remove: (pair) => void this.landmarks(() => api.removeLandmark(pair.id)),
      fit: () => void this.fitLandmarks(),
    });
    this.refinePanel = new RefinePanel({
      start: (model) => void this.refine(model),
      act: (refinement, act) => void this.refineAct(refinement, act),
      preview: (refinement) => void this.preview(this.shown === refinement.id ? null : refinement),
      accept: (refinement) => void this.decide({ decision: 'accepted', refinement: refinement.id }),
    });
    window.addEventListener('beforeunload', (event) => {
      if (this.aligning.dirty) event.preventDefault();
    });
  }

  private get mayDecide(): boolean {
    return this.scene.view.case.can.decide_registration;
  }

  /** A deformed layer stands for the one it was made from: that is what is aligned and compared. */
  subject(layer: Layer): Layer {
    const { deformed } = layer;
    if (!deformed) return layer;
    return this.scene.layers.find((other) => other.kind === 'series' && other.registration_id === deformed.registration) ?? layer;
  }

  get layer(): Layer | null {
    return this.openLayer === null ? null : (this.scene.layer(this.openLayer) ?? null);
  }

  /** Series other than the reference, one per registration, for the list. */
  get listed(): Layer[] {
    const seen = new Set<number>();
    return this.scene.layers.filter((layer) => {
      const id = layer.registration_id;
      if (layer.kind !== 'series' || layer.id === this.scene.reference.id || (id !== null && seen.has(id))) return false;
      if (id !== null) seen.add(id);
      return true;
    });
  }

  // ---- the panel ------------------------------------------------------------------------------

  async open(layer: Layer, section: Section = 'summary'): Promise<void> {
    const subject = isImage(layer) ? this.subject(layer) : layer;
    if (this.openLayer !== null && this.openLayer !== subject.id && !(await this.close())) return;
    this.openLayer = subject.id;
    this.section = section;
    this.fit = null;
    this.hooks.changed();
    void this.fetch();
  }

  /** False when the reader stays to go on aligning. */
  async close(): Promise<boolean> {
    if (!(await this.leave())) return false;
    await this.preview(null);
    this.openLayer = null;
    this.pending = {};
    this.fit = null;
    this.hooks.changed();
    return true;
  }

  private select(section: Section): void {
    this.section = section;
    this.hooks.changed();
    this.panel.element.querySelector<HTMLElement>(`[data-section="${section}"]`)?.focus();
  }

  update(): void {
    const { layer } = this;
    if (!layer) {
      this.forget();
      return;
    }
    const tools = layer.registration_id === null ? null : (this.states.get(layer.registration_id) ?? null);
    const trying = this.scene.trying(layer) ?? this.shownWords;
    if (layer.registration_id !== null) this.alignPanel.update(layer.registration_id);
    if (tools) {
      this.landmarksPanel.update(tools, this.scene.trying(layer) === null ? null : this.scene.matrix(layer), this.fit, this.waiting, this.mayDecide);
      this.refinePanel.update(tools, this.startWords(tools), this.shown, this.mayDecide);
    }
    const bodies: Partial<Record<Section, HTMLElement>> = { align: this.alignPanel.element };
    if (tools) Object.assign(bodies, { landmarks: this.landmarksPanel.element, refine: this.refinePanel.element });
    this.panel.update({ layer, section: this.section, tools, mayDecide: this.mayDecide, trying, isBeside: this.scene.beside !== null, body: bodies[this.section] ?? null });
  }

  /** A new analysis replaced the open layer: what was under way on the old one ends. */
  private forget(): void {
    if (this.openLayer === null) return;
    this.openLayer = null;
    if (this.aligning.dirty) toast('The case was analysed again meanwhile: the alignment that was not saved is dropped.', 'warn');
    this.aligning.end();
  }

  private startWords(tools: ToolsState): string {
    const { session } = this.aligning;
    if (session?.registration === tools.id && session.alignment.dirty) return this.aligning.isFit ? 'the landmark fit on screen' : 'your alignment by hand on screen';
    return 'the alignment on record';
  }

  /** Takes the tools' state from the server; polls while a refinement is under way. */
  async fetch(): Promise<void> {
    window.clearTimeout(this.poll);
    const id = this.layer?.registration_id;
    if (id == null) return;
    const old = this.states.get(id);
    const before = old?.refinements ?? [];
    const state = await this.acts.attempt(() => this.api.registration(id));
    if (!state) return;
    this.states.set(id, state);
    this.hooks.changed();
    if (state.refinements.some(isOpen)) this.poll = window.setTimeout(() => void this.fetch(), POLL_MS);
    const finished = state.refinements.find((now) => now.state === 'done' && before.some((old) => old.id === now.id && isOpen(old)));
    if (finished) toast(`${state.label}: the refinement is done. Judge it before it counts.`, 'ok');
    // A new layer, or a decision that somebody else made meanwhile.
    if (finished || (old && old.decisions[0]?.id !== state.decisions[0]?.id)) await this.hooks.refresh();
  }

  // ---- decisions ------------------------------------------------------------------------------

  private async decide(body: DecisionBody): Promise<boolean> {
    const { layer } = this;
    if (!layer || layer.registration_id === null) return false;
    // Leaving first: what is tried by hand is not what is decided on here.
    if (body.decision !== 'nudged' && !(await this.leave())) return false;
    const id = layer.registration_id;
    const answer = await this.acts.attempt(() => this.api.decide(id, body));
    if (!answer) return false;
    const words = { accepted: 'accepted', rejected: 'rejected', nudged: 'saved', withdrawn: 'as computed again' }[body.decision];
    toast(`${layer.label}: registration ${words}.`, 'ok');
    await this.settle();
    if (body.refinement !== undefined) this.showDeformed(body.refinement);
    return true;
  }

  /** After a decision: what was tried goes, the view and the tools' state come anew. */
  private async settle(): Promise<void> {
    this.fit = null;
    await this.preview(null);
    await this.hooks.refresh();
    await this.fetch();
  }

  /** An accepted deformation: its layer is shown, and takes the place of the one it was made from. */
  private showDeformed(refinement: number): void {
    const made = this.scene.view.layers.find((layer) => layer.deformed?.refinement === refinement && layer.fusion.fused);
    if (made) this.scene.store.patchLayer(made.id, { visible: true });
  }

  // ---- alignment by hand ----------------------------------------------------------------------

  /** The tool was chosen: which layer it moves, and its panel. False when there is none. */
  beginAlignment(): boolean {
    const open = this.layer && this.layer.registration_id !== null && this.layer.kind === 'series' ? this.layer : null;
    const compared = this.scene.compared && this.subject(this.scene.compared);
    const layer = open ?? (compared?.registration_id == null ? null : compared);
    if (!layer || layer.id === this.scene.reference.id || !this.mayDecide) {
      toast(this.mayDecide ? 'No registered layer to align: open one in the list of registrations.' : 'Claim the case to align a layer.', 'warn');
      return false;
    }
    void this.preview(null).then(async () => {
      if (this.openLayer !== layer.id) await this.open(layer, 'align');
      else this.section = 'align';
      // The reader may have stayed with another layer's alignment.
      if (this.openLayer === layer.id) this.aligning.begin(layer);
      this.hooks.changed();
    });
    return true;
  }

  private endAlignment(): void {
    this.fit = null;
    this.aligning.end();
    if (this.scene.store.state.tool === 'align') this.commands.setTool('window');
  }

  private async save(remark: string): Promise<boolean> {
    const { session } = this.aligning;
    if (!session) return true;
    const body: DecisionBody = this.aligning.isFit
      ? { decision: 'nudged', method: 'landmarks', reason: remark }
      : { decision: 'nudged', matrix: session.alignment.matrix, reason: remark };
    const answer = await this.acts.attempt(() => this.api.decide(session.registration, body));
    if (!answer) return false;
    toast(`${session.layer.label}: alignment saved.`, 'ok');
    // The record first, so that the layer does not jump back for a moment.
    await this.hooks.refresh();
    this.endAlignment();
    await this.settle();
    return true;
  }

  /** Asks if something is not saved; true when the reader may go on. */
  async leave(): Promise<boolean> {
    const { session } = this.aligning;
    if (!session) return true;
    const handedOver = this.states.get(session.registration)?.refinements.some((one) => JSON.stringify(one.start.matrix) === JSON.stringify(session.alignment.matrix));
    if (this.aligning.dirty && !handedOver) {
      const answer = await this.leaveDialog.ask();
      if (answer === 'stay') return false;
      if (answer === 'save') return this.save('');
    }
    this.endAlignment();
    return true;
  }

  // ---- landmarks ------------------------------------------------------------------------------

  private place(): void {
    const { layer } = this;
    if (!layer) return;
    this.commands.setBeside(this.subject(layer).id);
    this.commands.setTool('landmark');
  }

  /** The tool was chosen by key: the panel of the layer whose pairs are placed opens. */
  beginLandmarks(): boolean {
    const layer = this.layer ?? this.scene.beside ?? this.scene.compared;
    if (!layer || layer.registration_id === null || !this.mayDecide) {
      toast(this.mayDecide ? 'No registered layer: open one in the list of registrations.' : 'Claim the case to place landmarks.', 'warn');
      return false;
    }
    const subject = this.subject(layer);
    this.commands.setBeside(subject.id);
    if (this.openLayer !== subject.id) void this.open(subject, 'landmarks');
    else if (this.section !== 'landmarks') this.select('landmarks');
    return true;
  }

  private get waiting(): string {
    if (this.pending.reference) return 'Now the same spot in the moving series.';
    return this.pending.moving ? 'Now the same spot in the reference.' : '';
  }

  /** One end of a pair; with both the pair is stored. */
  async mark(end: 'reference' | 'moving', point: Vec3): Promise<void> {
    const layer = this.layer ?? this.scene.beside;
    if (!layer || layer.registration_id === null) return;
    this.pending[end] = point;
    this.hooks.changed();
    const { reference, moving } = this.pending;
    if (!reference || !moving) return;
    this.pending = {};
    const id = layer.registration_id;
    await this.landmarks(() => this.api.addLandmark(id, reference, moving));
  }

  private async landmarks(act: () => Promise<LandmarkSet | null>): Promise<void> {
    const id = (this.layer ?? this.scene.beside)?.registration_id;
    const set = await this.acts.attempt(act);
    const state = id == null ? undefined : this.states.get(id);
    // Null: the last pair was removed. Undefined: refused, and that has been said.
    if (set !== undefined && state) this.states.set(state.id, { ...state, landmarks: set?.pairs.length ? set : null });
    this.fit = null;
    this.hooks.changed();
  }

  /** Marks of one space: stored pairs, and the end that waits for its other. */
  marks(space: 'reference' | 'moving'): LandmarkMark[] {
    const layer = this.layer ?? this.scene.beside;
    const pairs = layer?.registration_id == null ? [] : (this.states.get(layer.registration_id)?.landmarks?.pairs ?? []);
    const own = this.section === 'landmarks' || this.scene.beside ? pairs : [];
    const stored = own.map((pair: LandmarkPair, n) => ({ text: String(n + 1), point: pair[space], open: false }));
    const waiting = this.pending[space];
    return waiting ? [...stored, { text: String(pairs.length + 1), point: waiting, open: true }] : stored;
  }

  private async fitLandmarks(): Promise<void> {
    const { layer } = this;
    if (!layer || layer.registration_id === null) return;
    const id = layer.registration_id;
    const fit = await this.acts.attempt(() => this.api.fitLandmarks(id));
    if (!fit) return;
    await this.preview(null);
    this.fit = fit;
    if (this.scene.beside) this.commands.setBeside(null);
    this.aligning.begin(layer);
    this.aligning.tryFit(fit.matrix);
  }

  // ---- refinements ----------------------------------------------------------------------------

  private async refine(model: TransformModel): Promise<void> {
    const { layer } = this;
    if (!layer || layer.registration_id === null) return;
    const id = layer.registration_id;
    const { session } = this.aligning;
    const from = session?.registration === id && session.alignment.dirty ? session.alignment.matrix : null;
    if (await this.acts.attempt(() => this.api.refine(id, model, from))) await this.fetch();
  }

  private async refineAct(refinement: Refinement, act: 'cancel' | 'retry' | 'discard'): Promise<void> {
    if (this.shown === refinement.id) await this.preview(null);
    if (await this.acts.attempt(() => this.api.refinement(refinement.id, act))) await this.fetch();
  }

  /** Draws a result that is not accepted, under a badge that says so; null takes it off. */
  private async preview(refinement: Refinement | null): Promise<void> {
    if (this.shown === null && !refinement) return;
    const { layer } = this;
    if (refinement && !(await this.leave())) return;
    const registration = refinement?.registration ?? layer?.registration_id ?? null;
    const result = refinement?.result ?? null;
    this.shown = result ? refinement!.id : null;
    const words = result ? `Preview, not accepted: ${MODELS[result.model].toLowerCase()} refinement` : '';
    this.shownWords = words || null;
    this.scene.look(result?.layer != null ? { id: result.layer, words } : null);
    if (registration !== null) this.scene.tryMatrix(registration, result && result.layer === null ? { matrix: result.matrix, words } : null);
    await this.hooks.remount();
  }
}
