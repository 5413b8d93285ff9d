/**
 * An earlier case beside the current one, in its own space: its own stream, window, zoom and cursor.
 * Nothing is linked, and the pane says so; the banner names the date and never looks like the current
 * patient's. Identity is compared before a voxel is asked for.
 */
import { directionLetters, Grid, scale, type Vec3 } from '../../affine';
import { t } from '../../i18n';
import { type Api, ApiError } from '../api';
import type { Pixels } from '../codec';
import { paintWhere } from '../comparison';
import { button, h, setText } from '../dom';
import { mismatch } from '../identity';
import { Loaded } from '../loaded';
import { NativeView } from '../native-view';
import { type Plane, slicePosition, stepPoint } from '../orientation';
import { defaultColormap, defaultInvert, firstWindow, isImage, shown, unitLabel } from '../presets';
import { rasterOf, samplePlane } from '../sampling';
import type { Point2 } from '../stage';
import { type FromStream, Stream } from '../stream';
import type { Layer, View } from '../types';
import type { Prior } from './types';

const WHEEL_PX = 40;
const PLANES: readonly (readonly [Plane, () => string])[] = [
  ['axial', () => t('Axial')], ['coronal', () => t('Coronal')], ['sagittal', () => t('Sagittal')],
];

interface Shown {
  view: View;
  layer: Layer;
  pixels: Pixels;
  camera: NativeView;
  window: [number, number];
}

export class PriorPane {
  readonly element = h('section', { class: 'prior-pane', attrs: { 'aria-label': t('Earlier study') } });
  private readonly canvas = h('canvas', { class: 'prior-image' });
  private readonly image = h('div', { class: 'prior-canvas', attrs: { tabindex: '0', role: 'img', 'aria-label': t('Earlier study: wheel or arrow keys scroll, drag changes the window') } }, this.canvas);
  private readonly note = h('div', { class: 'prior-note' });
  private readonly corner = h('div', { class: 'pane-corner pane-corner--bl' });
  private readonly letters = (['top', 'bottom', 'left', 'right'] as const).map((side) => h('span', { class: `pane-letter pane-letter--${side}` }));
  private readonly bar = h('div', { class: 'prior-bar' });
  private prior: Prior | null = null;
  private stream: Stream | null = null;
  private loaded = new Loaded();
  private shown: Shown | null = null;
  private frame = 0;
  private drawn = '';
  /** Grows with every opening, so that a late answer of another prior is not taken. */
  private turn = 0;

  constructor(
    private readonly api: Api,
    private readonly changed: () => void,
  ) {
    this.element.hidden = true;
    this.image.append(...this.letters, this.corner, this.note);
    this.install();
    new ResizeObserver(() => this.schedule()).observe(this.image);
  }

  get study(): number | null {
    return this.prior?.study ?? null;
  }

  /** Opens a prior that is read in another case, on the series most like `like`. */
  async open(prior: Prior, like: Layer): Promise<void> {
    this.close();
    if (!prior.view || prior.case === null) return;
    const turn = ++this.turn;
    this.prior = prior;
    this.element.hidden = false;
    this.element.replaceChildren(this.banner(prior, ''), this.bar, this.image);
    this.bar.replaceChildren();
    this.say(t('Opening the earlier study …'));
    this.changed();
    try {
      const view = await this.api.viewOf(prior.view);
      if (turn !== this.turn) return;
      const wrong = mismatch({ caseId: prior.case, patientId: prior.patient.patient_id, issuer: prior.patient.issuer }, view);
      if (wrong) return this.say(wrong, 'bad');
      const series = view.layers.filter((layer) => layer.kind === 'series' && layer.volume.main && isImage(layer));
      const first = series.find((layer) => layer.modality === like.modality && layer.role === like.role)
        ?? series.find((layer) => layer.modality === like.modality) ?? series[0];
      if (!first) return this.say(t('The earlier study has no images that could be shown.'), 'warn');
      this.element.replaceChildren(this.banner(prior, view.patient.name, view.patient.synthetic), this.bar, this.image);
      this.show(view, series, first);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.turn) this.say(error.message, 'bad', button(t('Try again'), () => void this.open(prior, like)));
    }
  }

  close(): void {
    this.turn += 1;
    this.stream?.close();
    this.stream = this.shown = this.prior = null;
    this.element.hidden = true;
    this.changed();
  }

  private banner(prior: Prior, name: string, synthetic = false): HTMLElement {
    const about = [prior.description, prior.modalities.join(' ')].filter(Boolean).join(' · ');
    return h('header', { class: 'prior-banner', attrs: { role: 'note' } },
      h('span', { class: 'prior-word', text: t('PRIOR {date}', { date: prior.date || t('without a date') }) }),
      h('span', { class: 'grow', text: about, title: prior.reason }),
      h('span', { class: 'mono', text: `${name} ${prior.patient.patient_id}`.trim(), title: prior.linked ? t('Of a linked patient: both sites say that it is the same person') : '' }),
      prior.linked ? h('span', { class: 'badge badge--warn', text: t('Linked patient') }) : null,
      synthetic ? h('span', { class: 'badge badge--synthetic', text: 'SYNTHETIC' }) : null,
      button('×', () => this.close(), { class: 'btn btn--small btn--quiet', title: t('Close the earlier study'), attrs: { 'aria-label': t('Close the earlier study') } }),
    );
  }

  private show(view: View, series: readonly Layer[], layer: Layer): void {
    this.stream?.close();
    this.loaded = new Loaded();
    this.drawn = '';
    const [nz, ny, nx] = layer.shape;
    const grid = new Grid(layer.shape, layer.affine);
    const before = this.shown;
    this.shown = {
      view, layer, pixels: layer.dtype === 'int16' ? new Int16Array(nz * ny * nx) : new Uint8Array(nz * ny * nx),
      camera: new NativeView(grid, before?.camera.plane ?? 'axial', grid.centre), window: [...firstWindow(layer, view.case.pathway)],
    };
    this.controls(view, series);
    const stream = new Stream(view.stream.path, (message) => stream === this.stream && this.onStream(message));
    this.stream = stream;
    stream.want(view.layers, [layer], { layer: layer.id, slice: this.slice });
    this.say('');
    this.schedule();
  }

  private controls(view: View, series: readonly Layer[]): void {
    const { layer, camera } = this.shown!;
    const select = h('select', { class: 'input', attrs: { 'aria-label': t('Series of the earlier study') } },
      ...series.map((one) => h('option', { text: one.label, attrs: { value: String(one.id), ...(one.id === layer.id ? { selected: '' } : {}) } })));
    select.addEventListener('change', () => {
      const chosen = series.find(({ id }) => String(id) === select.value);
      if (chosen) this.show(view, series, chosen);
    });
    const planes = PLANES.map(([plane, name]) => button(name(), () => {
      camera.plane = plane;
      camera.fit();
      this.controls(view, series);
      this.schedule();
    }, { attrs: { 'aria-pressed': String(camera.plane === plane) } }));
    this.bar.replaceChildren(select, ...planes, h('span', { class: 'badge badge--warn', text: t('Not registered: cursor not linked'), title: t('This study lies in its own space. Register it with the current images to link the cursors.') }));
  }

  /** Of the acquisition, under the cursor: the stream begins there. */
  private get slice(): number {
    const { camera, layer } = this.shown!;
    return Math.min(Math.max(Math.round(camera.grid.toIndex(camera.snapped)[2]), 0), layer.shape[0] - 1);
  }

  private onStream(message: FromStream): void {
    const { shown } = this;
    if (!shown) return;
    if (message.type === 'slice' && message.layer === shown.layer.id) {
      const size = shown.layer.shape[1] * shown.layer.shape[2];
      for (const k of this.loaded.add(shown.layer, message.first, message.last, message.level)) shown.pixels.set(message.pixels, k * size);
      this.schedule();
    } else if (message.type === 'state') {
      this.say(message.state === 'offline' ? message.detail : message.state === 'reconnecting' ? t('Connection lost, trying again …') : '', 'bad');
    } else if (message.type === 'error') this.say(message.detail, 'bad');
  }

  private say(text: string, level: 'muted' | 'warn' | 'bad' = 'muted', ...more: Node[]): void {
    this.note.replaceChildren(...(text ? [h('span', { class: level === 'muted' ? 'muted' : `badge badge--${level}`, text }), ...more] : []));
  }

  // ---- drawing ------------------------------------------------------------------------------

  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { shown } = this;
    const { clientWidth: width, clientHeight: height } = this.image;
    if (!shown || !width || !height) return;
    const { camera, layer } = shown;
    camera.resize(width, height);
    const raster = rasterOf((at) => camera.toWorld(at), width, height);
    const stored = (value: number): number => (value - layer.intercept) / layer.slope;
    const [wide, centre] = shown.window;
    const tone = { lower: stored(centre - wide / 2), upper: stored(centre + wide / 2), colormap: defaultColormap(layer, true), invert: defaultInvert(layer, true) };
    const key = JSON.stringify([raster, tone, this.loaded.stamp(layer)]);
    if (key !== this.drawn) {
      this.drawn = key;
      [this.canvas.width, this.canvas.height] = [raster.width, raster.height];
      const values = samplePlane(camera.grid, shown.pixels, raster);
      this.blank(values, raster.width, raster.height);
      this.canvas.getContext('2d')?.putImageData(new ImageData(paintWhere(values, tone, null, raster), raster.width, raster.height), 0, 0);
    }
    this.words(shown);
  }

  /** Slices that are not here are hatched as what lies outside is, never drawn as tissue. */
  private blank(values: Float32Array, width: number, height: number): void {
    const { camera, layer } = this.shown!;
    const gone = this.loaded.missing(layer);
    if (!gone.length) return;
    const index = (x: number, y: number): number => camera.grid.toIndex(camera.toWorld([x + 0.5, y + 0.5]))[2];
    const [start, across, down] = [index(0, 0), (index(width, 0) - index(0, 0)) / width, (index(0, height) - index(0, 0)) / height];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const k = Math.round(start + across * x + down * y);
        if (gone.some(([first, last]) => k >= first && k <= last)) values[y * width + x] = NaN;
      }
    }
  }

  private words({ camera, layer, window: [wide, centre] }: Shown): void {
    const { right, up } = camera.pane;
    const sides: readonly Vec3[] = [up, scale(up, -1), scale(right, -1), right];
    this.letters.forEach((letter, n) => setText(letter, directionLetters(sides[n]!)));
    const { count } = camera.pane;
    const slice = slicePosition(camera.grid, camera.pane, camera.cursor);
    const coarse = this.loaded.complete(layer) ? '' : ` · ${t('still loading: coarse preview')}`;
    setText(this.corner, `${layer.label} · ${slice} / ${count} · W ${shown(wide, wide)}  L ${shown(centre, wide)} ${unitLabel(layer.unit)}${coarse}`);
  }

  // ---- hands --------------------------------------------------------------------------------

  private step(slices: number): void {
    const { shown } = this;
    if (!shown) return;
    shown.camera.cursor = stepPoint(shown.camera.grid, shown.camera.pane, shown.camera.cursor, slices);
    this.stream?.focus({ layer: shown.layer.id, slice: this.slice });
    this.schedule();
  }

  private install(): void {
    const { image } = this;
    let drag: 'window' | 'zoom' | 'pan' | null = null;
    let last: Point2 = [0, 0];
    let start: Point2 = [0, 0];
    let wheel = 0;
    const where = (event: MouseEvent): Point2 => {
      const box = image.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    image.addEventListener('pointerdown', (event) => {
      if ((event.target as Element).closest('button')) return;
      image.focus({ preventScroll: true });
      start = last = where(event);
      drag = event.button === 1 ? 'pan' : event.button === 2 ? 'zoom' : 'window';
      image.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    image.addEventListener('pointermove', (event) => {
      if (!drag || !this.shown) return;
      const at = where(event);
      const [dx, dy] = [at[0] - last[0], at[1] - last[1]];
      last = at;
      const { camera, window: now, layer } = this.shown;
      if (drag === 'pan') camera.panBy(dx, dy);
      else if (drag === 'zoom') camera.zoomBy(Math.exp(-dy / 150), start);
      else {
        const reach = Math.max(layer.window[0], 1e-6) / 300;
        this.shown.window = [Math.max(now[0] + dx * reach, reach), now[1] + dy * reach];
      }
      this.schedule();
    });
    for (const end of ['pointerup', 'pointercancel'] as const) image.addEventListener(end, () => (drag = null));
    image.addEventListener('wheel', (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.altKey) {
        this.shown?.camera.zoomBy(Math.exp(-event.deltaY / 400), where(event));
        return this.schedule();
      }
      wheel += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / WHEEL_PX : event.deltaY;
      const notch = Math.abs(event.deltaY) >= WHEEL_PX || event.deltaMode !== WheelEvent.DOM_DELTA_PIXEL;
      const slices = notch ? Math.sign(event.deltaY) : Math.trunc(wheel);
      wheel = notch ? 0 : wheel - slices;
      if (slices) this.step(slices * (event.shiftKey ? 5 : 1));
    }, { passive: false });
    image.addEventListener('keydown', (event) => {
      const slices = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
      if (slices === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      this.step(slices);
      event.preventDefault();
      event.stopPropagation();
    });
    image.addEventListener('contextmenu', (event) => event.preventDefault());
    image.addEventListener('auxclick', (event) => event.preventDefault());
  }
}
