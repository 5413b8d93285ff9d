/** The viewer of one case: elements, stage, stream and panels, and what happens between them. */
import type { Vec3 } from '../affine';
import { toast } from '../pages/toast';
import { Acts } from './acts';
import type { Api } from './api';
import { Commands } from './commands';
import { h } from './dom';
import { Drawing } from './drawing';
import { FindingsPanel } from './findings-panel';
import { fusionPanel } from './fusion-panel';
import { helpDialog } from './help';
import { installKeys } from './keys';
import { LayersPanel } from './layers-panel';
import { Loaded } from './loaded';
import { MeasuresPanel } from './measures-panel';
import { NoticesPanel } from './notices-panel';
import { Pane } from './panes';
import { installPointer } from './pointer';
import { Scene } from './scene';
import { type PaneName, PANES, type Point2, Stage } from './stage';
import { Store } from './state';
import { type Connection, StatusLine } from './status';
import { type FromWorker, Stream } from './stream';
import { Toolbar } from './toolbar';
import type { Finding, Layer, View } from './types';

type Tab = 'layers' | 'findings' | 'measures' | 'notices';
const TAB_NAMES: Record<Tab, string> = { layers: 'Layers', findings: 'Findings', measures: 'Measurements', notices: 'Notices' };

export class Viewer {
  ready = false;
  complete = false;
  private readonly scene: Scene;
  private readonly stage: Stage;
  private readonly store: Store;
  private readonly stream: Stream;
  private readonly loaded = new Loaded();
  private readonly commands: Commands;
  private readonly drawing: Drawing;
  private readonly panes: Record<PaneName, Pane>;
  private readonly toolbar: Toolbar;
  private readonly status = new StatusLine();
  private readonly layersPanel: LayersPanel;
  private readonly findingsPanel: FindingsPanel;
  private readonly measuresPanel: MeasuresPanel;
  private readonly noticesPanel = new NoticesPanel();
  private readonly acts: Acts;
  private readonly grid = h('div', { class: 'viewer-grid' });
  private readonly side = h('div', { class: 'viewer-side' });
  private readonly tabs = h('div', { class: 'tabs', attrs: { role: 'tablist' } });
  private readonly help = helpDialog();
  private tab: Tab = 'layers';
  private fusionOf: number | null = null;
  private connection: Connection = 'connecting';
  private connectionDetail = '';
  private readonly stale = new Set<PaneName>();
  private frame = 0;
  private panelFrame = 0;

  constructor(
    private readonly root: HTMLElement,
    private readonly api: Api,
    view: View,
  ) {
    const make = (name: PaneName): Pane => new Pane(name);
    this.panes = { axial: make('axial'), sagittal: make('sagittal'), coronal: make('coronal') };
    this.grid.append(...PANES.map((name) => this.panes[name].element), this.side);
    root.replaceChildren(this.grid, this.status.element, this.help);
    root.classList.add('viewer');
    this.store = new Store(window.localStorage, `radfuse.view:${view.case.id}`);
    this.stage = new Stage(
      { axial: this.panes.axial.image, sagittal: this.panes.sagittal.image, coronal: this.panes.coronal.image },
      (pane) => this.onDrawn(pane),
    );
    this.scene = new Scene(view, this.store, this.stage);
    this.commands = new Commands(this.scene);
    this.toolbar = new Toolbar(this.commands, () => this.help.showModal());
    root.prepend(this.toolbar.element);
    const open = { openFusion: (layer: Layer) => this.openFusion(layer), showAlone: (id: number | null) => void this.showAlone(id) };
    this.drawing = new Drawing(this.scene, this.loaded, this.panes, open);
    this.acts = new Acts(api, this.scene, this.drawing, {
      changed: () => {
        this.redraw();
        this.updatePanels();
      },
      decided: async (layer) => {
        this.closeFusion();
        await this.refresh();
        const now = this.scene.layer(layer.id);
        if (now) this.openFusion(now);
      },
    });
    this.layersPanel = new LayersPanel(this.commands, this.loaded, open);
    this.findingsPanel = new FindingsPanel({ goto: (finding) => this.gotoFinding(finding), review: (finding, review) => this.acts.review(finding, review) });
    this.measuresPanel = new MeasuresPanel({
      goto: (measurement) => this.goto(measurement.points[0]!),
      remove: (measurement) => void this.acts.removeMeasurement(measurement),
    });
    this.stream = new Stream(view.stream.path, (message) => this.onStream(message));
    this.install();
    this.layout();
    this.updatePanels();
    void this.start();
  }

  private async start(): Promise<void> {
    await this.scene.mount();
    this.stream.want(this.scene.view.layers, this.scene.wanted, this.streamFocus());
  }

  private install(): void {
    for (const name of PANES) {
      installPointer(this.panes[name], {
        commands: this.commands,
        crosshair: (_pane, point) => this.store.patch({ focus: point }),
        probe: (pane, point, at) => void this.acts.probe(this.panes[pane].element, point, at),
        length: (pane, from, to, done) => void this.acts.measure(pane, from, to, done),
        pick: (pane, at) => this.pick(pane, at),
      });
    }
    installKeys(this.root, () => this.commands, {
      help: () => this.help.showModal(),
      cancel: () => this.cancel(),
      stepFinding: (step) => this.stepFinding(step),
    });
    this.store.subscribe((_state, changed) => {
      if (changed.has('focus')) {
        this.scene.aim();
        this.acts.probeCard.hide();
        this.stream.focus(this.streamFocus());
      }
      if (changed.has('layers') || changed.has('fusion')) this.scene.styleAll();
      if (changed.has('siblings')) void this.siblingChosen();
      if (changed.has('layout')) {
        this.acts.probeCard.hide();
        this.layout();
      }
      this.redraw();
      this.updatePanels();
    });
    new ResizeObserver(() => this.stage.resize()).observe(this.grid);
    for (const tab of Object.keys(TAB_NAMES) as Tab[]) {
      const made = h('button', { attrs: { type: 'button', role: 'tab' }, data: { tab } });
      made.addEventListener('click', () => this.selectTab(tab));
      this.tabs.append(made);
    }
  }

  private streamFocus(): { layer: number; slice: number } {
    const slice = Math.round(this.scene.baseGrid.toIndex(this.scene.snapped)[2]);
    return { layer: this.scene.base.id, slice };
  }

  // ---- stream -------------------------------------------------------------------------------

  private onStream(message: FromWorker): void {
    if (message.type === 'slice') {
      const layer = this.scene.layer(message.layer);
      if (!layer || !this.stage.hasVolume(layer.id)) return;
      for (const k of this.loaded.add(layer, message.first, message.last, message.coarse)) this.stage.put(layer.id, k, message.pixels);
      this.updatePanels();
    } else if (message.type === 'state') {
      [this.connection, this.connectionDetail] = [message.state, message.detail];
      if (message.state === 'offline') toast(message.detail, 'bad');
      this.updatePanels();
    } else if (message.type === 'error') {
      toast(message.detail, 'bad');
    }
  }

  private onDrawn(pane: PaneName): void {
    this.stale.add(pane);
    this.schedule();
    if (this.stage.pending) return;
    if (this.loaded.fraction(this.scene.base) > 0 || this.loaded.covered(this.scene.base)) this.ready = true;
    this.complete = this.scene.wanted.every((layer) => this.loaded.complete(layer));
  }

  private redraw(): void {
    for (const pane of PANES) this.stale.add(pane);
    this.schedule();
  }

  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const pane of this.stale) this.drawing.draw(pane);
      this.stale.clear();
    });
  }

  // ---- panels -------------------------------------------------------------------------------

  private layout(): void {
    const { layout } = this.store.state;
    this.grid.dataset['layout'] = layout === 'mpr' ? 'mpr' : 'one';
    for (const name of PANES) this.panes[name].element.hidden = layout !== 'mpr' && layout !== name;
    this.stage.resize();
  }

  private selectTab(tab: Tab): void {
    this.closeFusion();
    this.tab = tab;
    this.updatePanels();
  }

  private updatePanels(): void {
    this.panelFrame ||= requestAnimationFrame(() => {
      this.panelFrame = 0;
      this.updatePanelsNow();
    });
  }

  private updatePanelsNow(): void {
    const { view } = this.scene;
    const { can } = view.case;
    this.toolbar.update();
    this.layersPanel.update();
    this.findingsPanel.update(view.findings, can.review, this.drawing.selectedFinding);
    this.measuresPanel.update(view.measurements, can.measure);
    this.noticesPanel.update(view.notices, view.layers);
    this.status.update(view, this.scene.wanted, this.loaded, this.connection, this.connectionDetail);
    for (const name of PANES) this.panes[name].element.classList.toggle('is-focused', name === this.store.state.pane);
    this.root.classList.toggle('no-text', !this.store.state.text);
    this.root.dataset['tool'] = this.store.state.tool;
    const counts: Record<Tab, number> = { layers: 0, findings: view.findings.length, measures: view.measurements.length, notices: view.notices.length };
    for (const element of this.tabs.querySelectorAll<HTMLElement>('[data-tab]')) {
      const tab = element.dataset['tab'] as Tab;
      element.textContent = counts[tab] ? `${TAB_NAMES[tab]} ${counts[tab]}` : TAB_NAMES[tab];
      element.hidden = tab === 'notices' && !view.notices.length;
      element.setAttribute('aria-selected', String(tab === this.tab));
    }
    if (this.fusionOf !== null) return;
    const content = { layers: this.layersPanel, findings: this.findingsPanel, measures: this.measuresPanel, notices: this.noticesPanel }[this.tab].element;
    if (this.side.lastElementChild !== content) this.side.replaceChildren(this.tabs, content);
  }

  private openFusion(layer: Layer): void {
    if (this.fusionOf !== null && this.fusionOf !== layer.id) this.closeFusion();
    this.fusionOf = layer.id;
    this.side.scrollTop = 0;
    this.side.replaceChildren(
      fusionPanel(layer, this.scene.view.case.can.decide_registration, {
        centre: (of) => this.scene.grid(of.id).centre,
        preview: (of, matrix) => this.scene.tryMatrix(of.id, matrix),
        decide: (of, decision, reason, matrix) => this.acts.decide(of, decision, reason, matrix),
        showAlone: (of) => void this.showAlone(of.id),
        close: () => this.closeFusion(),
      }),
    );
  }

  private closeFusion(): void {
    if (this.fusionOf === null) return;
    this.scene.tryMatrix(this.fusionOf, null);
    this.fusionOf = null;
    this.updatePanels();
  }

  private cancel(): void {
    this.drawing.draft = null;
    this.acts.probeCard.hide();
    this.closeFusion();
    this.redraw();
  }

  private async showAlone(id: number | null): Promise<void> {
    this.closeFusion();
    await this.scene.showAlone(id);
    this.complete = false;
    this.stream.want(this.scene.view.layers, this.scene.wanted, this.streamFocus());
    this.redraw();
    this.updatePanels();
  }

  /** Another volume of a series: mounted in the old one's place, streamed, the oldest given back. */
  private async siblingChosen(): Promise<void> {
    this.closeFusion();
    this.complete = false;
    await this.scene.mount();
    this.stream.want(this.scene.view.layers, this.scene.wanted, this.streamFocus());
    const gone = this.scene.release();
    for (const id of gone) this.loaded.forget(id);
    this.stream.forget(gone);
    this.redraw();
    this.updatePanels();
  }

  // ---- going places ---------------------------------------------------------------------------

  goto(point: Vec3): void {
    if (this.store.state.alone !== null) void this.showAlone(null).then(() => this.store.patch({ focus: point }));
    else this.store.patch({ focus: point });
  }

  gotoFinding(finding: Finding): void {
    this.drawing.selectedFinding = finding.id;
    if (!this.store.state.marks) this.store.patch({ marks: true });
    this.goto(finding.position);
  }

  gotoFindingId(id: number): void {
    const finding = this.scene.view.findings.find((candidate) => candidate.id === id);
    if (finding) this.gotoFinding(finding);
  }

  private stepFinding(step: number): void {
    const { findings } = this.scene.view;
    if (!findings.length) return;
    const current = findings.findIndex((finding) => finding.id === this.drawing.selectedFinding);
    const next = current < 0 ? (step > 0 ? 0 : findings.length - 1) : (current + step + findings.length) % findings.length;
    this.selectTab('findings');
    this.gotoFinding(findings[next]!);
  }

  private pick(pane: PaneName, at: Point2): boolean {
    const finding = this.drawing.findingAt(pane, at);
    if (!finding) return false;
    this.drawing.selectedFinding = finding.id;
    this.selectTab('findings');
    this.redraw();
    return true;
  }

  /** Fetches the view again: new layers, findings, decisions, run progress. */
  async refresh(): Promise<void> {
    const view = await this.acts.attempt(() => this.api.view());
    if (!view || view.reference === null) return;
    const before = this.scene.wanted.map((layer) => layer.id).join();
    this.scene.adopt(view);
    await this.scene.mount();
    if (this.scene.wanted.map((layer) => layer.id).join() !== before) {
      this.complete = false;
      this.stream.want(this.scene.view.layers, this.scene.wanted, this.streamFocus());
    }
    this.redraw();
    this.updatePanels();
  }

  /** For browser tests: plain facts about what is on screen. */
  report(): object {
    const { state } = this.store;
    return {
      ready: this.ready,
      complete: this.complete,
      connection: this.connection,
      base: this.scene.base.id,
      focus: this.scene.focus,
      snapped: this.scene.snapped,
      positions: Object.fromEntries(PANES.map((pane) => [pane, this.scene.position(pane)])),
      layers: Object.fromEntries(this.scene.wanted.map((layer) => [layer.id, { ...this.store.settings(layer.id), loaded: this.loaded.fraction(layer) }])),
      visible: [this.scene.base.id, ...this.scene.visibleOverlays.map((layer) => layer.id)],
      tool: state.tool,
      layout: state.layout,
      fusion: state.fusion,
      alone: state.alone,
    };
  }

  canvas(pane: PaneName): HTMLCanvasElement {
    return this.stage.canvas(pane);
  }
  toCanvas(pane: PaneName, point: Vec3): Point2 {
    return this.stage.toCanvas(pane, point);
  }
  toWorld(pane: PaneName, at: Point2): Vec3 {
    return this.stage.toWorld(pane, at);
  }
}
