/** The elements of one pane and the text over its image. */
import { type Grid, type Vec3 } from '../affine';
import { t } from '../i18n';
import { badgeButton } from './badge';
import { type ColormapName, cssGradient } from './colormaps';
import { h, setText } from './dom';
import { edgeLetters, type PaneAxes } from './orientation';
import { isImage, shown, unitLabel } from './presets';
import type { PaneName } from './stage';
import type { LayerSettings } from './state';
import type { Layer } from './types';

const TITLES: Record<PaneName, string> = { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' };
const AXIS_NAMES: Record<PaneName, string> = { axial: 'z', coronal: 'y', sagittal: 'x' };
const AXIS: Record<PaneName, 0 | 1 | 2> = { axial: 2, coronal: 1, sagittal: 0 };

export interface PaneText {
  axes: PaneAxes;
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
  /** Comparison modes are drawn here, between image and marks. */
  readonly compare: HTMLCanvasElement;
  readonly marks: HTMLCanvasElement;
  private readonly title = h('div', { class: 'pane-title' });
  private readonly flags = h('div', { class: 'pane-flags' });
  private readonly badges = h('div', { class: 'pane-badges' });
  private readonly cursor = h('div', { class: 'pane-cursor num' });
  private readonly windows = h('div', { class: 'pane-windows num' });
  private readonly place = h('div', { class: 'pane-place num' });
  private readonly scale = h('div', { class: 'pane-scale' });
  private readonly scaleText = h('span', { class: 'num' });
  private readonly bars = h('div', { class: 'pane-bars' });
  private readonly letters: Record<'top' | 'bottom' | 'left' | 'right', HTMLElement>;
  private badgeKey = '';
  private barKey = '';
  private flagKey = '';

  /** `key`: how the page names the pane, where that is not the plane it shows. */
  constructor(
    public name: PaneName,
    key: string = name,
  ) {
    this.image = h('div', { class: 'pane-image' });
    this.compare = h('canvas', { class: 'pane-compare' });
    this.compare.hidden = true;
    this.marks = h('canvas', { class: 'pane-marks' });
    const letter = (edge: string): HTMLElement => h('div', { class: `pane-letter pane-letter--${edge}` });
    this.letters = { top: letter('top'), bottom: letter('bottom'), left: letter('left'), right: letter('right') };
    this.scale.append(this.scaleText);
    this.element = h('div', { class: 'pane', data: { pane: key }, attrs: { role: 'group', 'aria-label': TITLES[name], tabindex: '0' } },
      this.image,
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

  update(text: PaneText): void {
    const letters = edgeLetters(text.axes);
    for (const edge of ['top', 'bottom', 'left', 'right'] as const) setText(this.letters[edge], letters[edge]);
    this.element.setAttribute('aria-label', `${TITLES[this.name]}${text.compare ? `, ${text.compare.title}` : ''}`);
    setText(this.title, `${TITLES[this.name]} · ${text.compare?.title ?? blendTitle(text)}`);
    setText(this.cursor, text.cursor ?? '');
    this.updateFlags(text);
    this.updateBadges(text);
    this.updateWindows(text);
    const millimetres = text.point[AXIS[this.name]].toFixed(1).replace('-', '−');
    setText(this.place, `${text.position} / ${text.axes.count}   ${AXIS_NAMES[this.name]} ${millimetres} mm\n${text.axes.step.toFixed(1)} mm slices   ×${text.zoom.toFixed(2)}`);
    const bar = scaleBar(text.mmPerPixel, this.element.clientWidth);
    setText(this.scaleText, bar.mm >= 10 ? `${bar.mm / 10} cm` : `${bar.mm} mm`);
    this.scale.style.width = `${bar.pixels}px`;
    this.updateBars(text);
  }

  private updateFlags(text: PaneText): void {
    const lossy = [text.base, ...text.overlays.map((o) => o.layer)].filter((layer) => layer.lossy);
    const flags: [string, string][] = [];
    if (text.synthetic) flags.push(['synthetic', 'SYNTHETIC']);
    for (const layer of lossy) flags.push(['warn', `${layer.label} lossy ${layer.lossy}`]);
    for (const [level, words] of text.compare?.notes ?? []) flags.push([level, words]);
    if (text.coarse) flags.push(['info', 'Coarse preview']);
    const key = JSON.stringify(flags);
    if (key === this.flagKey) return;
    this.flagKey = key;
    this.flags.replaceChildren(...flags.map(([level, words]) => h('span', { class: `badge badge--${level}`, text: words })));
  }

  private updateBadges(text: PaneText): void {
    const series = text.linkedTo ? [text.linkedTo] : text.overlays.filter(({ layer }) => isImage(layer));
    const ai = text.overlays.filter(({ layer }) => !isImage(layer)).slice(0, 1);
    const key = JSON.stringify([text.alone, [...series, ...ai].map(({ layer, trying }) => [layer.id, layer.fusion, trying])]);
    if (key === this.badgeKey) return;
    this.badgeKey = key;
    const badges: HTMLElement[] = [...series, ...ai].map(({ layer, trying }) => badgeButton(layer, () => text.onBadge(layer), trying));
    if (text.alone) {
      const back = h('button', { class: 'btn btn--small', text: 'Back to fused view', attrs: { type: 'button' } });
      back.addEventListener('click', text.onBack);
      badges.push(h('span', { class: 'badge badge--info', text: 'Shown alone, nothing fused' }), back);
    }
    this.badges.replaceChildren(...badges);
  }

  private updateWindows(text: PaneText): void {
    const line = (layer: Layer, settings: LayerSettings, isBase: boolean): string => {
      const unit = unitLabel(layer.unit);
      const opacity = isBase ? '' : `   ${Math.round(settings.opacity * 100)} %`;
      if (layer.kind === 'segmentation') return `${layer.label}${opacity}`;
      return `${layer.label}   W ${shown(settings.width, settings.width)}  L ${shown(settings.centre, settings.width)}${unit ? ` ${unit}` : ''}${opacity}`;
    };
    const lines = [line(text.base, text.baseSettings, true), ...text.overlays.map((o) => line(o.layer, o.settings, false))];
    setText(this.windows, lines.join('\n'));
  }

  private updateBars(text: PaneText): void {
    const shownBars = text.overlays.filter(({ layer }) => layer.kind !== 'segmentation');
    const key = JSON.stringify(shownBars.map(({ layer, settings }) => [layer.id, settings.colormap, settings.invert, settings.width, settings.centre]));
    if (key === this.barKey) return;
    this.barKey = key;
    this.bars.replaceChildren(...shownBars.map(({ layer, settings }) => colourBar(layer, settings)));
  }
}

function colourBar(layer: Layer, settings: LayerSettings): HTMLElement {
  const bar = h('div', { class: 'colour-bar-fill' });
  bar.style.background = cssGradient(settings.colormap as ColormapName, settings.invert, 'to top');
  const top = shown(settings.centre + settings.width / 2, settings.width);
  const bottom = shown(settings.centre - settings.width / 2, settings.width);
  const unit = unitLabel(layer.unit);
  return h('div', { class: 'colour-bar', title: `${layer.label} colour scale` },
    h('span', { class: 'num', text: top }),
    bar,
    h('span', { class: 'num', text: bottom }),
    h('span', { class: 'colour-bar-unit', text: unit || (layer.kind === 'heatmap' ? 'prob.' : layer.label) }),
  );
}
