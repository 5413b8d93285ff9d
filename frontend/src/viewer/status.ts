/** The line below the panes: connection, loading, run, and what this software is not for. */
import { t } from '../i18n';
import { h, setText } from './dom';
import type { Loaded } from './loaded';
import type { Layer, Step, View } from './types';

export type Connection = 'connecting' | 'connected' | 'reconnecting' | 'offline';

const WORDS: Record<Connection, string> = {
  connecting: t('Connecting…'),
  connected: t('Connected'),
  reconnecting: t('Connection lost, reconnecting…'),
  offline: t('Offline'),
};

const STEP_NAMES: Record<string, string> = {
  assemble: t('Building volumes'),
  register: t('Registering'),
  infer: t('Fusion model'),
  measure: t('Measuring findings'),
  draft: t('Drafting report'),
};

export function stepName(step: Step): string {
  return STEP_NAMES[step.name] ?? step.name;
}

function runText(view: View): string {
  if (view.run.state === 'failed') {
    const failed = view.run.steps.find((step) => step.error);
    return failed ? t('{step} failed: {reason}', { step: stepName(failed), reason: failed.error }) : t('The analysis failed.');
  }
  if (view.run.state !== 'running') return '';
  const step = view.run.steps.find((candidate) => candidate.state === 'running') ?? view.run.steps.find((candidate) => candidate.state !== 'done');
  return step ? t('Analysis: {step} {progress} %', { step: stepName(step), progress: Math.round(step.progress * 100) }) : t('Analysis running');
}

export class StatusLine {
  readonly element = h('div', { class: 'viewer-status' });
  private readonly state = h('span', { class: 'status-connection', attrs: { role: 'status' } });
  private readonly loading = h('span', { class: 'num' });
  private readonly run = h('span', {});
  private readonly bar = h('progress', { class: 'progress', attrs: { max: '1' } });

  constructor() {
    this.element.append(
      h('span', { class: 'not-diagnostic', text: t('Not for diagnostic use') }),
      this.state,
      this.bar,
      this.loading,
      this.run,
    );
  }

  update(view: View, wanted: readonly Layer[], loaded: Loaded, connection: Connection, detail: string): void {
    this.state.dataset['state'] = connection;
    setText(this.state, detail || WORDS[connection]);
    const open = wanted.filter((layer) => !loaded.complete(layer));
    const total = wanted.reduce((sum, layer) => sum + loaded.fraction(layer), 0) / Math.max(wanted.length, 1);
    this.bar.hidden = open.length === 0;
    this.bar.value = total;
    setText(this.loading, open.map((layer) => `${layer.label} ${Math.floor(loaded.fraction(layer) * 100)} %`).join('  '));
    setText(this.run, runText(view));
  }
}
