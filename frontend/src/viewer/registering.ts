/** Everything a reader does to a registration: the open panel, hand alignment, landmarks, refinements. */
import type { Vec3 } from '../affine';
import { t } from '../i18n';
import { toast } from '../pages/toast';
import type { Acts } from './acts';
import { AlignPanel } from './align-panel';
import { Aligning } from './aligning';
import type { Api } from './api';
import type { Commands } from './commands';
import { LandmarkPairs } from './landmark-pairs';
import { LandmarksPanel } from './landmarks-panel';
import { LeaveDialog } from './leave';
import type { LandmarkMark } from './overlay';
import { isImage } from './presets';
import { RefinePanel } from './refine-panel';
import { RegistrationPanel, type Section } from './registration-panel';
import { type DecisionBody, type JudgedBody, type LandmarkFit, type LandmarkPair, type LandmarkSet, type Refinement, type ToolsState } from './registration-types';
import { listedSeries, subjectOf } from './registration-subject';
import { RefinementPreview } from './refinement-preview';
import type { Scene } from './scene';
import { ToolsStates } from './tools-states';
import type { Layer, TransformModel } from './types';

export interface RegisteringHooks {
  /** Panels and marks must be drawn again. */
  changed(): void;
  /** Layers came to or left the screen. */
  remount(): Promise<void>;
  /** The view must be fetched again. */
  refresh(): Promise<void>;
  showAlone(layer: Layer): void;
  /** To a point of the reference. */
  goto(point: Vec3): void;
}

/** A refinement in one of these has taken the alignment it started from over. */
const HANDED_OVER: readonly Refinement['state'][] = ['queued', 'running', 'done'];

export class Registering {
  readonly aligning: Aligning;
  readonly leaveDialog = new LeaveDialog();
  readonly panel: RegistrationPanel;
  private readonly tools: ToolsStates;
  private readonly alignPanel: AlignPanel;
  private readonly landmarksPanel: LandmarksPanel;
  private readonly refinePanel: RefinePanel;
  private openLayer: number | null = null;
  private section: Section = 'summary';
  private fit: LandmarkFit | null = null;
  private readonly pairs = new LandmarkPairs();
  private readonly previewed: RefinementPreview;

  constructor(
    private readonly scene: Scene,
    private readonly commands: Commands,
    private readonly api: Api,
    private readonly acts: Acts,
    private readonly hooks: RegisteringHooks,
  ) {
    this.previewed = new RefinementPreview(scene);
    this.tools = new ToolsStates(api, acts, {
      open: () => this.layer?.registration_id ?? null,
      kept: () => hooks.changed(),
      pairsChanged: (registration) => this.pairsChanged(registration),
    });
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
      goto: (pair) => hooks.goto(pair.reference),
      remove: (pair) => void this.remove(pair),
      fit: () => void this.fitLandmarks(),
    });
    this.refinePanel = new RefinePanel({
      start: (model) => void this.refine(model),
      act: (refinement, act) => void this.refineAct(refinement, act),
      preview: (refinement) => void this.preview(this.previewed.shown?.id === refinement.id ? null : refinement),
      accept: (refinement) => void this.decide({ decision: 'accepted', refinement: refinement.id }),
    });
    window.addEventListener('beforeunload', (event) => {
      if (this.aligning.dirty) event.preventDefault();
    });
  }

  get states(): Map<number, ToolsState> {
    return this.tools.all;
  }

  private get mayDecide(): boolean {
    return this.scene.view.case.can.decide_registration;
  }

  subject(layer: Layer): Layer {
    return subjectOf(layer, this.scene.layers);
  }

  get layer(): Layer | null {
    return this.openLayer === null ? null : (this.scene.layer(this.openLayer) ?? null);
  }

  get listed(): Layer[] {
    return listedSeries(this.scene.layers, this.scene.reference);
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
    this.pairs.forget();
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
    const trying = this.scene.trying(layer) ?? (this.previewed.shown?.registration === layer.registration_id ? this.previewed.shown?.words : null) ?? null;
    if (layer.registration_id !== null) this.alignPanel.update(layer.registration_id);
    if (tools) {
      this.landmarksPanel.update(tools, this.scene.trying(layer) === null ? null : this.scene.matrix(layer), this.fit, this.pairs.waiting(tools.id), this.mayDecide);
      this.refinePanel.update(tools, this.startWords(tools), this.previewed.shown?.id ?? null, this.mayDecide);
    }
    const bodies: Partial<Record<Section, HTMLElement>> = { align: this.alignPanel.element };
    if (tools) Object.assign(bodies, { landmarks: this.landmarksPanel.element, refine: this.refinePanel.element });
    this.panel.update({ layer, section: this.section, tools, mayDecide: this.mayDecide, trying, isBeside: this.scene.beside !== null, warning: this.warning, body: bodies[this.section] ?? null });
  }

  /** A report that was begun with another analysis does not take what is decided here. */
  private get warning(): string {
    return this.scene.view.notices.find((notice) => notice.code === 'report_keeps_run')?.message ?? '';
  }

  /** A new analysis replaced the open layer: what was under way on the old one ends. */
  private forget(): void {
    if (this.openLayer === null) return;
    this.openLayer = null;
    this.pairs.forget();
    this.fit = null;
    this.tools.stop();
    this.previewed.takeOff();
    if (this.aligning.dirty) toast(t('The case was analysed again meanwhile: the alignment that was not saved is dropped.'), 'warn');
    this.aligning.end();
  }

  private startWords(tools: ToolsState): string {
    const { session } = this.aligning;
    if (session?.registration === tools.id && session.alignment.dirty) return this.aligning.isFit ? 'the landmark fit on screen' : 'your alignment by hand on screen';
    return 'the alignment on record';
  }

  /** Takes the open registration's state from the server; polls while a refinement is under way. */
  fetch(): Promise<void> {
    return this.tools.fetch(() => this.hooks.refresh());
  }

  /** A fit on screen is not the fit to these pairs: it goes on as an alignment by hand. */
  private pairsChanged(registration: number): void {
    if (this.layer?.registration_id === registration) this.fit = null;
    if (this.aligning.session?.registration === registration) this.aligning.forgetFit();
  }

  // ---- decisions ------------------------------------------------------------------------------

  private async decide(body: JudgedBody): Promise<boolean> {
    const { layer } = this;
    if (!layer || layer.registration_id === null) return false;
    // Leaving first: what is tried by hand is not what is decided on here.
    if (!(await this.leave())) return false;
    const id = layer.registration_id;
    const answer = await this.acts.attempt(() => this.api.decide(id, body));
    if (!answer) return false;
    this.panel.decided();
    const series = layer.label;
    const words = {
      accepted: () => t('{series}: registration accepted.', { series }),
      rejected: () => t('{series}: registration rejected.', { series }),
      withdrawn: () => t('{series}: registration as computed again.', { series }),
    };
    toast(words[body.decision](), 'ok');
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
      toast(this.mayDecide ? t('No registered layer to align: open one in the list of registrations.') : t('Claim the case to align a layer.'), 'warn');
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
    const { matrix } = session.alignment;
    // With the fit that was looked at: the server refuses if the pairs give another by now.
    const body: DecisionBody = { decision: 'nudged', ...(this.aligning.isFit ? { method: 'landmarks' } : {}), matrix, reason: remark };
    const answer = await this.acts.attempt(() => this.api.decide(session.registration, body));
    if (!answer) {
      void this.fetch();
      return false;
    }
    toast(t('{label}: alignment saved.', { label: session.layer.label }), 'ok');
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
    const own = JSON.stringify(session.alignment.matrix);
    const handedOver = this.states.get(session.registration)?.refinements.some((one) =>
      HANDED_OVER.includes(one.state) && one.result?.verdict !== 'refused' && JSON.stringify(one.start.matrix) === own);
    if (this.aligning.dirty && !handedOver) {
      const answer = await this.leaveDialog.ask();
      if (answer === 'stay') return false;
      if (answer === 'save') return this.save(this.alignPanel.remark);
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

  /** The series whose pairs are placed and drawn: the one beside the reference, else the open panel's. */
  private get marked(): Layer | null {
    const layer = this.scene.beside ?? this.layer;
    return layer && this.subject(layer);
  }

  /** The tool was chosen by key: the panel of the layer whose pairs are placed opens. */
  beginLandmarks(): boolean {
    const subject = this.marked ?? (this.scene.compared && this.subject(this.scene.compared));
    if (!subject || subject.registration_id === null || !this.mayDecide) {
      toast(this.mayDecide ? t('No registered layer: open one in the list of registrations.') : t('Claim the case to place landmarks.'), 'warn');
      return false;
    }
    this.commands.setBeside(subject.id);
    if (this.openLayer !== subject.id) void this.open(subject, 'landmarks');
    else if (this.section !== 'landmarks') this.select('landmarks');
    return true;
  }

  /** One end of a pair of the series beside; with both the pair is stored. */
  async mark(end: 'reference' | 'moving', point: Vec3): Promise<void> {
    const layer = this.marked;
    const id = layer?.registration_id;
    if (!layer || id == null) return;
    // The panel follows: the list that is read is that of the pairs that are placed.
    if (this.layer?.registration_id !== id) {
      await this.open(layer, 'landmarks');
      if (this.layer?.registration_id !== id) return;
    }
    const pair = this.pairs.put(id, end, point);
    this.hooks.changed();
    if (pair) await this.landmarks(id, () => this.api.addLandmark(id, pair.reference, pair.moving));
  }

  private async remove(pair: LandmarkPair): Promise<void> {
    const id = this.layer?.registration_id;
    if (id != null) await this.landmarks(id, () => this.api.removeLandmark(pair.id));
  }

  private async landmarks(id: number, act: () => Promise<LandmarkSet | null>): Promise<void> {
    const set = await this.acts.attempt(act);
    const state = this.states.get(id);
    // Null: the last pair was removed. Undefined: refused, and that has been said.
    if (set !== undefined && state) this.tools.keep({ ...state, landmarks: set?.pairs.length ? set : null });
    else void this.fetch();
  }

  /** Marks of one space: stored pairs, and the end that waits for its other. */
  marks(space: 'reference' | 'moving'): LandmarkMark[] {
    const id = this.marked?.registration_id;
    if (id == null) return [];
    const pairs = this.states.get(id)?.landmarks?.pairs ?? [];
    return this.pairs.marks(id, pairs, space, this.section === 'landmarks' || this.scene.beside !== null);
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
    if (this.previewed.shown?.id === refinement.id) await this.preview(null);
    if (await this.acts.attempt(() => this.api.refinement(refinement.id, act))) await this.fetch();
  }

  /** Draws a result that is not accepted, under a badge that says so; null takes it off. */
  private async preview(refinement: Refinement | null): Promise<void> {
    if (!this.previewed.shown && !refinement) return;
    if (refinement && !(await this.leave())) return;
    this.previewed.takeOff();
    if (refinement) this.previewed.show(refinement);
    await this.hooks.remount();
  }
}
