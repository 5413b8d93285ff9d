/** The viewer's work without a mouse: the crosshair by keys, the tools at the crosshair, and the focus of the keyboard. */
import { add, scale, type Vec3 } from '../affine';
import { t } from '../i18n';
import { toast } from '../pages/toast';
import type { Hand } from './marks/hand';
import { isMarkTool } from './marks/tools';
import { drawnDirections } from './orientation';
import type { Scene } from './scene';
import type { PaneName, Point2 } from './stage';

export interface KeyHandActions {
  probe(pane: PaneName, point: Vec3, at: Point2): void;
  landmark(pane: PaneName, point: Vec3): void;
}

/** No mark is there: a press by key never takes hold of one. */
const NOWHERE: Point2 = [-1e6, -1e6];

export class KeyHand {
  constructor(
    private readonly root: HTMLElement,
    private readonly scene: Scene,
    private readonly hand: () => Hand,
    private readonly actions: KeyHandActions,
  ) {}

  /** The pane that the keys act on, where it is a plane; null for a rotating MIP. */
  private get pane(): PaneName | null {
    const { pane } = this.scene.store.state;
    return this.scene.panes.names.includes(pane) && this.scene.stage.has(pane) ? pane : null;
  }

  /** The crosshair in the plane as drawn: where it stands in a pane that scrolls on its own, its place there. */
  private point(pane: PaneName): { point: Vec3; at: Point2 } {
    const { panes, stage } = this.scene;
    const at = stage.toCanvas(pane, panes.showsCursor(pane) ? panes.cursor(pane) : panes.point(pane));
    return { point: stage.toWorld(pane, at), at };
  }

  /** By mm, as drawn; it does not leave the image. */
  moveCrosshair(right: number, down: number): void {
    const { pane } = this;
    if (!pane) return;
    const { panes, stage } = this.scene;
    const drawn = drawnDirections((at) => stage.toWorld(pane, at));
    const next = add(add(this.point(pane).point, scale(drawn.right, right)), scale(drawn.up, -down));
    const grid = this.scene.grid(panes.plan(pane).base.id);
    if (grid.toIndex(next).some((n, axis) => n < -0.5 || n > grid.counts[axis as 0 | 1 | 2] - 0.5)) return;
    panes.moveTo(pane, next);
    const hand = this.hand();
    if (hand.busy) hand.move(pane, stage.toCanvas(pane, next), next, true);
  }

  /** As a click there. */
  placePoint(): void {
    const { pane } = this;
    if (!pane) return;
    const { tool } = this.scene.store.state;
    const { point, at } = this.point(pane);
    if (tool === 'landmark') this.actions.landmark(pane, point);
    else if (tool === 'probe') this.actions.probe(pane, point, at);
    else if (tool === 'freehand') toast(t('A freehand region needs a mouse or a pen; an ellipse can be placed by keys.'), 'info');
    else if (isMarkTool(tool)) {
      const hand = this.hand();
      hand.press(pane, NOWHERE, point, tool);
      hand.release(pane, point, false);
    }
  }

  /** The keyboard's focus goes where the keys act. */
  focusPane(): void {
    this.root.querySelector<HTMLElement>(`.pane[data-pane="${CSS.escape(this.scene.store.state.pane)}"]:not([hidden])`)?.focus({ preventScroll: true });
  }

  /** A pane that has the focus gives it to the one that the keys chose. */
  followPane(): void {
    if (document.activeElement instanceof HTMLElement && document.activeElement.matches('.pane') && this.root.contains(document.activeElement)) this.focusPane();
  }

  focusOn(part: 'toolbar' | 'side'): void {
    const where = this.root.querySelector<HTMLElement>(part === 'toolbar' ? '.viewer-toolbar' : '.viewer-side');
    where?.querySelector<HTMLElement>('[tabindex="0"], button:not([tabindex="-1"]):not([disabled])')?.focus();
  }
}
