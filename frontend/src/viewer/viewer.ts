/** The viewer of one case: elements, stage, stream and panels, and what happens between them. */
import type { Vec3 } from '../affine';
import { toast } from '../pages/toast';
import { takePreferences } from '../preferences';
import { Acts } from './acts';
import { BesidePane } from './beside';
import type { Api } from './api';
import { mismatch, type Opened } from './identity';
import { Commands } from './commands';
import { Comparing } from './priors/comparing';
import { h } from './dom';
import { Drawing } from './drawing';
import { FindingsPanel } from './findings-panel';
import { Going } from './going';
import { CheatSheet } from './help';
import { Inspect } from './inspect';
import { KeyEditor } from './key-editor';
import { KeyHand } from './key-hand';
import { loadKeymap, onKeymap, showKeys } from './keymap';
import { installKeys } from './keys';
import { LayersPanel } from './layers-panel';
import { LayoutPicker } from './layout-picker';
import { LinkedCursor } from './linked-cursor';
import { Loaded } from './loaded';
import { NoticesPanel } from './notices-panel';
import { MipPane } from './mip-pane';
import { PaneActs } from './pane-acts';
import { PaneBoard } from './pane-board';
import { ReaderTools } from './reader-tools';
import { onceAFrame, Redrawing } from './redrawing';
import { Registering } from './registering';
import { RegistrationList } from './registration-panel';
import { roving } from './roving';
import { Scene } from './scene';
import { channelOf, Sharing } from './sharing';
import { Side, type Tab } from './side';
import { type PaneName, Stage } from './stage';
import { Store, touches } from './state';
import { type Connection, StatusLine } from './status';
import { type FromStream, Stream } from './stream';
import { Supply } from './supply';
import { Toolbar } from './toolbar';
import type { Layer, View } from './types';
import { isSecond, openSecond } from './windows';

const LATER_MS = 3000;

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
  private readonly going: Going;
  private readonly board: PaneBoard;
  private readonly mip: MipPane;
  private readonly toolbar: Toolbar;
  private readonly picker: LayoutPicker;
  private readonly status = new StatusLine();
  private readonly layersPanel: LayersPanel;
  private readonly findingsPanel: FindingsPanel;
  private readonly tools: ReaderTools;
  private readonly comparing: Comparing;
  private readonly noticesPanel = new NoticesPanel();
  private readonly acts: Acts;
  private readonly side = new Side((tab) => void this.selectTab(tab));
  private readonly registering: Registering;
  private readonly registrationList: RegistrationList;
  private readonly beside: BesidePane;
  readonly inspect: Inspect;
  readonly supply: Supply;
  private readonly editor = new KeyEditor(() => this.sharing.tellPreferences());
  private readonly help = new CheatSheet(() => this.editor.open());
  private readonly keyHand: KeyHand;
  private readonly paneActs: PaneActs;
  private readonly sharing: Sharing;
  private connection: Connection = 'connecting';
  private connectionDetail = '';
  private readonly redrawing = new Redrawing((pane) => this.drawing.draw(pane), () => [this.beside, this.mip].forEach((pane) => pane.draw()));
  private shownPanes = '';
  private readonly updatePanels = onceAFrame(() => this.updatePanelsNow());
  private later = 0;

  constructor(
    private readonly root: HTMLElement,
    private readonly api: Api,
    view: View,
    private readonly opened: Opened,
  ) {
    takePreferences(view.preferences ?? {});
    loadKeymap();
    this.store = new Store(window.localStorage, `radfuse.view:${view.case.id}${isSecond ? ':2' : ''}`);
    this.stage = new Stage((pane) => this.onDrawn(pane));
    this.scene = new Scene(view, this.store, this.stage);
    this.commands = new Commands(this.scene);
    this.board = new PaneBoard(this.scene, this.loaded, this.commands, (pane) => this.paneActs.install(pane));
    this.scene.panes.place = (plans) => {
      const places = this.board.place(plans);
      this.shownPanes = this.scene.panes.key;
      this.board.show(this.mip, this.beside);
      return places;
    };
    root.replaceChildren(h('div', { class: 'viewer-main' }, this.board.grid), this.status.element, this.help.element, this.editor.element);
    root.classList.add('viewer');
    const tools = (): ReaderTools => this.tools;
    this.toolbar = new Toolbar(this.commands, () => this.help.open(), () => this.picker.open(), { editKeys: () => this.editor.open(), secondWindow: isSecond ? null : () => openSecond(view.case.id) }, {
      toggleCine: () => tools().toggleCine(),
      cineRate: (rate) => tools().cine.setRate(rate),
      get playing() {
        return tools().cine.playing;
      },
      keepImage: () => void tools().keepImage(),
      flipVertically: () => tools().flipVertically(),
    });
    this.picker = new LayoutPicker(this.commands);
    root.prepend(this.toolbar.element);
    root.append(this.picker.element);
    const open = { openFusion: (layer: Layer) => void this.registering.open(layer), showAlone: (id: number | null) => void this.showAlone(id) };
    this.drawing = new Drawing(this.scene, this.loaded, this.board.panes, {
      ...open,
      compare: (name) => this.board.compare(name),
      swipe: (name, shown, left, right) => this.board.swipe(name, shown, left, right),
      handles: (name) => this.board.handles(name),
      measured: (name) => this.tools.measured(name),
      landmarks: () => this.registering.marks('reference'),
      ring: (name) => (this.store.state.tool === 'align' && this.registering.aligning.session ? this.registering.aligning.ring(name) : null),
    });
    const changed = (): void => {
      this.redraw();
      this.updatePanels();
    };
    this.going = new Going(this.scene, this.drawing, { showFused: () => this.showAlone(null), openFindings: () => void this.selectTab('findings'), redraw: () => this.redraw() });
    this.acts = new Acts(api, this.scene, { changed, keepProbe: (point) => this.tools.keepProbe(point) });
    this.tools = new ReaderTools(this.scene, this.commands, api, this.board.panes, { changed, goto: (point) => this.goto(point), findings: (pane, width) => this.drawing.findingTexts(pane, width) });
    this.registering = new Registering(this.scene, this.commands, api, this.acts, { changed, remount: () => this.remount(), refresh: () => this.refresh(), showAlone: (layer) => void this.showAlone(layer.id), goto: (point) => this.goto(point) });
    this.comparing = new Comparing(this.scene, this.commands, api, {
      changed: () => this.updatePanels(),
      goto: (point) => this.goto(point),
      gotoFinding: (id) => this.gotoFindingId(id),
    });
    this.board.grid.after(this.comparing.pane.element);
    this.registrationList = new RegistrationList((layer) => void this.registering.open(layer));
    this.beside = new BesidePane(this.scene, this.loaded, new LinkedCursor(this.scene, api, (act) => this.acts.attempt(act)), {
      landmark: (point) => void this.registering.mark('moving', point),
      landmarks: () => this.registering.marks('moving'),
      openFusion: (layer) => void this.registering.open(layer),
      close: () => this.commands.setBeside(null),
      windowBy: (layer, dx, dy) => this.commands.windowBy(layer, dx, dy),
      redraw: () => this.redraw(),
    });
    this.mip = new MipPane(this.scene, this.commands, this.loaded, { redraw: () => this.redraw(), openFusion: open.openFusion });
    this.board.grid.append(this.beside.pane.element, this.mip.pane.element, this.side.element);
    root.append(this.registering.leaveDialog.element);
    this.layersPanel = new LayersPanel(this.commands, this.loaded, open);
    this.findingsPanel = new FindingsPanel({ goto: (finding) => this.going.gotoFinding(finding), review: (finding, review) => this.acts.review(finding, review) });
    this.stream = new Stream(view.stream.path, (message) => this.onStream(message));
    this.supply = new Supply(root, this.scene, this.loaded, this.stream, () => void this.remount());
    this.inspect = new Inspect(this.scene, this.loaded, this.board.panes, this.beside, this.mip, () => ({ ready: this.ready, complete: this.complete, connection: this.connection, readout: this.registering.aligning.readout }));
    this.paneActs = new PaneActs({ commands: this.commands, panes: this.board.panes, acts: this.acts, going: this.going, registering: this.registering, tools: this.tools });
    this.keyHand = new KeyHand(root, this.scene, () => this.tools.hand, {
      probe: (name, point, at) => this.paneActs.probe(name, point, at),
      landmark: (name, point) => this.paneActs.landmark(name, point),
    });
    this.sharing = new Sharing(this.store, channelOf(view.case.id), {
      finding: () => this.drawing.selectedFinding,
      marksKey: () => [this.tools.book.version, ...this.scene.view.key_images.map((image) => image.id)].join(),
      select: (finding) => {
        this.drawing.selectedFinding = finding;
        changed();
      },
      marks: () => void this.marksChanged(),
      preferences: () => void this.refresh(),
    }, isSecond);
    this.install();
    this.updatePanels();
    void this.start();
  }

  private async start(): Promise<void> {
    await this.scene.mount();
    this.want();
  }

  private install(): void {
    installKeys(this.root, () => (this.supply.suspended ? null : this.commands), {
      help: () => this.help.open(),
      editKeys: () => this.editor.open(),
      secondWindow: () => openSecond(this.scene.view.case.id),
      focusOn: (part) => this.keyHand.focusOn(part),
      moveCrosshair: (right, down) => this.keyHand.moveCrosshair(right, down),
      placePoint: () => this.keyHand.placePoint(),
      cancel: () => this.cancel(),
      stepFinding: (step) => this.going.step(step),
      layouts: () => this.picker.open(),
      aligning: (event) => this.registering.aligning.key(event),
      tools: this.tools,
    });
    roving(this.toolbar.element, '.menu-list, .view-panel', () => this.keyHand.focusPane());
    this.side.walk(() => this.keyHand.focusPane());
    onKeymap(() => showKeys(this.root));
    showKeys(this.root);
    this.store.subscribe((_state, changed) => {
      // A MIP that turns leaves all else as it is.
      if ([...changed].every((key) => key === 'angles')) return this.redrawing.schedule();
      this.supply.busy();
      if (changed.has('focus')) {
        this.scene.aim();
        this.acts.probeCard.hide();
        this.stream.focus(this.scene.streamFocus);
      }
      if (changed.has('cursors') || changed.has('stands')) this.scene.aim();
      if (touches(changed, 'turns', 'tilts', 'planes')) this.scene.panes.turn();
      if (touches(changed, 'protocol', 'beside', 'layout')) this.recompose();
      if (touches(changed, 'layers', 'fusion', 'compare', 'active', 'layout', 'beside', 'paneLooks', 'slabs')) this.scene.styleAll();
      if (this.scene.lacks) void this.remount();
      if (changed.has('tool')) this.toolChosen();
      if (changed.has('pane')) this.keyHand.followPane();
      if (changed.has('framings') && !Object.keys(this.store.state.framings).length) this.beside.reset();
      if (changed.has('siblings')) void this.siblingChosen();
      if (changed.has('layout') || (changed.has('pane') && this.store.state.layout === 'beside')) {
        this.acts.probeCard.hide();
        this.layout();
      }
      this.redraw();
      this.updatePanels();
    });
    new ResizeObserver(() => {
      this.stage.resize();
      this.redraw();
    }).observe(this.board.grid);
  }

  /** Another layout: other panes, maybe of layers that are not here yet; else only which of them is seen. */
  private recompose(): void {
    this.scene.panes.compose();
    if (this.scene.panes.key !== this.shownPanes) void this.remount();
  }

  /** Some tools need a layer to work on; without one the choice is taken back. */
  private toolChosen(): void {
    const { tool } = this.store.state;
    if (tool === 'align' && this.store.state.layout === 'beside') this.commands.setBeside(null);
    const begun = tool === 'align' ? this.registering.beginAlignment() : tool !== 'landmark' || this.registering.beginLandmarks();
    if (!begun) this.commands.setTool('window');
  }

  private want(): void {
    this.complete = false;
    this.supply.want();
  }

  /** Layers came to or left the screen. */
  private async remount(): Promise<void> {
    await this.scene.mount();
    this.want();
    this.redraw();
    this.updatePanels();
  }

  // ---- stream -------------------------------------------------------------------------------

  private onStream(message: FromStream): void {
    if (message.type === 'slice') {
      const layer = this.scene.layer(message.layer);
      if (!layer || !this.stage.hasVolume(layer.id)) return;
      for (const k of this.loaded.add(layer, message.first, message.last, message.level)) this.stage.put(layer.id, k, message.pixels);
      if (this.scene.beside?.id === layer.id || this.mip.plan?.base.id === layer.id) this.redrawing.schedule();
      this.updatePanels();
    } else if (message.type === 'state') {
      [this.connection, this.connectionDetail] = [message.state, message.detail];
      if (message.state === 'offline') toast(message.detail, 'bad');
      this.updatePanels();
    } else if (message.type === 'error') toast(message.detail, 'bad');
    else if (message.type === 'done') this.supply.done();
    else if (message.type === 'line') this.supply.line(message.rate);
  }

  private onDrawn(pane: PaneName): void {
    this.redrawing.mark([pane]);
    if (this.stage.pending) return;
    if (this.loaded.fraction(this.scene.base) > 0 || this.loaded.covered(this.scene.base)) this.ready = true;
    this.complete = this.scene.wanted.every((layer) => this.loaded.complete(layer));
  }

  private redraw(): void {
    this.redrawing.mark(this.board.panes.keys());
  }

  // ---- panels -------------------------------------------------------------------------------

  private layout(): void {
    this.board.show(this.mip, this.beside);
    this.stage.resize();
  }

  private async selectTab(tab: Tab): Promise<void> {
    if (!(await this.registering.close())) return;
    this.side.tab = tab;
    if (tab === 'priors') this.comparing.show();
    this.updatePanels();
  }

  private updatePanelsNow(): void {
    const { view } = this.scene;
    const { can } = view.case;
    this.toolbar.update();
    this.layersPanel.update();
    this.findingsPanel.update(view.findings, can.review, this.drawing.selectedFinding);
    this.tools.panel.update(view.measurements, view.key_images, can.measure);
    this.noticesPanel.update(view.notices, view.layers);
    this.status.update(view, this.scene.wanted, this.loaded, this.connection, this.connectionDetail);
    for (const pane of [...this.board.panes.values(), this.mip.pane]) pane.element.classList.toggle('is-focused', pane.name === this.store.state.pane);
    this.root.classList.toggle('no-text', !this.store.state.text);
    this.root.dataset['tool'] = this.store.state.tool;
    this.registrationList.update(this.registering.listed, (layer) => this.scene.trying(layer), this.registering.states, view.alignment?.message ?? '', view.alignment?.can_run_again && can.decide_registration ? () => void this.acts.rerun() : null);
    this.registering.update();
    this.sharing.tell();
    this.side.update(
      { findings: view.findings.length, measures: view.measurements.length + view.key_images.length, priors: this.comparing.panel.count, notices: view.notices.length },
      { layers: this.layersPanel.element, registration: this.registrationList.element, findings: this.findingsPanel.element, measures: this.tools.panel.element, priors: this.comparing.panel.element, notices: this.noticesPanel.element },
      this.registering.layer ? this.registering.panel.element : null,
    );
  }

  private cancel(): void {
    if (this.tools.cancel()) return;
    this.acts.probeCard.hide();
    this.redraw();
    void this.registering.close().then((closed) => {
      if (closed && ['align', 'landmark'].includes(this.store.state.tool)) this.commands.setTool('window');
    });
  }

  private async showAlone(id: number | null): Promise<void> {
    if (!(await this.registering.close())) return;
    await this.scene.showAlone(id);
    this.want();
    this.redraw();
    this.updatePanels();
  }

  /** Another volume of a series: mounted in the old one's place, streamed, the oldest given back. */
  private async siblingChosen(): Promise<void> {
    this.complete = false;
    await this.scene.mount();
    this.want();
    this.supply.release();
    this.redraw();
    this.updatePanels();
  }

  goto(point: Vec3): void {
    this.going.goto(point);
  }

  gotoFindingId(id: number): void {
    this.going.gotoFindingId(id);
  }

  /** Fetches the view again: new layers, findings, decisions, run progress. */
  async refresh(): Promise<void> {
    const { version } = this.tools.book;
    const view = await this.acts.attempt(() => this.api.view());
    if (!view || view.reference === null) return;
    // Marks made while this answer was on its way are not in it.
    if (version !== this.tools.book.version) [view.measurements, view.key_images] = [this.scene.view.measurements, this.scene.view.key_images];
    const wrong = mismatch(this.opened, view);
    if (wrong) return toast(wrong, 'bad');
    // What was taken back is not told.
    takePreferences({ 'viewer.keys': null, 'viewer.mouse': null, ...view.preferences });
    loadKeymap();
    const before = this.scene.wanted.map((layer) => layer.id).join();
    this.comparing.stale();
    this.scene.adopt(view);
    await this.scene.mount();
    if (this.scene.wanted.map((layer) => layer.id).join() !== before) this.want();
    this.redraw();
    this.updatePanels();
  }

  /** The server says that measurements or key images changed. */
  marksChanged(): Promise<void> {
    this.comparing.stale();
    return this.tools.fetch();
  }

  /** The server says that alignments, landmarks or refinements changed. */
  registrationChanged(): void {
    if (this.registering.layer) void this.registering.fetch();
    // Badges of all registrations; a refinement's beats come often, so not at once.
    this.later ||= window.setTimeout(() => {
      this.later = 0;
      void this.refresh();
    }, LATER_MS);
  }
}
