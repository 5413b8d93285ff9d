/** What a mouse or the keyboard does at a point of a pane; points of a pane in its own space stay there. */
import type { Vec3 } from '../affine';
import { t } from '../i18n';
import { toast } from '../pages/toast';
import type { Acts } from './acts';
import type { Commands } from './commands';
import type { Going } from './going';
import type { Pane } from './panes';
import { installPointer } from './pointer';
import type { ReaderTools } from './reader-tools';
import type { Registering } from './registering';
import type { PaneName, Point2 } from './stage';

export interface PaneParts {
  commands: Commands;
  panes: ReadonlyMap<PaneName, Pane>;
  acts: Acts;
  going: Going;
  registering: Registering;
  tools: ReaderTools;
}

export class PaneActs {
  constructor(private readonly parts: PaneParts) {}

  install(pane: Pane): void {
    const { commands, going, registering, tools } = this.parts;
    installPointer(pane, {
      commands,
      crosshair: (name, point) => commands.scene.panes.moveTo(name, point),
      probe: (name, point, at) => this.probe(name, point, at),
      pick: (name, at) => going.pick(name, at),
      landmark: (name, point) => this.landmark(name, point),
      aligning: registering.aligning,
      hand: tools.hand,
      over: (name, at, held) => tools.over(name, at, held),
      left: () => tools.left(),
    });
  }

  probe(name: PaneName, point: Vec3, at: Point2): void {
    const pane = this.parts.panes.get(name);
    if (pane && this.inReference(name)) void this.parts.acts.probe(pane.element, point, at);
  }

  landmark(name: PaneName, point: Vec3): void {
    if (this.parts.commands.scene.store.state.alone !== null) toast(t('Measure in the fused view: positions are stored in the reference space.'), 'warn');
    else if (this.inReference(name)) void this.parts.registering.mark('reference', point);
  }

  /** Points of a pane that stands in a space of its own mean nothing to the reference. */
  private inReference(pane: PaneName): boolean {
    const { linked } = this.parts.commands.scene.panes.plan(pane);
    if (!linked) toast(t('This series is not registered: positions here are not those of the reference.'), 'warn');
    return linked;
  }
}
