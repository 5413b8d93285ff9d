/** Where a point of the reference lies in the moving series and back, on record or as tried on screen. */
import { apply, invert, type Vec3 } from '../affine';
import type { Api } from './api';
import type { Scene } from './scene';
import type { Layer } from './types';

const PAUSE_MS = 60;

export class LinkedCursor {
  private asked = 0;
  private timer = 0;

  constructor(
    private readonly scene: Scene,
    private readonly api: Api,
    private readonly attempt: <T>(act: () => Promise<T>) => Promise<T | undefined>,
  ) {}

  /** False for a layer that is not registered: then the two cursors are independent. */
  isLinked(layer: Layer): boolean {
    return layer.fusion.fused || this.scene.trying(layer) !== null;
  }

  /** True when only the server knows the way: a deformation is on record and nothing else is tried. */
  isDeformable(layer: Layer): boolean {
    return layer.fusion.model === 'deformable' && this.scene.trying(layer) === null && layer.registration_id !== null;
  }

  /**
   * Carries a point over. `found` is called once with the answer (null: no counterpart; undefined: the
   * server refused or was not reached, so nobody knows), unless a later question came first.
   */
  carry(layer: Layer, point: Vec3, from: 'reference' | 'moving', found: (there: Vec3 | null | undefined) => void): void {
    const question = ++this.asked;
    window.clearTimeout(this.timer);
    if (!this.isDeformable(layer)) {
      const matrix = this.scene.matrix(layer);
      found(apply(from === 'reference' ? invert(matrix) : matrix, point));
      return;
    }
    this.timer = window.setTimeout(() => {
      void this.attempt(() => this.api.map(layer.registration_id!, [point], from)).then((answer) => {
        if (question === this.asked) found(answer && (answer.points[0] ?? null));
      });
    }, PAUSE_MS);
  }
}
