/** What a reader can do to layout, planes and cameras, by key, button or mouse. */
import { preference, savePreference } from '../preferences';
import type { Vec3 } from '../affine';
import { NO_TURN, tiltedAbout } from './orientation';
import { layoutKey, offered, type Protocol } from './protocols';
import type { Scene } from './scene';
import type { ProjectionMode } from './slab';
import type { PaneName } from './stage';
import { type Links, paneLookKey, type State } from './state';
import { isSecond } from './windows';

const MODES: readonly (ProjectionMode | null)[] = [null, 'mip', 'minip', 'mean'];
const SLAB_FIRST_MM = 20;
/** Of a rotating MIP, per notch of the wheel. */
export const MIP_STEP = 5;

export class ViewCommands {
  constructor(private readonly scene: Scene) {}

  private get store() {
    return this.scene.store;
  }
  private get state(): State {
    return this.store.state;
  }
  private get pane(): PaneName {
    return this.state.pane;
  }

  get protocols(): Protocol[] {
    return offered({ layers: this.scene.layers, reference: this.scene.reference });
  }

  /** For this case now, and for such cases from now on. */
  setProtocol(id: string): void {
    // Another monitor has another layout: what is chosen there is for that window only.
    if (isSecond) return this.store.patch({ protocol: id, layout: 'mpr' });
    const { view } = this.scene;
    const kept = preference<Record<string, string>>('viewer.layouts') ?? {};
    void savePreference('viewer.layouts', { ...kept, [layoutKey(view)]: id });
    this.store.patch({ protocol: id, layout: 'mpr' });
  }

  choose(n: number): void {
    const protocol = this.protocols[n];
    if (protocol) this.setProtocol(protocol.id);
  }

  togglePlanes(): void {
    this.store.patch({ planes: this.state.planes === 'patient' ? 'acquisition' : 'patient' });
  }

  /** A quarter turn clockwise, or back. */
  turn(by: 1 | -1, pane = this.pane): void {
    const turn = this.state.turns[pane] ?? NO_TURN;
    this.store.patch({ turns: { ...this.state.turns, [pane]: { ...turn, quarter: (turn.quarter + by + 4) % 4 as 0 | 1 | 2 | 3 } } });
  }

  /** A mirror left to right as drawn now. */
  flip(pane = this.pane): void {
    const { quarter, flip } = this.state.turns[pane] ?? NO_TURN;
    // The mirror comes before the turn: an odd quarter must turn the other way round.
    this.store.patch({ turns: { ...this.state.turns, [pane]: { quarter: ((4 - quarter) % 4) as 0 | 1 | 2 | 3, flip: !flip } } });
  }

  /** Tilts the plane about the horizontal (x) and vertical (y) axis of the pane as drawn, degrees. */
  tilt(x: number, y: number, pane = this.pane): void {
    const { panes } = this.scene;
    const axes = panes.axes[pane];
    if (!axes) return;
    const about = (from: { normal: Vec3; up: Vec3 }): { normal: Vec3; up: Vec3 } => tiltedAbout(tiltedAbout(from, axes.right, x), axes.up, y);
    const { normal, up } = panes.upright(panes.plan(pane));
    this.store.patch({ tilts: { ...this.state.tilts, [pane]: about({ normal, up }) } });
  }

  /** Turns the planes of all panes that cross this one about its normal, anticlockwise on screen. */
  tiltOthers(pane: PaneName, degrees: number): void {
    const { panes } = this.scene;
    const axis = panes.axes[pane]?.normal;
    if (!axis) return;
    const others = panes.crossing(pane).map((plan) => {
      const { normal, up } = panes.upright(plan);
      return [plan.spec.id, tiltedAbout({ normal, up }, axis, degrees)] as const;
    });
    this.store.patch({ tilts: { ...this.state.tilts, ...Object.fromEntries(others) } });
  }

  toggleHandles(): void {
    this.store.patch({ handles: !this.state.handles });
  }

  /** All planes straight again. */
  straightenAll(): void {
    this.store.patch({ tilts: {} });
  }

  /** Planes and turns of a pane as the layout has them. */
  straighten(pane = this.pane): void {
    const without = <T>(all: Partial<Record<PaneName, T>>): Partial<Record<PaneName, T>> => Object.fromEntries(Object.entries(all).filter(([name]) => name !== pane)) as Partial<Record<PaneName, T>>;
    this.store.patch({ tilts: without(this.state.tilts), turns: without(this.state.turns), angles: without(this.state.angles) });
  }

  setSlab(mode: ProjectionMode | null, mm?: number, pane = this.pane): void {
    if (!this.scene.panes.names.includes(pane)) return;
    const before = this.scene.panes.slab(pane);
    this.store.patch({ slabs: { ...this.state.slabs, [pane]: mode === null ? null : { mode, mm: mm ?? before?.mm ?? SLAB_FIRST_MM } } });
  }

  /** No slab, MIP, MinIP, mean, and again. */
  nextSlab(): void {
    if (!this.scene.panes.names.includes(this.pane)) return;
    const mode = this.scene.panes.slab(this.pane)?.mode ?? null;
    this.setSlab(MODES[(MODES.indexOf(mode) + 1) % MODES.length]!);
  }

  toggleLink(what: keyof Links): void {
    const links = { ...this.state.links, [what]: !this.state.links[what] };
    // Linked again: the panes come together at the crosshair, windows at the layer's.
    const stands = links.scroll ? {} : this.state.stands;
    this.store.patch({ links, stands, ...(what === 'window' && links.window ? { paneLooks: this.withoutWindows() } : {}) });
  }

  private withoutWindows(): State['paneLooks'] {
    const { paneLooks } = this.state;
    const kept = new Set(this.scene.panes.plans.filter((plan) => plan.spec.look?.window).map((plan) => paneLookKey(plan.spec.id, plan.base.id)));
    return Object.fromEntries(Object.entries(paneLooks).map(([key, { width, centre, ...rest }]) =>
      [key, kept.has(key) && width !== undefined && centre !== undefined ? { ...rest, width, centre } : rest]));
  }

  /** Turns a rotating MIP by whole steps. */
  rotateMip(pane: PaneName, steps: number): void {
    const angle = ((((this.state.angles[pane] ?? 0) + steps * MIP_STEP) % 360) + 360) % 360;
    this.store.patch({ angles: { ...this.state.angles, [pane]: angle } });
  }
}
