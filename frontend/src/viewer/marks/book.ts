/**
 * The marks of a case in this window: stored ones, those on their way to the server, and those it did
 * not take. A mark never disappears unsaved: it stays where it was drawn, with the reason.
 */
import type { Vec3 } from '../../affine';
import { t } from '../../i18n';
import { ApiError } from '../api';
import type { Measurement, MeasurementBody, MeasurementChange } from '../types';
import { History } from './history';
import { nameOf } from './tools';

export interface MarkApi {
  create(body: MeasurementBody): Promise<Measurement>;
  change(id: number, change: MeasurementChange): Promise<Measurement>;
  hide(id: number): Promise<unknown>;
  restore(id: number): Promise<Measurement>;
}

export interface Shelf {
  measurements: Measurement[];
}

/** A new mark that the server does not have. */
export interface Unsaved {
  key: string;
  body: MeasurementBody;
  state: 'saving' | 'failed';
  reason: string;
}

/** A stored mark that was moved and is not stored there yet. */
export interface Move {
  points: readonly Vec3[];
  state: 'saving' | 'failed';
  reason: string;
}

export const keyOf = (measurement: Measurement): string => `m${measurement.id}`;

/** The row behind a key; null for a mark that has none yet. */
export function idOf(key: string): number | null {
  return key.startsWith('m') ? Number(key.slice(1)) : null;
}

export class Book {
  readonly history = new History();
  readonly unsaved: Unsaved[] = [];
  readonly moves = new Map<number, Move>();
  /** Raised by every change that the server confirmed: older lists are then not taken. */
  version = 0;
  private count = 0;
  /** Changes of stored marks go one after the other: the last one drawn is the last one stored. */
  private queue: Promise<unknown> = Promise.resolve();

  /** `shelf`: where the view keeps what the server has. `refused`: words for the reader. */
  constructor(
    private readonly api: MarkApi,
    private readonly shelf: () => Shelf,
    private readonly changed: () => void,
    private readonly refused: (reason: string) => void,
    /** A new mark got its row: its key is now the row's. */
    private readonly stored: (key: string, measurement: Measurement) => void = () => undefined,
  ) {}

  get measurements(): readonly Measurement[] {
    return this.shelf().measurements;
  }

  find(id: number): Measurement | undefined {
    return this.measurements.find((measurement) => measurement.id === id);
  }

  /** Anything that a closed window would lose. */
  get dirty(): boolean {
    return this.unsaved.length > 0 || this.moves.size > 0;
  }

  // ---- new marks ------------------------------------------------------------------------------

  add(body: MeasurementBody): { key: string; stored: Promise<Measurement | null> } {
    const mark: Unsaved = { key: `new${++this.count}`, body: { ...body, sent: newId() }, state: 'saving', reason: '' };
    this.unsaved.push(mark);
    return { key: mark.key, stored: this.send(mark) };
  }

  retry(key: string): void {
    const mark = this.unsaved.find((one) => one.key === key);
    if (mark) void this.send(mark);
    const id = idOf(key);
    const move = id === null ? undefined : this.moves.get(id);
    if (id !== null && move) void this.move(id, move.points);
  }

  /** A handle was let go: a stored mark moves, one that was refused is sent as it is now. */
  reshape(key: string, points: readonly Vec3[]): void {
    const id = idOf(key);
    if (id !== null) return void this.move(id, points);
    const mark = this.unsaved.find((one) => one.key === key);
    if (!mark || mark.state === 'saving') return;
    mark.body = { ...mark.body, points };
    void this.send(mark);
  }

  labelUnsaved(key: string, label: string): void {
    const mark = this.unsaved.find((one) => one.key === key);
    if (mark) mark.body = { ...mark.body, label };
    this.changed();
  }

  /** Gives up what was not saved: a new mark goes, a moved one is where it was. */
  discard(key: string): void {
    const at = this.unsaved.findIndex((one) => one.key === key);
    if (at >= 0) this.unsaved.splice(at, 1);
    const id = idOf(key);
    if (id !== null) this.moves.delete(id);
    this.changed();
  }

  private async send(mark: Unsaved): Promise<Measurement | null> {
    [mark.state, mark.reason] = ['saving', ''];
    this.changed();
    try {
      const made = await this.api.create(mark.body);
      const at = this.unsaved.indexOf(mark);
      this.put(made);
      // Deleted while it was on its way.
      if (at < 0) {
        await this.remove(made.id);
        return null;
      }
      this.unsaved.splice(at, 1);
      this.stored(mark.key, made);
      this.history.push({ name: nameOf(made.tool), undo: () => this.tellHide(made.id), redo: () => this.tellRestore(made.id) });
      this.changed();
      // Words written while it was on its way.
      if (mark.body.label !== made.label) void this.relabel(made.id, mark.body.label);
      return made;
    } catch (error) {
      [mark.state, mark.reason] = ['failed', reasonOf(error)];
      this.changed();
      return null;
    }
  }

  // ---- stored marks -----------------------------------------------------------------------------

  async move(id: number, points: readonly Vec3[]): Promise<void> {
    if (!this.find(id)) return;
    const move: Move = { points, state: 'saving', reason: '' };
    this.moves.set(id, move);
    this.changed();
    try {
      await this.inTurn(async () => {
        // Where it was when its turn came: an earlier drag may have been on its way.
        const before = this.find(id)?.points ?? points;
        this.put(await this.api.change(id, { points }));
        this.remember(t('Move'), id, { points: before }, { points });
      });
      // A later drag may be on its way already.
      if (this.moves.get(id) === move) this.moves.delete(id);
    } catch (error) {
      [move.state, move.reason] = ['failed', reasonOf(error)];
    }
    this.changed();
  }

  /** Another change that is measured again, e.g. what a sphere is for. */
  async change(id: number, change: Pick<MeasurementChange, 'purpose'>): Promise<void> {
    const before = this.find(id);
    if (before && (await this.tellChange(id, change))) this.remember(t('Change'), id, { purpose: before.purpose }, change);
  }

  async relabel(id: number, label: string): Promise<void> {
    const before = this.find(id)?.label;
    if (before === undefined || before === label) return;
    if (await this.tellChange(id, { label })) this.remember(t('Label'), id, { label: before }, { label });
  }

  async remove(id: number): Promise<void> {
    const name = this.find(id)?.tool;
    if (!name || !(await this.tellHide(id))) return;
    this.history.push({ name: t('Delete'), undo: () => this.tellRestore(id), redo: () => this.tellHide(id) });
  }

  async bringBack(id: number): Promise<void> {
    if (!(await this.tellRestore(id))) return;
    this.history.push({ name: t('Restore'), undo: () => this.tellHide(id), redo: () => this.tellRestore(id) });
  }

  private remember(name: string, id: number, before: MeasurementChange, after: MeasurementChange): void {
    this.history.push({ name, undo: () => this.tellChange(id, before), redo: () => this.tellChange(id, after) });
  }

  private tellChange(id: number, change: MeasurementChange): Promise<boolean> {
    return this.tell(async () => this.put(await this.api.change(id, change)));
  }

  private tellHide(id: number): Promise<boolean> {
    return this.tell(async () => {
      await this.api.hide(id);
      const shelf = this.shelf();
      this.version++;
      shelf.measurements = shelf.measurements.filter((other) => other.id !== id);
      this.moves.delete(id);
    });
  }

  private tellRestore(id: number): Promise<boolean> {
    return this.tell(async () => this.put(await this.api.restore(id)));
  }

  private async tell(act: () => Promise<void>): Promise<boolean> {
    try {
      await this.inTurn(act);
    } catch (error) {
      this.refused(reasonOf(error));
      return false;
    }
    this.changed();
    return true;
  }

  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.queue.then(act);
    this.queue = result.catch(() => undefined);
    return result;
  }

  private put(measurement: Measurement): void {
    const shelf = this.shelf();
    this.version++;
    const known = shelf.measurements.some((other) => other.id === measurement.id);
    shelf.measurements = known
      ? shelf.measurements.map((other) => (other.id === measurement.id ? measurement : other))
      : [...shelf.measurements, measurement].sort((a, b) => a.id - b.id);
  }
}

/** `crypto.randomUUID` is missing where the page came without TLS. */
function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Refusals have words of the server; anything else is an error of ours and must be seen as one. */
function reasonOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  throw error;
}
