/** What `window.radfuse` tells browser tests: plain facts about what is on screen. */
import type { Vec3 } from '../affine';
import type { BesidePane } from './beside';
import { h } from './dom';
import type { Loaded } from './loaded';
import type { MipPane } from './mip-pane';
import type { Pane } from './panes';
import type { Scene } from './scene';
import type { PaneName, Point2 } from './stage';

export class Inspect {
  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly panes: ReadonlyMap<PaneName, Pane>,
    private readonly beside: BesidePane,
    private readonly mip: MipPane,
    private readonly more: () => object,
  ) {}

  report(): object {
    const { scene } = this;
    const { state } = scene.store;
    return {
      ...this.more(),
      base: scene.base.id,
      focus: scene.focus,
      snapped: scene.snapped,
      positions: Object.fromEntries(scene.panes.names.map((pane) => [pane, scene.position(pane)])),
      layers: Object.fromEntries(scene.wanted.map((layer) => [layer.id, { ...scene.store.settings(layer.id), loaded: this.loaded.fraction(layer) }])),
      held: scene.held,
      parked: [...scene.parked],
      /** Something of every volume on screen, if only coarsely. */
      covered: scene.wanted.every((layer) => this.loaded.covered(layer)),
      visible: [scene.base.id, ...scene.visibleOverlays.map((layer) => layer.id)],
      protocol: scene.panes.protocol.id,
      panes: scene.panes.plans.map((plan) => ({ id: plan.spec.id, base: plan.base.id, linked: plan.linked, overlays: (plan.spec.kind ? [] : scene.panes.visible(plan.spec.id)).map((layer) => layer.id) })),
      tool: state.tool,
      layout: state.layout,
      fusion: state.fusion,
      alone: state.alone,
      compare: scene.comparing,
      compared: scene.compared?.id ?? null,
      beside: scene.beside?.id ?? null,
      /** The linked cursor in the moving series' own LPS. */
      moving: this.beside.point,
      tile: state.tile,
      divider: state.divider,
      mip: this.mip.readout,
      planes: state.planes,
      links: state.links,
    };
  }

  /** The image without marks; with `compared` also what a comparison mode draws over it. */
  canvas(pane: PaneName | 'moving', compared = false): HTMLCanvasElement {
    if (pane === 'moving') return this.beside.image;
    if (this.mip.plan?.spec.id === pane) return this.mip.image;
    const image = this.scene.stage.canvas(pane);
    const on = this.panes.get(pane);
    const over = [on?.slab, compared ? on?.compare : undefined].filter((one) => one && !one.hidden) as HTMLCanvasElement[];
    if (!over.length) return image;
    const both = h('canvas');
    [both.width, both.height] = [image.width, image.height];
    const context = both.getContext('2d');
    context?.drawImage(image, 0, 0);
    for (const one of over) context?.drawImage(one, 0, 0, both.width, both.height);
    return both;
  }

  toCanvas(pane: PaneName | 'moving', point: Vec3): Point2 | null {
    if (this.mip.plan?.spec.id === pane) return this.mip.toCanvas(point);
    return pane === 'moving' ? this.beside.toCanvas(point) : this.scene.stage.toCanvas(pane, point);
  }

  toWorld(pane: PaneName | 'moving', at: Point2): Vec3 | null {
    if (this.mip.plan?.spec.id === pane) return this.mip.toWorld(at);
    return pane === 'moving' ? this.beside.toWorld(at) : this.scene.stage.toWorld(pane, at);
  }
}
