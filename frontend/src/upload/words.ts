/** Numbers of an upload as people read them, and the speed from which the time left follows. */

export interface Counts {
  stored: number;
  repeated: number;
  quarantined: number;
  ignored: number;
}

const WINDOW_MS = 10_000;

export function describe(counts: Counts): string {
  const parts: string[] = [];
  if (counts.stored) parts.push(`${count(counts.stored)} stored`);
  if (counts.repeated) parts.push(`${count(counts.repeated)} known already`);
  if (counts.ignored) parts.push(`${count(counts.ignored)} ignored`);
  if (counts.quarantined) parts.push(`${count(counts.quarantined)} not accepted`);
  return parts.join(', ') || 'nothing yet';
}

export function count(value: number): string {
  return value.toLocaleString('en');
}

export function files(value: number): string {
  return value === 1 ? '1 file' : `${count(value)} files`;
}

export function bytes(value: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
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
