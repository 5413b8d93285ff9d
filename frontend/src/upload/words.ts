/** Numbers of an upload as people read them, and the speed from which the time left follows. */
import { t, tn } from '../i18n';

export interface Counts {
  stored: number;
  repeated: number;
  quarantined: number;
  ignored: number;
}

const WINDOW_MS = 10_000;

export function describe(counts: Counts): string {
  const parts: string[] = [];
  if (counts.stored) parts.push(t('{stored} stored', { stored: count(counts.stored) }));
  if (counts.repeated) parts.push(t('{repeated} known already', { repeated: count(counts.repeated) }));
  if (counts.ignored) parts.push(t('{ignored} ignored', { ignored: count(counts.ignored) }));
  if (counts.quarantined) parts.push(t('{quarantined} not accepted', { quarantined: count(counts.quarantined) }));
  return parts.join(', ') || t('nothing yet');
}

export function count(value: number): string {
  return value.toLocaleString('en');
}

export function files(value: number): string {
  return tn('1 file', '{count} files', value, { count: count(value) });
}

export function bytes(value: number): string {
  const units = [t('bytes'), 'kB', 'MB', 'GB', 'TB'];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return t('{n} min', { n: Math.round(seconds / 60) });
  return t('{h} h {m} min', { h: Math.floor(seconds / 3600), m: Math.round((seconds % 3600) / 60) });
}

/** Bytes per second over the last ten seconds. */
export class Speed {
  private readonly samples: { at: number; sent: number }[] = [];

  note(at: number, sent: number): void {
    this.samples.push({ at, sent });
    while (this.samples.length > 2 && at - (this.samples[0]?.at ?? at) > WINDOW_MS) this.samples.shift();
  }

  /** After a pause the time of waiting does not count. */
  restart(): void {
    this.samples.length = 0;
  }

  get value(): number {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < 500) return 0;
    return ((last.sent - first.sent) / (last.at - first.at)) * 1000;
  }
}
