/** The icons of the interface: one sprite, made at build time from Lucide (ISC licence). */
export const ICONS = [
  'activity', 'archive', 'arrow-right', 'bookmark', 'bookmark-plus', 'chevron-down', 'chevron-up', 'clock', 'columns-3',
  'download', 'eye', 'inbox', 'info', 'keyboard', 'languages', 'list-checks', 'lock', 'log-out', 'network', 'play', 'plus',
  'refresh-cw', 'search', 'send', 'settings', 'shield-alert', 'trash-2', 'triangle-alert', 'undo-2', 'upload', 'wifi-off', 'x',
] as const;
export type IconName = (typeof ICONS)[number];

const SVG = 'http://www.w3.org/2000/svg';

/** Decoration beside a text: it says nothing that the text does not say. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `/static/viewer/icons.svg#${name}`);
  svg.append(use);
  return svg;
}
