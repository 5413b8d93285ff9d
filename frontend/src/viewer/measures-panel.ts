/** The table of measurements and key images: the server's values with unit, method and who measured. */
import { directionLetters, dot, type Vec3 } from '../affine';
import { t } from '../i18n';
import { toast } from '../pages/toast';
import { type Api, ApiError } from './api';
import { button, h } from './dom';
import { icon } from '../icons';
import { titled } from './keymap';
import { keyOf } from './marks/book';
import type { Hand } from './marks/hand';
import type { KeyImages } from './marks/key-images';
import { nameOf } from './marks/tools';
import type { HiddenMark, KeyImage, MeasuredValue, Measurement } from './types';

export interface MeasureActions {
  goto(measurement: Measurement): void;
  changed(): void;
}

export class MeasuresPanel {
  readonly element = h('div', { class: 'measures-panel' });
  private key = '';
  private showRemoved = false;
  private removed: readonly HiddenMark[] = [];
  private wanted: string | null = null;

  constructor(
    private readonly hand: Hand,
    private readonly images: KeyImages,
    private readonly api: Api,
    private readonly actions: MeasureActions,
  ) {}

  /** A mark was selected in a pane: its row comes into view. */
  reveal(key: string): void {
    this.wanted = key;
  }

  update(measurements: readonly Measurement[], images: readonly KeyImage[], mayMeasure: boolean): void {
    const { history, moves, unsaved } = this.hand.book;
    const key = JSON.stringify([measurements, images, mayMeasure, this.hand.selected, this.showRemoved, this.removed, history.undoable, history.redoable, unsaved, [...moves]]);
    if (key === this.key) return;
    // A field that is being written in is not taken away.
    if (this.element.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement && document.activeElement.type === 'text') return;
    const before = this.key;
    this.key = key;
    if (this.showRemoved && before) void this.fetchRemoved();
    const isEmpty = !measurements.length && !images.length && !unsaved.length;
    const hint = mayMeasure ? t('Take a tool from the menu Measure, or a key: L length, Shift+E ellipse, P probe.') : t('Claim the case to measure.');
    this.element.replaceChildren(
      this.head(measurements, mayMeasure),
      ...(isEmpty ? [h('div', { class: 'empty' }, h('h3', { text: t('No measurements') }), h('span', { text: hint }))] : []),
      ...unsaved.map(({ key: mark, body, state, reason }) => h('div', { class: 'measure', data: { unsaved: mark } },
        h('div', { class: 'measure-head' }, h('span', { class: 'strong', text: nameOf(body.tool) }), h('span', { class: 'grow', text: body.label })),
        h('div', { class: state === 'failed' ? 'mark-unsaved' : 'muted small', text: state === 'failed' ? t('Not saved: {reason}', { reason }) : t('Measuring…') }),
        state === 'failed' ? this.tryAgain(mark, t('Remove')) : null)),
      ...measurements.map((measurement) => this.row(measurement, mayMeasure)),
      ...(images.length ? [h('h3', { class: 'layers-heading', text: t('Key images') }), ...images.map((image) => this.imageRow(image, mayMeasure))] : []),
      ...(this.showRemoved ? this.removedRows(mayMeasure) : []),
    );
    if (this.wanted) {
      this.scrollTo(this.element.querySelector<HTMLElement>(`[data-key="${this.wanted}"]`));
      this.wanted = null;
    }
  }

  /** Up or down only: the panel must not slide sideways. */
  private scrollTo(row: HTMLElement | null): void {
    const side = this.element.parentElement;
    if (!row || !side) return;
    const [mine, its] = [row.getBoundingClientRect(), side.getBoundingClientRect()];
    if (mine.bottom > its.bottom) side.scrollTop += mine.bottom - its.bottom;
    else if (mine.top < its.top) side.scrollTop += mine.top - its.top;
  }

  private head(measurements: readonly Measurement[], mayMeasure: boolean): HTMLElement {
    const { history } = this.hand.book;
    const iconButton = (symbol: 'undo-2' | 'redo-2', name: string, title: string, on: boolean): HTMLButtonElement => {
      const made = button('', () => void (symbol === 'undo-2' ? history.undo() : history.redo()).then(() => this.actions.changed()), { data: { act: symbol === 'undo-2' ? 'undo' : 'redo', command: symbol === 'undo-2' ? 'edit.undo' : 'edit.redo' } });
      titled(made, title);
      made.append(icon(symbol), name);
      made.disabled = !on;
      return made;
    };
    const show = h('input', { attrs: { type: 'checkbox' }, data: { act: 'show-removed' } });
    show.checked = this.showRemoved;
    show.addEventListener('change', () => {
      this.showRemoved = show.checked;
      if (this.showRemoved) void this.fetchRemoved();
      this.actions.changed();
    });
    return h('div', { class: 'measures-head' },
      mayMeasure ? iconButton('undo-2', t('Undo'), history.undoable ? t('Undo: {act}', { act: history.undoable }) : t('Undo'), history.undoable !== null) : null,
      mayMeasure ? iconButton('redo-2', t('Redo'), t('Redo'), history.redoable !== null) : null,
      button(t('Copy'), () => void this.copy(measurements), { title: t('All measurements as text to the clipboard'), data: { act: 'copy' } }),
      h('label', { class: 'check small' }, show, h('span', { text: t('Show removed') })));
  }

  private row(measurement: Measurement, mayMeasure: boolean): HTMLElement {
    const { hand } = this;
    const key = keyOf(measurement);
    const goto = h('button', { class: 'measure-goto', title: t('Show in the images'), attrs: { type: 'button' } },
      h('span', { class: 'mark-name', text: measurement.name }),
      h('span', { class: 'strong', text: measurement.purpose === 'liver' ? t('Liver sphere') : nameOf(measurement.tool) }),
      h('span', { class: 'muted small', text: planeOf(measurement) }));
    goto.addEventListener('click', () => this.actions.goto(measurement));
    const label = h('input', { class: 'input measure-label', attrs: { type: 'text', maxlength: '200', placeholder: t('Label'), 'aria-label': t('Label of {name}', { name: measurement.name }) } });
    label.value = measurement.label;
    label.disabled = !mayMeasure;
    label.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') label.blur();
    });
    label.addEventListener('change', () => {
      void hand.book.relabel(measurement.id, label.value.trim()).then(() => this.actions.changed());
    });
    const move = hand.book.moves.get(measurement.id);
    const again = measurement.outdated && measurement.drawn && mayMeasure ? button(t('Measure again'), () => void hand.book.move(measurement.id, measurement.points), { data: { act: 'again' } }) : null;
    const liver = measurement.tool === 'sphere' && mayMeasure ? button(measurement.purpose ? t('Not the liver') : t('Is the liver'), () => void hand.book.change(measurement.id, { purpose: measurement.purpose ? '' : 'liver' }), { class: 'btn btn--small btn--quiet', title: t('PERCIST takes its threshold from a sphere of 3 cm in healthy liver'), data: { act: 'liver' } }) : null;
    return h('div', { class: `measure${hand.selected === key ? ' is-selected' : ''}`, data: { measurement: String(measurement.id), key } },
      h('div', { class: 'measure-head' }, goto, liver,
        mayMeasure ? button(t('Delete'), () => void hand.book.remove(measurement.id), { class: 'btn btn--small btn--quiet', title: t('Delete {name}; undo brings it back', { name: measurement.name }), data: { act: 'delete' } }) : null),
      ...(move?.state === 'failed' ? [h('div', { class: 'mark-unsaved', text: t('Not saved: {reason}', { reason: move.reason }) }), this.tryAgain(key, t('Put back'))] : []),
      measurement.outdated ? h('div', { class: 'notice notice--warn small' }, h('span', { class: 'grow', text: measurement.outdated }), again) : null,
      valuesTable(measurement),
      ...measurement.notes.map((note) => h('div', { class: 'small measure-note', text: note })),
      mayMeasure || measurement.label ? label : null,
      h('div', { class: 'muted small', text: `${measurement.by}, ${when(measurement.at)}` }));
  }

  private tryAgain(mark: string, giveUp: string): HTMLElement {
    const { book } = this.hand;
    return h('div', { class: 'row' }, button(t('Retry'), () => book.retry(mark)), button(giveUp, () => book.discard(mark), { class: 'btn btn--small btn--quiet' }));
  }

  private imageRow(image: KeyImage, mayMeasure: boolean): HTMLElement {
    const goto = h('button', { class: 'measure-goto', title: t('Show in the images'), attrs: { type: 'button' } }, h('span', { class: 'mark-name', text: image.name }), h('span', { class: 'strong', text: image.label || t('Key image') }));
    goto.addEventListener('click', () => this.images.show(image));
    const picture = image.picture ? h('img', { class: 'key-image', attrs: { src: image.picture, alt: t('{name}, as it was seen', { name: image.name }), loading: 'lazy' } }) : null;
    const label = h('input', { class: 'input measure-label', attrs: { type: 'text', maxlength: '200', placeholder: t('Label'), 'aria-label': t('Label of {name}', { name: image.name }) } });
    label.value = image.label;
    label.disabled = !mayMeasure;
    label.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') label.blur();
    });
    label.addEventListener('change', () => void this.images.relabel(image.id, label.value.trim()));
    return h('div', { class: 'measure', data: { keyImage: String(image.id) } },
      h('div', { class: 'measure-head' }, goto, mayMeasure ? button(t('Delete'), () => void this.images.remove(image.id), { class: 'btn btn--small btn--quiet', data: { act: 'delete' } }) : null),
      picture, label,
      h('div', { class: 'muted small', text: `${image.by}, ${when(image.at)}` }));
  }

  private async fetchRemoved(): Promise<void> {
    try {
      this.removed = (await this.api.marks()).hidden;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
    }
    this.actions.changed();
  }

  private removedRows(mayMeasure: boolean): HTMLElement[] {
    const rows = this.removed.map((mark) => h('div', { class: 'measure is-removed', data: { removed: `${mark.kind}-${mark.id}` } },
      h('div', { class: 'measure-head' },
        h('span', { class: 'mark-name', text: mark.name }),
        h('span', { class: 'grow', text: [mark.tool ? nameOf(mark.tool) : t('Key image'), mark.text].filter(Boolean).join('  ') }),
        mayMeasure ? button(t('Restore'), () => void this.restore(mark), { data: { act: 'restore' } }) : null),
      h('div', { class: 'muted small', text: t('Removed by {by}, {at}', { by: mark.by, at: mark.at ? when(mark.at) : '' }) })));
    return [h('h3', { class: 'layers-heading', text: t('Removed') }), ...(rows.length ? rows : [h('div', { class: 'muted small', text: t('Nothing was removed.') })])];
  }

  private async restore(mark: HiddenMark): Promise<void> {
    if (mark.kind === 'measurement') await this.hand.book.bringBack(mark.id);
    else await this.images.restore(mark.id);
    await this.fetchRemoved();
  }

  private async copy(measurements: readonly Measurement[]): Promise<void> {
    try {
      await navigator.clipboard.writeText(measurements.map(asText).join('\n'));
      toast(t('Copied.'), 'ok');
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      toast(t('The browser did not allow the clipboard.'), 'bad');
    }
  }
}

/** Layers down, values across: each with its own unit, or the reason why it has none. */
function valuesTable(measurement: Measurement): HTMLElement | null {
  if (!measurement.values.length) return null;
  const tell = (value: MeasuredValue): string => (value.value === null ? value.reason || t('no value') : value.text);
  const title = (value: MeasuredValue): string => [value.method, value.voxels ? t('{n} voxels', { n: value.voxels }) : ''].filter(Boolean).join('; ');
  const groups = [...new Set(measurement.values.map((value) => value.key))];
  const rows = groups.flatMap((key) => {
    const mine = measurement.values.filter((value) => value.key === key);
    const none = mine.every((value) => value.value === null);
    const heading = key ? [h('tr', {}, h('th', { text: mine[0]!.layer_label, attrs: { colspan: '2', scope: 'rowgroup' } }))] : [];
    const shown = none ? mine.slice(0, 1) : mine;
    return [...heading, ...shown.map((value) => h('tr', { title: title(value), data: { value: value.name } },
      h('td', { text: none ? '' : value.title }), h('td', { class: value.value === null ? 'right muted' : 'right num strong', text: tell(value) })))];
  });
  return h('table', { class: 'measure-values' }, h('tbody', {}, ...rows));
}

/** The plane it was drawn in, in words: axial, coronal, sagittal, or oblique with its letters. */
function planeOf({ plane, tool }: Measurement): string {
  if (!plane || tool === 'sphere' || tool === 'threshold') return '';
  const axes: readonly (readonly [Vec3, string])[] = [[[0, 0, 1], t('axial')], [[0, 1, 0], t('coronal')], [[1, 0, 0], t('sagittal')]];
  const [nearest, name] = axes.reduce((a, b) => (Math.abs(dot(b[0], plane.normal)) > Math.abs(dot(a[0], plane.normal)) ? b : a));
  return Math.abs(dot(nearest, plane.normal)) > 0.999 ? name : t('oblique ({letters})', { letters: directionLetters(plane.normal) });
}

function when(iso: string): string {
  return new Date(iso).toLocaleString(document.documentElement.lang || undefined, { dateStyle: 'short', timeStyle: 'short', hour12: false });
}

export function asText(measurement: Measurement): string {
  const values = measurement.values.map((value) => [value.layer_label, value.title, value.value === null ? value.reason : value.text].filter(Boolean).join(' '));
  return [measurement.name, nameOf(measurement.tool), measurement.label, ...(values.length ? values : [measurement.text]), measurement.outdated].filter(Boolean).join('\t');
}

