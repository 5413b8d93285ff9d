/** The tools that leave a mark: their names, keys, icons, and how they are drawn by hand. */
import { t } from '../../i18n';

export type MarkTool =
  | 'length' | 'bidirectional' | 'angle' | 'ellipse' | 'freehand' | 'sphere' | 'threshold' | 'probe' | 'arrow' | 'text';

export const MARK_TOOLS: readonly MarkTool[] = [
  'length', 'bidirectional', 'angle', 'ellipse', 'freehand', 'sphere', 'threshold', 'probe', 'arrow', 'text',
];

export function isMarkTool(tool: string): tool is MarkTool {
  return (MARK_TOOLS as readonly string[]).includes(tool);
}

/** Marks that lie in one plane; balls and grown volumes are in every plane they reach. */
export function isPlanar(tool: MarkTool): boolean {
  return tool !== 'sphere' && tool !== 'threshold';
}

export function nameOf(tool: MarkTool): string {
  switch (tool) {
    case 'length': return t('Length');
    case 'bidirectional': return t('Bidirectional');
    case 'angle': return t('Angle');
    case 'ellipse': return t('Ellipse');
    case 'freehand': return t('Freehand');
    case 'sphere': return t('Sphere');
    case 'threshold': return t('PET volume');
    case 'probe': return t('Probe');
    case 'arrow': return t('Arrow');
    case 'text': return t('Text');
  }
}
