/** The result of a refinement on the images before it is accepted, under words that say so. */
import { t } from '../i18n';
import type { Refinement } from './registration-types';
import { MODELS } from './registration-words';
import type { Scene } from './scene';

export class RefinementPreview {
  shown: { id: number; registration: number; words: string } | null = null;

  constructor(private readonly scene: Scene) {}

  show(refinement: Refinement): void {
    const { id, registration, result } = refinement;
    if (!result) return;
    const words = t('Preview, not accepted: {model} refinement', { model: MODELS[result.model].toLowerCase() });
    this.shown = { id, registration, words };
    if (result.layer !== null) this.scene.look({ id: result.layer, words });
    else this.scene.tryMatrix(registration, { matrix: result.matrix, words });
  }

  takeOff(): void {
    if (!this.shown) return;
    this.scene.look(null);
    this.scene.tryMatrix(this.shown.registration, null);
    this.shown = null;
  }
}
