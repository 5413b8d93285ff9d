/** Findings as circles, with their number and what is known of them. */
import { t } from '../../i18n';
import type { Point2 } from '../stage';
import { distanceTo } from '../slicing';
import type { Finding } from '../types';
import type { Marks } from '../overlay';
import { ACCEPTED, AI, type Context, FONT, label } from './paint';

/** Room kept at the right edge for colour bars. */
const COLOUR_BAR_PX = 64;

/** A network's findings carry its probability; the others come from thresholds and contours. */
export function originOf(finding: Finding): string {
  return finding.probability === null ? t('computed') : 'AI';
}

export function findingColour(finding: Finding): string {
  if (finding.review.state === 'accepted' || finding.review.state === 'edited') return ACCEPTED;
  return finding.review.state === 'rejected' ? '#9aa6b4' : AI;
}

/** Findings whose extent reaches the plane, with their place on screen. */
export function findingMarks(marks: Pick<Marks, 'plane' | 'toCanvas' | 'findings' | 'halfStep' | 'mmPerPixel'>): { finding: Finding; at: Point2; radius: number }[] {
  return marks.findings.flatMap((finding) => {
    const distance = Math.abs(distanceTo(marks.plane, finding.position));
    const reach = Math.max(finding.long_axis_mm / 2, marks.halfStep);
    if (distance > reach) return [];
    const section = Math.sqrt(Math.max(reach * reach - distance * distance, 0));
    return [{ finding, at: marks.toCanvas(finding.position), radius: Math.max(section / marks.mmPerPixel + 5, 9) }];
  });
}

const LEFT_PX = 4;

/** Where the text of a finding begins: right of it, or left where the right has no room. */
export function textPlace({ at, radius }: { at: Point2; radius: number }, width: number, paneWidth: number): Point2 {
  const reach = radius * 0.72 + 5;
  const x = at[0] + reach + width > paneWidth - COLOUR_BAR_PX ? at[0] - reach - width : at[0] + reach;
  // In a narrow pane it may cover the mark, but it is read whole.
  return [Math.max(x, LEFT_PX), at[1] - reach];
}

export function drawFindings(context: Context, marks: Marks): void {
  for (const { finding, at, radius } of findingMarks(marks)) {
    const colour = findingColour(finding);
    const selected = finding.id === marks.selectedFinding;
    const unverified = finding.review.state === 'pending';
    context.save();
    context.strokeStyle = colour;
    context.lineWidth = selected ? 2.5 : 1.5;
    if (unverified) context.setLineDash([5, 4]);
    context.beginPath();
    context.arc(at[0], at[1], radius, 0, Math.PI * 2);
    context.stroke();
    context.restore();
    const text = finding.review.state === 'rejected'
      ? t('{number} rejected', { number: finding.number })
      : unverified ? t('{number} {origin}, unverified', { number: finding.number, origin: originOf(finding) }) : String(finding.number);
    context.font = FONT;
    const [x, y] = textPlace({ at, radius }, context.measureText(text).width, marks.width);
    label(context, text, x, y, colour);
  }
}
