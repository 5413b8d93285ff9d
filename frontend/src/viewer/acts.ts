/** What the reader decides and the server stores: reviews, decisions; and the probe. Marks: `marks/`. */
import { t } from '../i18n';
import type { Vec3 } from '../affine';
import { toast } from '../pages/toast';
import { type Api, ApiError } from './api';
import { button } from './dom';
import type { Review } from './findings-panel';
import { ProbeCard } from './probe-card';
import type { Scene } from './scene';
import type { Point2 } from './stage';
import type { Finding } from './types';

export interface ActEvents {
  /** Marks and panels must be drawn again. */
  changed(): void;
  /** The values at a point become a mark. */
  keepProbe(point: Vec3): void;
}

export class Acts {
  readonly probeCard = new ProbeCard();

  constructor(
    private readonly api: Api,
    private readonly scene: Scene,
    private readonly events: ActEvents,
  ) {}

  /** The result, or undefined after a refusal, which has been shown. */
  async attempt<T>(act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
      return undefined;
    }
  }

  /** Analyses again with the alignments on record; the page hears of its progress. */
  async rerun(): Promise<void> {
    if (await this.attempt(() => this.api.rerun())) toast(t('The analysis runs again with the alignments on record.'), 'ok');
  }

  async review(finding: Finding, review: Review): Promise<boolean> {
    const answer = await this.attempt(() => this.api.review(finding.id, review));
    if (!answer) return false;
    this.scene.view.findings = this.scene.view.findings.map((old) => (old.id === answer.id ? answer : old));
    this.events.changed();
    window.dispatchEvent(new CustomEvent('radfuse:review', { detail: { finding: answer.id, state: answer.review.state } }));
    return true;
  }

  private get listed(): number[] {
    return this.scene.layers.map((layer) => layer.id);
  }

  async probe(pane: HTMLElement, point: Vec3, at: Point2): Promise<void> {
    if (this.scene.store.state.alone !== null) {
      toast(t('Probe in the fused view: values are read in the reference space.'), 'warn');
      return;
    }
    const answer = await this.attempt(() => this.api.probe(point, this.listed));
    if (!answer) return;
    const keep = this.scene.view.case.can.measure ? button(t('Keep'), () => {
      this.probeCard.hide();
      this.events.keepProbe(point);
    }) : null;
    this.probeCard.show(pane, at, answer.point, answer.values, keep);
  }
}
