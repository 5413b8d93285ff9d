/** The fusion badge: on every fused pane, what entitles the layer to lie over the reference. */
import { t } from '../i18n';
import { h } from './dom';
import { isImage } from './presets';
import type { Layer } from './types';

export type BadgeLevel = 'ok' | 'warn' | 'bad' | 'ai';

export function badgeLevel(layer: Layer): BadgeLevel {
  if (!layer.fusion.fused && layer.fusion.state !== 'reference') return 'bad';
  if (!isImage(layer)) return 'ai';
  return layer.fusion.verdict === 'doubtful' ? 'warn' : 'ok';
}

export function badgeText(layer: Layer): string {
  const { fusion } = layer;
  if (layer.kind === 'segmentation') return t('{label}: computed, unverified', { label: layer.label });
  if (layer.kind === 'heatmap') {
    return t('{label}: AI {model}, unverified', { label: layer.label.replace(/^AI: /, ''), model: layer.model ?? '' }).replace(/ +([,，])/, '$1');
  }
  if (!fusion.fused) return `${layer.label}: ${fusion.badge || t('Not registered: not fused')}`;
  const decided = fusion.decision ? `, ${fusion.decision.decision} by ${fusion.decision.by}` : '';
  const text = fusion.badge || (fusion.state === 'same_frame' ? t('Same frame of reference') : t('Registered'));
  const deformed = layer.kind === 'deformed' && !/deform/i.test(text) ? t('Deformed layer, ') : '';
  return `${layer.label}: ${deformed}${text}${text.includes(fusion.decision?.by ?? '\0') ? '' : decided}`;
}

/** `trying`: what is on screen is not on record; the badge then says that and nothing else. */
export function badgeButton(layer: Layer, onClick: () => void, trying: string | null = null): HTMLButtonElement {
  const made = h('button', {
    class: `badge badge--${trying ? 'warn' : badgeLevel(layer)} fusion-badge`,
    text: trying ? `${layer.label}: ${trying}` : badgeText(layer),
    title: t('Method, quality and decision of this fusion'),
    data: { layer: String(layer.id), fusion: layer.fusion.state, fused: String(layer.fusion.fused), ...(trying ? { trying } : {}) },
    attrs: { type: 'button' },
  });
  made.addEventListener('click', onClick);
  return made;
}
