/** Going places: to a point, to a finding, to the next one, to the one under the mouse. */
import type { Vec3 } from '../affine';
import type { Drawing } from './drawing';
import type { Scene } from './scene';
import type { PaneName, Point2 } from './stage';
import type { Finding } from './types';

export interface GoingActions {
  /** Back to the fused view. */
  showFused(): Promise<void>;
  openFindings(): void;
  redraw(): void;
}

export class Going {
  constructor(
    private readonly scene: Scene,
    private readonly drawing: Drawing,
    private readonly actions: GoingActions,
  ) {}

  goto(point: Vec3): void {
    const { store } = this.scene;
    // Panes that were scrolled on their own come along.
    const go = (): void => store.patch({ focus: point, stands: {} });
    if (store.state.alone !== null) void this.actions.showFused().then(go);
    else go();
  }

  gotoFinding(finding: Finding): void {
    this.drawing.selectedFinding = finding.id;
    if (!this.scene.store.state.marks) this.scene.store.patch({ marks: true });
    this.goto(finding.position);
  }

  gotoFindingId(id: number): void {
    const finding = this.scene.view.findings.find((candidate) => candidate.id === id);
    if (finding) this.gotoFinding(finding);
  }

  step(by: number): void {
    const { findings } = this.scene.view;
    if (!findings.length) return;
    const current = findings.findIndex((finding) => finding.id === this.drawing.selectedFinding);
    const next = current < 0 ? (by > 0 ? 0 : findings.length - 1) : (current + by + findings.length) % findings.length;
    this.actions.openFindings();
    this.gotoFinding(findings[next]!);
  }

  /** Selects the finding whose mark is there; false where there is none. */
  pick(pane: PaneName, at: Point2): boolean {
    const finding = this.drawing.findingAt(pane, at);
    if (!finding) return false;
    this.drawing.selectedFinding = finding.id;
    this.actions.openFindings();
    this.actions.redraw();
    return true;
  }
}
