/** Priors of one case put together: the tab, the pane beside, and how each is opened. */
import type { Vec3 } from '../../affine';
import type { Api } from '../api';
import type { Commands } from '../commands';
import type { Scene } from '../scene';
import { PriorPane } from './prior-pane';
import { PriorsPanel } from './priors-panel';
import type { Prior } from './types';

export interface ComparingEvents {
  changed(): void;
  goto(point: Vec3): void;
  gotoFinding(id: number): void;
}

export class Comparing {
  readonly panel: PriorsPanel;
  readonly pane: PriorPane;
  private inCase: { study: number; layer: number } | null = null;

  constructor(
    private readonly scene: Scene,
    private readonly commands: Commands,
    api: Api,
    events: ComparingEvents,
  ) {
    this.pane = new PriorPane(api, () => {
      this.panel?.draw();
      events.changed();
    });
    this.panel = new PriorsPanel(api, {
      open: (prior) => this.open(prior),
      opened: () => this.opened,
      goto: (item) => {
        if (item.kind === 'finding') events.gotoFinding(item.id);
        else if (item.position) events.goto(item.position);
      },
    });
  }

  private get opened(): number | null {
    if (this.inCase && this.scene.beside?.id === this.inCase.layer) return this.inCase.study;
    return this.pane.study;
  }

  /** Of this case: the layer beside the reference, linked through its registration. Else its own case. */
  private open(prior: Prior): void {
    const isOpen = this.opened === prior.study;
    this.commands.setBeside(null);
    this.inCase = null;
    this.pane.close();
    if (isOpen) return;
    const { reference } = this.scene;
    const layers = prior.layers.map(({ id }) => this.scene.layer(id)).filter((layer) => layer !== undefined);
    const layer = layers.find(({ modality }) => modality === reference.modality) ?? layers[0];
    if (layer) {
      this.inCase = { study: prior.study, layer: layer.id };
      this.commands.setBeside(layer.id);
      this.panel.draw();
    } else void this.pane.open(prior, reference);
  }

  /** The tab was opened. */
  show(): void {
    if (!this.panel.known) void this.panel.fetch();
  }

  /** Marks, findings, layers or alignments changed. */
  stale(): void {
    if (this.panel.known) void this.panel.fetch();
  }
}
