/** The elements of one pane and the text over its image. */
import { type Grid, type Vec3 } from '../affine';
import { t } from '../i18n';
import { badgeButton } from './badge';
import { type ColormapName, cssGradient } from './colormaps';
import { h, setText } from './dom';
import { edgeLetters, type PaneAxes, type Plane } from './orientation';
import { isImage, isPet, shown, unitLabel } from './presets';
import type { PaneName } from './stage';
import type { LayerSettings } from './state';
import type { Layer } from './types';

export const PLANE_NAMES: Record<Plane, () => string> = { axial: () => t('Axial'), coronal: () => t('Coronal'), sagittal: () => t('Sagittal') };
const AXIS_NAMES: Record<Plane, string> = { axial: 'z', coronal: 'y', sagittal: 'x' };
const AXIS: Record<Plane, 0 | 1 | 2> = { axial: 2, coronal: 1, sagittal: 0 };

export interface PaneText {
  plane: Plane;
  /** What the protocol calls the pane, where base and overlays do not say enough. */
  heading?: string | undefined;
  axes: PaneAxes;
  /** Screen directions as drawn, where they are not those of `axes`. */
  drawn?: { right: Vec3; up: Vec3 };
  /** Which kind of plane, when it is not the plain one: oblique, patient, slab. */
  kind?: readonly string[];
  grid: Grid;
  point: Vec3;
  position: number;
  zoom: number;
  mmPerPixel: number;
  base: Layer;
  baseSettings: LayerSettings;
  overlays: { layer: Layer; settings: LayerSettings; trying: string | null }[];
  /** The layer whose registration links this pane to the reference; its badge is shown. */
  linkedTo?: { layer: Layer; trying: string | null };
  alone: boolean;
  coarse: boolean;
  synthetic: boolean;
  /** What the title says instead of "fused", and remarks with their weight, while a pair is compared. */
  compare: { title: string; notes: readonly (readonly ['info' | 'warn', string])[] } | null;
  /** Coordinates of the linked cursor, in words. */
  cursor: string | null;
  onBadge: (layer: Layer) => void;
  onBack: () => void;
}

export interface ProjectionText {
  base: Layer;
  settings: LayerSettings;
  letters: Record<'top' | 'bottom' | 'left' | 'right', string>;
  title: string;
  place: string;
  flags: readonly (readonly [string, string])[];
  trying: string | null;
  bar: { mm: number; pixels: number };
  onBadge: (layer: Layer) => void;
}

/** A round length that fills about a fifth of the pane. */
export function scaleBar(mmPerPixel: number, width: number): { mm: number; pixels: number } {
  const target = mmPerPixel * width * 0.25;
  const choices = [1, 2, 5, 10, 20, 50, 100, 200];
  const mm = choices.filter((choice) => choice <= target).pop() ?? 1;
  return { mm, pixels: mm / mmPerPixel };
}

/** What a blend of images is: "fused" only where all of them lie as recorded. */
export function blendTitle({ base, overlays }: Pick<PaneText, 'base' | 'overlays'>): string {
  const images = overlays.filter(({ layer }) => isImage(layer));
  if (images.some(({ layer, trying }) => trying !== null || !layer.fusion.fused)) return t('tried, not on record');
  return images.length ? t('fused') : base.label;
}

export class Pane {
  readonly element: HTMLElement;
  readonly image: HTMLDivElement;
  /** A slab is drawn here, instead of the image below; then comparison modes; then marks. */
  readonly slab: HTMLCanvasElement;
  readonly compare: HTMLCanvasElement;
  readonly marks: HTMLCanvasElement;
  private readonly title = h('div', { class: 'pane-title' });
  private readonly flags = h('div', { class: 'pane-flags' });
  private readonly badges = h('div', { class: 'pane-badges' });
  private readonly cursor = h('div', { class: 'pane-cursor num' });
  private readonly windows = h('div', { class: 'pane-windows num' });
  private readonly where = h('span', {});
  private readonly detail = h('span', { class: 'pane-detail' });
  private readonly place = h('div', { class: 'pane-place num' }, this.where, this.detail);
  private readonly scale = h('div', { class: 'pane-scale' });
  private readonly scaleText = h('span', { class: 'num' });
  private readonly bars = h('div', { class: 'pane-bars' });
  private readonly letters: Record<'top' | 'bottom' | 'left' | 'right', HTMLElement>;
  private badgeKey = '';
  private barKey = '';
  private flagKey = '';

  constructor(public name: PaneName) {
    const key = name;
    this.image = h('div', { class: 'pane-image' });
    this.slab = h('canvas', { class: 'pane-slab' });
    this.slab.hidden = true;
    this.compare = h('canvas', { class: 'pane-compare' });
    this.compare.hidden = true;
    this.marks = h('canvas', { class: 'pane-marks' });
    const letter = (edge: string): HTMLElement => h('div', { class: `pane-letter pane-letter--${edge}` });
    this.letters = { top: letter('top'), bottom: letter('bottom'), left: letter('left'), right: letter('right') };
    this.scale.append(this.scaleText);
    this.element = h('div', { class: 'pane', data: { pane: key }, attrs: { role: 'group', 'aria-label': key, tabindex: '0' } },
      this.image,
      this.slab,
      this.compare,
      this.marks,
      ...Object.values(this.letters),
      h('div', { class: 'pane-corner pane-corner--tl' }, this.title, this.flags),
      h('div', { class: 'pane-corner pane-corner--tr' }, this.badges),
      h('div', { class: 'pane-corner pane-corner--bl' }, this.cursor, this.windows),
      h('div', { class: 'pane-corner pane-corner--br' }, this.place, this.scale),
      this.bars,
    );
  }

  /** Another pane of another layout stands here from now on. */
  rename(name: PaneName): void {
    this.name = name;
    this.element.dataset['pane'] = name;
  }

  update(text: PaneText): void {
    const letters = edgeLetters(text.drawn ?? text.axes);
    for (const edge of ['top', 'bottom', 'left', 'right'] as const) setText(this.letters[edge], letters[edge]);
    const plane = [PLANE_NAMES[text.plane](), ...(text.kind ?? [])].join(', ');
    const title = text.compare?.title ?? [text.heading, blendTitle(text)].filter(Boolean).join(' · ');
    this.element.setAttribute('aria-label', `${plane}, ${title}`);
    setText(this.title, `${plane} · ${title}`);
    setText(this.cursor, text.cursor ?? '');
    this.updateFlags(text);
    this.updateBadges(text);
    this.updateWindows(text);
    const millimetres = text.point[AXIS[text.plane]].toFixed(1).replace('-', '−');
    setText(this.where, `${text.position} / ${text.axes.count}   ${AXIS_NAMES[text.plane]} ${millimetres} mm`);
    setText(this.detail, t('\n{step} mm slices   ×{zoom}', { step: text.axes.step.toFixed(1), zoom: text.zoom.toFixed(2) }));
    this.showScale(scaleBar(text.mmPerPixel, this.element.clientWidth));
    this.showBars([...(isPet(text.base) ? [{ layer: text.base, settings: text.baseSettings }] : []), ...text.overlays]);
  }

  /** The text of a pane that shows a projection of the whole volume. */
  updateProjection(text: ProjectionText): void {
    for (const edge of ['top', 'bottom', 'left', 'right'] as const) setText(this.letters[edge], text.letters[edge]);
    this.element.setAttribute('aria-label', text.title);
    setText(this.title, text.title);
    this.showFlags(text.flags);
    this.showBadges([{ layer: text.base, trying: text.trying }], text.onBadge, null);
    setText(this.windows, windowLine(text.base, text.settings, true));
    setText(this.where, text.place);
    this.showScale(text.bar);
    this.showBars([{ layer: text.base, settings: text.settings }]);
  }

  private showScale(bar: { mm: number; pixels: number }): void {
    setText(this.scaleText, bar.mm >= 10 ? `${bar.mm / 10} cm` : `${bar.mm} mm`);
    this.scale.style.width = `${bar.pixels}px`;
  }

  private updateFlags(text: PaneText): void {
    const lossy = [text.base, ...text.overlays.map((o) => o.layer)].filter((layer) => layer.lossy);
    const flags: [string, string][] = [];
    if (text.synthetic) flags.push(['synthetic', 'SYNTHETIC']);
    for (const layer of lossy) flags.push(['warn', t('{layer} lossy {ratio}', { layer: layer.label, ratio: layer.lossy })]);
    for (const [level, words] of text.compare?.notes ?? []) flags.push([level, words]);
    if (text.coarse) flags.push(['info', t('Coarse preview')]);
    this.showFlags(flags);
    // White PET: its text is dark.
    this.element.classList.toggle('is-light', text.baseSettings.invert && text.baseSettings.colormap === 'grey');
  }

  private showFlags(flags: readonly (readonly [string, string])[]): void {
    const key = JSON.stringify(flags);
    if (key === this.flagKey) return;
    this.flagKey = key;
    this.flags.replaceChildren(...flags.map(([level, words]) => h('span', { class: `badge badge--${level}`, text: words })));
  }

  private updateBadges(text: PaneText): void {
    const series = text.linkedTo ? [text.linkedTo] : text.overlays.filter(({ layer }) => isImage(layer));
    const ai = text.overlays.filter(({ layer }) => !isImage(layer)).slice(0, 1);
    this.showBadges([...series, ...ai], text.onBadge, text.alone ? text.onBack : null);
  }

  private showBadges(layers: readonly { layer: Layer; trying: string | null }[], onBadge: (layer: Layer) => void, onBack: (() => void) | null): void {
    const key = JSON.stringify([onBack !== null, layers.map(({ layer, trying }) => [layer.id, layer.fusion, trying])]);
    if (key === this.badgeKey) return;
    this.badgeKey = key;
    const badges: HTMLElement[] = layers.map(({ layer, trying }) => badgeButton(layer, () => onBadge(layer), trying));
    if (onBack) {
      const back = h('button', { class: 'btn btn--small', text: t('Back to fused view'), attrs: { type: 'button' } });
      back.addEventListener('click', onBack);
      badges.push(h('span', { class: 'badge badge--info', text: t('Shown alone, nothing fused') }), back);
    }
    this.badges.replaceChildren(...badges);
  }

  private updateWindows(text: PaneText): void {
    const lines = [windowLine(text.base, text.baseSettings, true), ...text.overlays.map((o) => windowLine(o.layer, o.settings, false))];
    setText(this.windows, lines.join('\n'));
  }

  private showBars(layers: readonly { layer: Layer; settings: LayerSettings }[]): void {
    const shownBars = layers.filter(({ layer }) => layer.kind !== 'segmentation');
    const key = JSON.stringify(shownBars.map(({ layer, settings }) => [layer.id, settings.colormap, settings.invert, settings.width, settings.centre, settings.threshold]));
    if (key === this.barKey) return;
    this.barKey = key;
    this.bars.replaceChildren(...shownBars.map(({ layer, settings }) => colourBar(layer, settings)));
  }
}

function windowLine(layer: Layer, settings: LayerSettings, isBase: boolean): string {
  const unit = unitLabel(layer.unit);
  const opacity = isBase ? '' : `   ${Math.round(settings.opacity * 100)} %`;
  if (layer.kind === 'segmentation') return `${layer.label}${opacity}`;
  const from = !isBase && settings.threshold != null ? `   ≥ ${shown(settings.threshold, settings.width)}` : '';
  return `${layer.label}   W ${shown(settings.width, settings.width)}  L ${shown(settings.centre, settings.width)}${unit ? ` ${unit}` : ''}${from}${opacity}`;
}

function colourBar(layer: Layer, settings: LayerSettings): HTMLElement {
  const bar = h('div', { class: 'colour-bar-fill' });
  bar.style.background = cssGradient(settings.colormap as ColormapName, settings.invert, 'to top');
  const top = shown(settings.centre + settings.width / 2, settings.width);
  const bottom = shown(settings.centre - settings.width / 2, settings.width);
  const unit = unitLabel(layer.unit);
  return h('div', { class: 'colour-bar', title: t('{label} colour scale', { label: layer.label }) },
    h('span', { class: 'num', text: top }),
    bar,
    h('span', { class: 'num', text: bottom }),
    h('span', { class: 'colour-bar-unit', text: unit || (layer.kind === 'heatmap' ? 'prob.' : layer.label) }),
  );
}
