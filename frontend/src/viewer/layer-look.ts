/** The finer looks of one layer in the list: smooth or voxel by voxel, and from which value on it is drawn. */
import { t } from '../i18n';
import { preference, savePreference } from '../preferences';
import type { Commands } from './commands';
import { h } from './dom';
import { unitLabel } from './presets';
import type { LayerSettings } from './state';
import type { Layer } from './types';

export class LayerLook {
  readonly element: HTMLElement;
  private readonly smooth = h('select', { class: 'input', data: { interpolation: '' } },
    h('option', { text: t('Smooth'), attrs: { value: 'linear' } }),
    h('option', { text: t('Voxel by voxel'), attrs: { value: 'nearest' } }));
  private readonly threshold = h('input', { class: 'input', attrs: { type: 'number', step: 'any', placeholder: t('none') }, data: { threshold: '' } });

  constructor(commands: Commands, layer: Layer, isReference: boolean) {
    this.smooth.setAttribute('aria-label', t('Interpolation of {layer}', { layer: layer.label }));
    this.threshold.setAttribute('aria-label', t('Threshold of {layer}', { layer: layer.label }));
    this.smooth.addEventListener('change', () => commands.setInterpolation(layer, this.smooth.value === 'nearest'));
    this.threshold.addEventListener('change', () => commands.setThreshold(layer, this.threshold.value === '' ? null : this.threshold.valueAsNumber));
    const unit = unitLabel(layer.unit);
    this.element = h('details', { class: 'layer-more' },
      h('summary', { text: t('Look') }),
      h('div', { class: 'view-row' }, h('span', { class: 'muted', text: t('Interpolation') }), this.smooth),
      layer.kind === 'heatmap' ? this.firstLook() : null,
      isReference ? null : h('div', { class: 'view-row', title: t('Below this value the layer is clear') }, h('span', { class: 'muted', text: t('Drawn from') }), this.threshold, h('span', { class: 'muted', text: unit })),
    );
  }

  /** Whether heatmaps are on before the reader has looked; kept for all cases. */
  private firstLook(): HTMLElement {
    const box = h('input', { attrs: { type: 'checkbox' }, data: { heatmapFirst: '' } });
    const display = (): Record<string, unknown> => preference<Record<string, unknown>>('viewer.display') ?? {};
    box.checked = display()['heatmapFirst'] !== false;
    box.addEventListener('change', () => void savePreference('viewer.display', { ...display(), heatmapFirst: box.checked }));
    return h('label', { class: 'check' }, box, t('May be on at first look'));
  }

  update(settings: LayerSettings): void {
    this.smooth.value = settings.nearest ? 'nearest' : 'linear';
    if (document.activeElement !== this.threshold) this.threshold.value = settings.threshold == null ? '' : String(settings.threshold);
  }
}
