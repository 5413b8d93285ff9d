/** The viewer of browsers and lines that cannot carry voxels: three planes drawn by the server. */
import { Grid, type Vec3 } from '../affine';
import { t } from '../i18n';
import { toast } from '../pages/toast';
import type { Api } from './api';
import { ApiError } from './api';
import { badgeLevel, badgeText } from './badge';
import { button, h, setText } from './dom';
import { paneAxes, type Plane, PLANES, slicePosition } from './orientation';
import { firstWindow, isPet, presetsOf, shown as figure, unitLabel } from './presets';
import { pointAt, ServerPicture, type Shown, type Wish } from './server-picture';
import { shown as onePerSeries } from './siblings';
import type { Layer, View } from './types';

export type WhyWeak = 'webgl' | 'line' | 'chosen';

const SIZES = { least: 128, most: 768 };
const NAMES: Record<Plane, string> = { axial: t('Axial'), sagittal: t('Sagittal'), coronal: t('Coronal') };
const EDGES = ['top', 'right', 'bottom', 'left'] as const;

function words(why: WhyWeak): string {
  switch (why) {
    case 'webgl':
      return t('Drawn by the server, lossy: this browser has no WebGL 2. Measuring and comparing need the full viewer.');
    case 'line':
      return t('Drawn by the server, lossy: the line is too slow for the images themselves.');
    case 'chosen':
      return t('Drawn by the server, lossy: as you chose.');
  }
}

/** Fractions of a picture that is fitted into its element as a whole. */
function insideContained(image: HTMLImageElement, x: number, y: number): [number, number] {
  const { clientWidth, clientHeight, naturalWidth, naturalHeight } = image;
  const scale = Math.min(clientWidth / naturalWidth, clientHeight / naturalHeight);
  const [width, height] = [naturalWidth * scale, naturalHeight * scale];
  return [(x - (clientWidth - width) / 2) / width, (y - (clientHeight - height) / 2) / height];
}

class WeakPane {
  readonly element: HTMLElement;
  position: number | null = null;
  private readonly image = h('img', { class: 'weak-image', attrs: { alt: '', draggable: 'false' } });
  private readonly title = h('div', { class: 'pane-title' });
  private readonly windows = h('div', { class: 'pane-windows' });
  private readonly badges = h('div', { class: 'pane-badges' });
  private readonly flag = h('span', { class: 'badge badge--warn', text: t('Lossy, from the server') });
  private readonly problem = h('div', { class: 'weak-problem', attrs: { role: 'alert' } });
  private readonly letters = EDGES.map((edge) => h('span', { class: `pane-letter pane-letter--${edge}` }));
  private readonly slider: HTMLInputElement;
  private readonly picture: ServerPicture;
  private latest: Shown | null = null;

  constructor(
    readonly plane: Plane,
    caseId: number,
    private readonly asked: () => Omit<Wish, 'plane' | 'position' | 'size'>,
    probe: (point: Vec3) => void,
  ) {
    this.picture = new ServerPicture(caseId, (shown) => this.show(shown), (why) => this.fail(why));
    this.slider = h('input', { class: 'weak-slider', attrs: { type: 'range', min: '1', 'aria-label': t('Slice of the {plane} plane', { plane: NAMES[plane] }) } });
    this.slider.addEventListener('input', () => this.move(Number(this.slider.value)));
    this.element = h(
      'div',
      { class: 'pane weak-pane', data: { pane: plane }, attrs: { role: 'group', 'aria-label': NAMES[plane] } },
      this.image,
      ...this.letters,
      h('div', { class: 'pane-corner pane-corner--tl' }, this.title, h('div', { class: 'pane-flags' }, this.flag), this.windows),
      h('div', { class: 'pane-corner pane-corner--tr' }, this.badges),
      this.problem,
      this.slider,
    );
    this.element.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.move((this.position ?? 1) + Math.sign(event.deltaY));
    }, { passive: false });
    this.image.addEventListener('click', (event) => {
      if (!this.latest) return;
      const [x, y] = insideContained(this.image, event.offsetX, event.offsetY);
      if (Math.min(x, y) >= 0 && Math.max(x, y) <= 1) probe(pointAt(this.latest.sides, x, y));
    });
  }

  move(position: number): void {
    const count = this.latest?.count ?? position;
    this.position = Math.min(Math.max(position, 1), count);
    // The picture on screen is of another slice until the new one is there.
    if (this.latest) setText(this.title, `${NAMES[this.plane]} ${this.latest.position} / ${count} → ${this.position}`);
    this.slider.value = String(this.position);
    void this.ask();
  }

  ask(): Promise<void> {
    const side = Math.max(this.element.clientWidth, this.element.clientHeight) * Math.min(window.devicePixelRatio, 1.5);
    // In steps, so that a window that is dragged does not make every picture new.
    const size = Math.min(Math.max(Math.ceil(side / 128) * 128, SIZES.least), SIZES.most);
    return this.picture.ask({ plane: this.plane, position: this.position, size, ...this.asked() });
  }

  private show(shown: Shown): void {
    this.latest = shown;
    this.position ??= shown.position;
    this.problem.hidden = true;
    this.image.src = shown.url;
    this.image.alt = t('{plane} plane, slice {position} of {count}', { plane: NAMES[this.plane], position: shown.position, count: shown.count });
    this.slider.max = String(shown.count);
    this.slider.value = String(this.position);
    // What is on screen is this picture's slice, also while the next one is on its way.
    setText(this.title, `${NAMES[this.plane]} ${shown.position} / ${shown.count}`);
    this.element.dataset['position'] = String(shown.position);
    shown.letters.forEach((letter, n) => setText(this.letters[n]!, letter));
  }

  /** A picture of another question must not stand under new words. */
  private fail(why: string): void {
    this.latest = null;
    this.image.removeAttribute('src');
    this.letters.forEach((letter) => setText(letter, ''));
    this.problem.hidden = false;
    setText(this.problem, why);
  }

  label(windows: string, badges: Node[]): void {
    setText(this.windows, windows);
    this.badges.replaceChildren(...badges);
  }

  close(): void {
    this.picture.close();
  }
}

export class WeakViewer {
  private readonly element: HTMLElement;
  private readonly panes: WeakPane[];
  private readonly base = h('select', { class: 'input', attrs: { 'aria-label': t('Image') } });
  private readonly over = h('select', { class: 'input', attrs: { 'aria-label': t('Layer over the image') } });
  private readonly preset = h('select', { class: 'input', attrs: { 'aria-label': t('Window preset') } });
  private readonly values = h('div', { class: 'weak-values num', attrs: { role: 'status' } });
  private baseId: number;
  private overId: number | null;
  private readonly presets = new Map<number, { width: number; centre: number }>();

  /** `back`: to the full viewer; null where this browser has none. */
  constructor(
    root: HTMLElement,
    private readonly api: Api,
    private view: View,
    readonly why: WhyWeak,
    back: (() => void) | null,
  ) {
    this.baseId = view.reference ?? view.layers[0]!.id;
    this.overId = this.overlays.find(isPet)?.id ?? null;
    this.panes = PLANES.map((plane) => new WeakPane(plane, view.case.id, () => this.asked(), (point) => void this.probe(point)));
    this.base.addEventListener('change', () => {
      this.baseId = Number(this.base.value);
      if (this.baseId !== this.view.reference) this.overId = null;
      for (const pane of this.panes) pane.position = null;
      void this.update();
    });
    this.over.addEventListener('change', () => {
      this.overId = this.over.value === '' ? null : Number(this.over.value);
      void this.update();
    });
    this.preset.addEventListener('change', () => {
      const chosen = presetsOf(this.layer(this.baseId)!, this.view.case.pathway)[Number(this.preset.value)];
      if (chosen) this.presets.set(this.baseId, chosen);
      void this.update();
    });
    const bar = h('div', { class: 'viewer-toolbar', attrs: { role: 'toolbar', 'aria-label': t('Viewer tools') } }, h('div', { class: 'tool-group' }, this.base, this.over, this.preset));
    if (back) bar.append(button(t('Full viewer'), back, { title: t('Load the images themselves and draw them here'), data: { action: 'full-viewer' } }));
    bar.append(this.values);
    this.element = h('div', { class: 'weak-viewer' },
      bar,
      h('div', { class: 'notice notice--warn weak-banner', attrs: { role: 'status' } }, h('span', { text: words(why) })),
      h('div', { class: 'weak-grid' }, ...this.panes.map((pane) => pane.element)),
      h('div', { class: 'viewer-status' }, h('span', { class: 'not-diagnostic', text: t('Not for diagnostic use') })),
    );
    root.replaceChildren(this.element);
    root.classList.add('viewer');
    void this.update();
  }

  private layer(id: number): Layer | undefined {
    return this.view.layers.find((layer) => layer.id === id);
  }

  private get listed(): Layer[] {
    return onePerSeries(this.view.layers, {});
  }

  /** What may lie over the reference: fused, and not the reference itself. */
  private get overlays(): Layer[] {
    return this.listed.filter((layer) => layer.id !== this.view.reference && layer.fusion.fused);
  }

  private get drawn(): Layer[] {
    return [this.baseId, this.overId].map((id) => (id === null ? undefined : this.layer(id))).filter((layer): layer is Layer => layer !== undefined);
  }

  private window(layer: Layer): { width: number; centre: number } {
    const [width, centre] = firstWindow(layer, this.view.case.pathway);
    return this.presets.get(layer.id) ?? { width, centre };
  }

  private asked(): Omit<Wish, 'plane' | 'position' | 'size'> {
    return { layers: this.drawn.map((layer) => layer.id), windows: this.drawn.map((layer) => ({ layer: layer.id, ...this.window(layer) })) };
  }

  /** A newer view: layers, decisions and alignments may have changed. */
  refresh(view: View): void {
    this.view = view;
    if (!this.layer(this.baseId)) this.baseId = view.reference ?? view.layers[0]!.id;
    if (this.overId !== null && !this.overlays.some((layer) => layer.id === this.overId)) this.overId = null;
    void this.update();
  }

  private async update(): Promise<void> {
    const base = this.layer(this.baseId)!;
    const isReference = base.id === this.view.reference;
    const options = (layers: readonly Layer[]): HTMLOptionElement[] => layers.map((layer) => h('option', { text: layer.label, attrs: { value: String(layer.id) } }));
    this.base.replaceChildren(...options(this.listed.filter((layer) => layer.kind === 'series')));
    this.base.value = String(base.id);
    this.over.replaceChildren(h('option', { text: t('Nothing over it'), attrs: { value: '' } }), ...(isReference ? options(this.overlays) : []));
    this.over.value = this.overId === null ? '' : String(this.overId);
    this.over.disabled = !isReference;
    const presets = presetsOf(base, this.view.case.pathway);
    const now = this.window(base);
    this.preset.replaceChildren(h('option', { text: t('Custom'), attrs: { value: '' } }), ...presets.map((p, n) => h('option', { text: p.name, attrs: { value: String(n) } })));
    const chosen = presets.findIndex((p) => Math.abs(p.width - now.width) < 1e-6 && Math.abs(p.centre - now.centre) < 1e-6);
    this.preset.value = chosen < 0 ? '' : String(chosen);
    this.values.textContent = '';
    const windows = this.drawn.map((layer) => {
      const { width, centre } = this.window(layer);
      return `${layer.label} ${t('W {width} C {centre}', { width: figure(width, width), centre: figure(centre, width) })} ${unitLabel(layer.unit)}`;
    });
    const synthetic = this.view.patient.synthetic || this.drawn.some((layer) => layer.synthetic);
    const badges = this.drawn.map((layer) => h('span', { class: `badge badge--${badgeLevel(layer)}`, text: badgeText(layer), data: { layer: String(layer.id) } }));
    for (const pane of this.panes) pane.label(windows.join('\n'), [...(synthetic ? [h('span', { class: 'badge badge--synthetic', text: 'SYNTHETIC' })] : []), ...badges.map((badge) => badge.cloneNode(true))]);
    // One after another at first: the server writes the access down with the first.
    for (const pane of this.panes) await pane.ask();
  }

  /** The three planes through a point of the reference space, or through a finding. */
  goto(to: Vec3 | { finding: number }): void {
    const base = this.layer(this.baseId)!;
    const point = 'finding' in to ? this.view.findings.find(({ id }) => id === to.finding)?.position : to;
    if (!point || !base.fusion.fused) return;
    const grid = new Grid(base.shape, base.affine).moved(base.matrix);
    const axes = paneAxes(grid);
    for (const pane of this.panes) pane.move(slicePosition(grid, axes[pane.plane], point));
  }

  /** The values at a point, as the server knows them. */
  private async probe(point: Vec3): Promise<void> {
    if (!this.layer(this.baseId)?.fusion.fused) return toast(t('This series is not registered: positions here are not those of the reference.'), 'warn');
    try {
      const { values } = await this.api.probe(point, this.drawn.map((layer) => layer.id));
      this.values.textContent = values.map((value) => `${value.label} ${value.text}`).join('   ');
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
    }
  }

  /** Takes it off the page. */
  close(): void {
    for (const pane of this.panes) pane.close();
    this.element.remove();
  }

  /** For tests: what each plane shows. */
  report(): object {
    return { weak: this.why, layers: this.drawn.map((layer) => layer.id), positions: Object.fromEntries(this.panes.map((pane) => [pane.plane, pane.position])) };
  }
}
