/** What the reader does and the server stores: reviews, decisions, measurements; and the probe. */
import type { Vec3 } from '../affine';
import { toast } from '../pages/toast';
import { type Api, ApiError } from './api';
import { button } from './dom';
import type { Drawing } from './drawing';
import type { Review } from './findings-panel';
import { ProbeCard } from './probe-card';
import type { Scene } from './scene';
import type { PaneName, Point2 } from './stage';
import type { Finding, Measurement } from './types';

export interface ActEvents {
  /** Marks and panels must be drawn again. */
  changed(): void;
}

export class Acts {
  readonly probeCard = new ProbeCard();

  constructor(
    private readonly api: Api,
    private readonly scene: Scene,
    private readonly drawing: Drawing,
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
    if (await this.attempt(() => this.api.rerun())) toast('The analysis runs again with the alignments on record.', 'ok');
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

  private mayMeasure(): boolean {
    if (this.scene.store.state.alone !== null) {
      toast('Measure in the fused view: positions are stored in the reference space.', 'warn');
      return false;
    }
    if (this.scene.view.case.can.measure) return true;
    toast('Claim the case to measure.', 'warn');
    return false;
  }

  /** The rubber line while dragging; on `done` the server measures and the line becomes its answer. */
  async measure(pane: PaneName, from: Vec3, to: Vec3, done: boolean): Promise<void> {
    const refused = done && !this.mayMeasure();
    this.drawing.draft = refused ? null : { pane, points: [from, to] };
    this.events.changed();
    if (!done || refused) return;
    await this.store('length', [from, to]);
    this.drawing.draft = null;
    this.events.changed();
  }

  private async store(tool: Measurement['tool'], points: Vec3[]): Promise<void> {
    const stored = await this.attempt(() => this.api.measure(tool, points, this.listed));
    if (!stored) return;
    this.scene.view.measurements = [...this.scene.view.measurements, stored];
    this.events.changed();
  }

  async removeMeasurement(measurement: Measurement): Promise<void> {
    const done = await this.attempt(async () => {
      await this.api.removeMeasurement(measurement.id);
      return true;
    });
    if (!done) return;
    this.scene.view.measurements = this.scene.view.measurements.filter((other) => other.id !== measurement.id);
    this.events.changed();
  }

  async probe(pane: HTMLElement, point: Vec3, at: Point2): Promise<void> {
    if (this.scene.store.state.alone !== null) {
      toast('Probe in the fused view: values are read in the reference space.', 'warn');
      return;
    }
    const answer = await this.attempt(() => this.api.probe(point, this.listed));
    if (!answer) return;
    const keep = this.scene.view.case.can.measure ? button('Keep', () => {
      this.probeCard.hide();
      void this.store('probe', [point]);
    }) : null;
    this.probeCard.show(pane, at, answer.point, answer.values, keep);
  }
}
