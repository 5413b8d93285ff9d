/** The icons of the interface: one sprite, made at build time from Lucide (ISC licence). */
export const ICONS = [
  'activity', 'archive', 'arrow-down-left', 'arrow-right', 'axis-3d', 'blend', 'bookmark', 'bookmark-plus',
  'chevron-down', 'chevron-up', 'chevrons-up-down', 'circle', 'clock', 'columns-3', 'contrast', 'copy', 'crosshair',
  'diameter', 'download', 'ellipse', 'eye', 'flame', 'flip-horizontal-2', 'flip-vertical-2', 'globe', 'hand',
  'image-plus', 'inbox', 'info', 'keyboard', 'languages', 'lasso', 'list-checks', 'lock', 'log-out', 'map-pin',
  'move', 'move-diagonal', 'network', 'pencil-line', 'pipette', 'play', 'plus', 'redo-2', 'refresh-cw', 'rotate-ccw',
  'rotate-cw', 'ruler', 'scan-search', 'search', 'send', 'settings', 'shield-alert', 'square', 'sun-medium',
  'trash-2', 'triangle-alert', 'triangle-right', 'type', 'undo-2', 'upload', 'wifi-off', 'x', 'zoom-in',
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
