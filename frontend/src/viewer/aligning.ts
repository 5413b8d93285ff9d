/** Alignment by hand on screen: keys, drags and typed figures become steps of the layer's matrix. */
import { t } from '../i18n';
import { add, type Grid, type Mat4, scale, subtract, type Vec3 } from '../affine';
import { Alignment, type Readout, rigidPart, shiftBy, turnAbout } from './alignment';
import type { Scene } from './scene';
import type { PaneName, Point2 } from './stage';
import type { Layer } from './types';

interface Session {
  layer: Layer;
  registration: number;
  alignment: Alignment;
  /** The point that turns and readout refer to: the layer's middle as the session began. */
  centre: Vec3;
  /** The landmark fit, if one was tried: stored as such while it is unchanged. */
  fit: Mat4 | null;
  /** True when the record is affine and its rigid part is where the session starts. */
  wasAffine: boolean;
}

/** Shift divides the step: fine adjustment. */
const FINE = 5;
/** Of the smaller side of a pane: inside the ring a drag moves, outside it turns. */
const RING = 0.38;

export const STEPS: readonly number[] = [0.2, 0.5, 1, 2, 5];

export class Aligning {
  session: Session | null = null;

  constructor(
    private readonly scene: Scene,
    /** After every step; `mounts` when a layer came to or left the screen. */
    private readonly changed: (mounts: boolean) => void,
  ) {}

  get dirty(): boolean {
    return this.session?.alignment.dirty ?? false;
  }

  begin(layer: Layer): void {
    if (this.session?.registration === layer.registration_id || layer.registration_id === null) return;
    const grid: Grid = this.scene.grid(layer.id);
    const rigid = rigidPart(layer.matrix, grid.centre);
    const wasAffine = rigid.some((row, r) => row.some((value, c) => Math.abs(value - layer.matrix[r]![c]!) > (c < 3 ? 1e-5 : 1e-3)));
    const alignment = new Alignment(wasAffine ? rigid : layer.matrix);
    this.session = { layer, registration: layer.registration_id, alignment, centre: grid.centre, fit: null, wasAffine };
    this.show(!layer.fusion.fused || layer.fusion.refinement != null);
  }

  /** Takes the layer back to where it is on record. */
  end(): void {
    const { session } = this;
    if (!session) return;
    this.session = null;
    this.scene.tryMatrix(session.registration, null);
    this.changed(true);
  }

  private show(mounts = false): void {
    const { session } = this;
    if (!session) return;
    const { alignment, layer, registration } = session;
    const recorded = layer.fusion.fused && !alignment.dirty && !session.wasAffine && layer.fusion.model !== 'deformable';
    const isFit = session.fit !== null && alignment.matrix === session.fit;
    const words = isFit ? t('Fitted to landmarks, not saved') : alignment.dirty ? t('Aligned by hand, not saved') : t('Aligning by hand, nothing moved yet');
    this.scene.tryMatrix(registration, recorded ? null : { matrix: alignment.matrix, words });
    this.changed(mounts);
  }

  private act(change: (session: Session) => void): void {
    if (!this.session) return;
    change(this.session);
    this.show();
  }

  private amount(fine: boolean): number {
    const { step } = this.scene.store.state;
    return fine ? step / FINE : step;
  }

  /** Steps to the right and up in the plane of a pane. */
  nudge(pane: PaneName, right: number, up: number, fine: boolean): void {
    const axes = this.scene.axes[pane]!;
    const mm = this.amount(fine);
    this.act(({ alignment }) => alignment.step(shiftBy(add(scale(axes.right, right * mm), scale(axes.up, up * mm)))));
  }

  /** Turns in the plane of a pane about its centre; positive is anticlockwise on screen. */
  turn(pane: PaneName, steps: number, fine: boolean): void {
    this.act(({ alignment }) => alignment.step(this.turned(pane, steps * this.amount(fine))));
  }

  private turned(pane: PaneName, degrees: number): Mat4 {
    // The normal points to the eye, so the right-hand turn about it is anticlockwise as seen.
    return turnAbout(this.scene.stage.toWorld(pane, this.middle(pane)), this.scene.axes[pane]!.normal, degrees);
  }

  private middle(pane: PaneName): Point2 {
    const { clientWidth, clientHeight } = this.scene.stage.canvas(pane);
    return [clientWidth / 2, clientHeight / 2];
  }

  ring(pane: PaneName): { at: Point2; radius: number } {
    const at = this.middle(pane);
    return { at, radius: Math.min(at[0], at[1]) * 2 * RING };
  }

  turnsAt(pane: PaneName, at: Point2, shift: boolean): boolean {
    const ring = this.ring(pane);
    return shift || Math.hypot(at[0] - ring.at[0], at[1] - ring.at[1]) > ring.radius;
  }

  drag(pane: PaneName, from: Point2, to: Point2, turning: boolean): void {
    const { stage } = this.scene;
    this.act(({ alignment }) => {
      if (!turning) return alignment.try(shiftBy(subtract(stage.toWorld(pane, to), stage.toWorld(pane, from))));
      const [x, y] = this.middle(pane);
      const angle = Math.atan2(to[1] - y, to[0] - x) - Math.atan2(from[1] - y, from[0] - x);
      alignment.try(this.turned(pane, (-angle * 180) / Math.PI));
    });
  }

  drop(): void {
    this.act(({ alignment }) => alignment.commit());
  }

  undo(): void {
    this.act(({ alignment }) => alignment.undo());
  }
  redo(): void {
    this.act(({ alignment }) => alignment.redo());
  }
  reset(): void {
    this.act(({ alignment }) => alignment.reset());
  }
  set(readout: Readout): void {
    this.act(({ alignment, centre }) => alignment.set(centre, readout));
  }
  /** Tries the landmark fit; undo takes it back. */
  tryFit(matrix: Mat4): void {
    this.act((session) => {
      session.fit = matrix;
      session.alignment.go(matrix);
    });
  }
  /** The pairs changed: the matrix stays on screen as an alignment by hand. */
  forgetFit(): void {
    if (this.session?.fit) this.act((session) => (session.fit = null));
  }
  get isFit(): boolean {
    const { session } = this;
    return session?.fit != null && session.alignment.matrix === session.fit;
  }

  get readout(): Readout | null {
    return this.session ? this.session.alignment.readout(this.session.centre) : null;
  }

  /** Keys while aligning; true when the key was one of them. */
  key(event: KeyboardEvent): boolean {
    if (!this.session || this.scene.store.state.tool !== 'align') return false;
    const pane = this.scene.store.state.pane;
    const command = event.ctrlKey || event.metaKey;
    const letter = event.key.toLowerCase();
    if (command && letter === 'z') (event.shiftKey ? this.redo() : this.undo());
    else if (command && letter === 'y') this.redo();
    else if (command || event.altKey) return false;
    else if (event.key === 'ArrowLeft') this.nudge(pane, -1, 0, event.shiftKey);
    else if (event.key === 'ArrowRight') this.nudge(pane, 1, 0, event.shiftKey);
    else if (event.key === 'ArrowUp') this.nudge(pane, 0, 1, event.shiftKey);
    else if (event.key === 'ArrowDown') this.nudge(pane, 0, -1, event.shiftKey);
    // The physical key: with Shift its letter depends on the keyboard's language.
    else if (event.code === 'Comma') this.turn(pane, 1, event.shiftKey);
    else if (event.code === 'Period') this.turn(pane, -1, event.shiftKey);
    else return false;
    return true;
  }
}
