/** The elements of all panes on screen: slots that the panes of a layout take, comparison and slab canvases, dividers. */
import { BesidePane } from './beside';
import { CompareCanvas } from './compare-canvas';
import { h } from './dom';
import type { Loaded } from './loaded';
import type { MipPane } from './mip-pane';
import { Pane } from './panes';
import type { PanePlan } from './pane-spec';
import type { Scene } from './scene';
import { SlabCanvas } from './slab-canvas';
import type { PaneName } from './stage';
import { SwipeHandle } from './swipe';
import { TiltHandle } from './tilt-handles';
import type { Commands } from './commands';

const SIDE = 'minmax(260px, 30%)';

interface Slot {
  pane: Pane;
  compare: CompareCanvas;
  slab: SlabCanvas;
  swipe: SwipeHandle;
  tilt: TiltHandle;
}

export class PaneBoard {
  readonly grid = h('div', { class: 'viewer-grid' });
  /** Planar panes on screen, by name. */
  readonly panes = new Map<PaneName, Pane>();
  private readonly slots: Slot[] = [];

  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly commands: Commands,
    /** A pane's element is new: it wants a mouse. */
    private readonly made: (pane: Pane) => void,
  ) {}

  /** Gives each planar pane an element; those that are left over go off screen. */
  place(plans: readonly PanePlan[]): ReadonlyMap<PaneName, HTMLDivElement> {
    const planar = plans.filter((plan) => plan.spec.kind !== 'rotating-mip');
    while (this.slots.length < planar.length) this.add();
    this.panes.clear();
    this.slots.forEach(({ pane }, n) => {
      const plan = planar[n];
      pane.rename(plan?.spec.id ?? `unused-${n}`);
      if (plan) this.panes.set(plan.spec.id, pane);
    });
    this.show();
    return new Map([...this.panes].map(([name, pane]) => [name, pane.image]));
  }

  private add(): void {
    const pane = new Pane(`unused-${this.slots.length}`);
    const slot = {
      pane,
      compare: new CompareCanvas(this.scene, this.loaded, pane),
      slab: new SlabCanvas(this.scene, this.loaded, pane),
      swipe: new SwipeHandle(this.scene.store),
      tilt: new TiltHandle(this.scene, this.commands, pane),
    };
    pane.element.append(slot.swipe.element, slot.tilt.element);
    this.grid.insertBefore(pane.element, this.grid.children[this.slots.length] ?? null);
    this.slots.push(slot);
    this.made(pane);
  }

  private slot(name: PaneName): Slot | undefined {
    return this.slots.find(({ pane }) => pane.name === name && this.panes.has(name));
  }

  compare(name: PaneName): void {
    this.slot(name)?.slab.draw();
    this.slot(name)?.compare.draw();
  }

  swipe(name: PaneName, shown: boolean, left: string, right: string): void {
    this.slot(name)?.swipe.update(shown, left, right);
  }

  handles(name: PaneName): void {
    this.slot(name)?.tilt.update();
  }

  /** The one pane on screen, or null for all of the layout. */
  get only(): PaneName | null {
    const { layout, pane } = this.scene.store.state;
    if (this.scene.beside) return this.scene.panes.has(pane) ? pane : 'axial';
    return layout !== 'mpr' && this.scene.panes.has(layout) ? layout : null;
  }

  /** Which panes are seen, and where. */
  show(mip?: MipPane, beside?: BesidePane): void {
    const { only } = this;
    const { protocol, plans } = this.scene.panes;
    const layout = this.scene.beside ? 'beside' : only ? 'one' : 'mpr';
    this.grid.dataset['layout'] = layout;
    this.grid.dataset['protocol'] = protocol.id;
    const isWhole = plans.length === protocol.panes.length;
    this.grid.style.gridTemplate = layout === 'beside' ? '' : layout === 'one' ? `"one side" minmax(0, 1fr) / minmax(0, 1fr) ${SIDE}` : isWhole ? protocol.template : gridFor(plans);
    for (const { pane } of this.slots) {
      pane.element.hidden = !this.panes.has(pane.name) || (only !== null && only !== pane.name);
      pane.element.style.gridArea = layout === 'beside' ? '' : layout === 'one' ? 'one' : pane.name;
    }
    if (mip) mip.pane.element.style.gridArea = layout === 'one' ? 'one' : (plans.find((plan) => plan.spec.kind === 'rotating-mip')?.spec.id ?? '');
    if (beside) beside.pane.element.hidden = layout !== 'beside';
  }
}

/** A layout of which some panes find no layer: the others share the room. */
export function gridFor(plans: readonly PanePlan[]): string {
  const columns = Math.ceil(Math.sqrt(plans.length));
  const rows: string[] = [];
  for (let n = 0; n < plans.length; n += columns) {
    const names = plans.slice(n, n + columns).map((plan) => plan.spec.id);
    while (names.length < columns) names.push('.');
    rows.push(`"${names.join(' ')} side" minmax(0, 1fr)`);
  }
  return `${rows.join(' ')} / ${'minmax(0, 1fr) '.repeat(columns)}minmax(236px, 21%)`;
}
