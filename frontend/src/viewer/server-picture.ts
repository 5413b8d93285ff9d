/** One plane drawn by the server: the newest wish is asked for, the last pictures are kept in memory. */
import { t } from '../i18n';
import type { Plane } from './orientation';
import type { Vec3 } from '../affine';

export interface Shown {
  url: string;
  position: number;
  count: number;
  /** At the top, right, bottom and left edge, as the server computed them from what it drew. */
  letters: readonly string[];
  /** Top left corner, along the top edge, down the left edge: LPS mm. */
  sides: readonly [Vec3, Vec3, Vec3];
}

export interface Wish {
  plane: Plane;
  position: number | null;
  size: number;
  /** The base first. */
  layers: readonly number[];
  windows: readonly { layer: number; width: number; centre: number }[];
}

/** Never on the reader's disk: answers are `no-store`, and these go with the page. */
const KEPT = 48;

export function urlOf(caseId: number, wish: Wish): string {
  const asked = new URLSearchParams({ plane: wish.plane, size: String(wish.size), layers: wish.layers.join() });
  if (wish.position !== null) asked.set('position', String(wish.position));
  if (wish.windows.length) asked.set('window', wish.windows.map((w) => `${w.layer}:${w.width}:${w.centre}`).join());
  return `/api/cases/${caseId}/slice.webp?${asked}`;
}

/** A point of the picture, as fractions of its width and height, in LPS mm. */
export function pointAt(sides: Shown['sides'], x: number, y: number): Vec3 {
  const [corner, along, down] = sides;
  return [0, 1, 2].map((n) => corner[n as 0]! + x * along[n as 0]! + y * down[n as 0]!) as unknown as Vec3;
}

interface Kept extends Shown {
  etag: string;
}

export class ServerPicture {
  private readonly kept = new Map<string, Kept>();
  private under: AbortController | null = null;
  private waiting: Wish | null = null;

  constructor(
    private readonly caseId: number,
    private readonly show: (shown: Shown) => void,
    private readonly failed: (reason: string) => void,
  ) {}

  /** While one is on its way the newest wish waits, so that scrolling shows something on any line. */
  async ask(wish: Wish): Promise<void> {
    this.waiting = wish;
    if (this.under) return;
    while (this.waiting) {
      const next: Wish = this.waiting;
      this.waiting = null;
      await this.fetch(next);
    }
  }

  /** What is on its way is no longer wanted. */
  cancel(): void {
    this.waiting = null;
    this.under?.abort();
  }

  private async fetch(wish: Wish): Promise<void> {
    const url = urlOf(this.caseId, wish);
    const before = this.kept.get(url);
    if (before) this.show(before);
    const going = new AbortController();
    this.under = going;
    try {
      const answer = await fetch(url, { signal: going.signal, headers: before ? { 'If-None-Match': before.etag } : {} });
      if (answer.status === 304) return;
      if (!answer.ok) return this.failed(await reason(answer));
      const picture = await answer.blob();
      const value = (name: string): string => answer.headers.get(`X-Radfuse-${name}`) ?? '';
      const made: Kept = {
        url: URL.createObjectURL(picture),
        position: Number(value('Position')),
        count: Number(value('Count')),
        letters: value('Letters').split(','),
        sides: JSON.parse(value('Plane')) as Kept['sides'],
        etag: answer.headers.get('ETag') ?? '',
      };
      this.keep(url, made);
      // A newer wish shows its own; this one is still the truth about where it lies.
      this.show(made);
    } catch (error) {
      if (error instanceof TypeError) this.failed(t('The server cannot be reached. Check the connection and try again.'));
      else if (!(error instanceof DOMException && error.name === 'AbortError')) throw error;
    } finally {
      this.under = null;
    }
  }

  private keep(url: string, made: Kept): void {
    const before = this.kept.get(url);
    if (before) URL.revokeObjectURL(before.url);
    this.kept.delete(url);
    this.kept.set(url, made);
    for (const [oldest, { url: blob }] of this.kept) {
      if (this.kept.size <= KEPT) break;
      URL.revokeObjectURL(blob);
      this.kept.delete(oldest);
    }
  }

  /** Gives the pictures back. */
  close(): void {
    this.cancel();
    for (const { url } of this.kept.values()) URL.revokeObjectURL(url);
    this.kept.clear();
  }
}

async function reason(answer: Response): Promise<string> {
  const isJson = answer.headers.get('content-type')?.includes('json') ?? false;
  const body = isJson ? ((await answer.json()) as { detail?: unknown }) : {};
  return typeof body.detail === 'string' ? body.detail : t('The server could not do this ({status}). Try again.', { status: answer.status });
}
