/** What `window.radfuse` tells browser tests: plain facts about what is on screen. */
import type { Vec3 } from '../affine';
import type { BesidePane } from './beside';
import { h } from './dom';
import type { Loaded } from './loaded';
import type { Pane } from './panes';
import type { Scene } from './scene';
import { type PaneName, PANES, type Point2 } from './stage';

export class Inspect {
  constructor(
    private readonly scene: Scene,
    private readonly loaded: Loaded,
    private readonly panes: Record<PaneName, Pane>,
    private readonly beside: BesidePane,
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
      positions: Object.fromEntries(PANES.map((pane) => [pane, scene.position(pane)])),
      layers: Object.fromEntries(scene.wanted.map((layer) => [layer.id, { ...scene.store.settings(layer.id), loaded: this.loaded.fraction(layer) }])),
      visible: [scene.base.id, ...scene.visibleOverlays.map((layer) => layer.id)],
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
    };
  }

  /** The image without marks; with `compared` also what a comparison mode draws over it. */
  canvas(pane: PaneName | 'moving', compared = false): HTMLCanvasElement {
    if (pane === 'moving') return this.beside.image;
    const image = this.scene.stage.canvas(pane);
    const over = this.panes[pane].compare;
    if (!compared || over.hidden) return image;
    const both = h('canvas');
    [both.width, both.height] = [image.width, image.height];
    const context = both.getContext('2d');
    context?.drawImage(image, 0, 0);
    context?.drawImage(over, 0, 0, both.width, both.height);
    return both;
  }

  toCanvas(pane: PaneName | 'moving', point: Vec3): Point2 | null {
    return pane === 'moving' ? this.beside.toCanvas(point) : this.scene.stage.toCanvas(pane, point);
  }

  toWorld(pane: PaneName | 'moving', at: Point2): Vec3 | null {
    return pane === 'moving' ? this.beside.toWorld(at) : this.scene.stage.toWorld(pane, at);
  }
}
