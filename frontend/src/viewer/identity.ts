/** The images belong to the case and patient that the page was opened for, or they are not drawn. */
import { t } from '../i18n';
import type { View } from './types';

/** What the page says; a page of an older server names no patient. */
export interface Opened {
  caseId: number;
  patientId: string | null;
  issuer: string | null;
}

export function openedFor(root: HTMLElement): Opened {
  return { caseId: Number(root.dataset['case']), patientId: root.dataset['patientId'] ?? null, issuer: root.dataset['patientIssuer'] ?? null };
}

/** Why a view must not be drawn on this page; null where it is the page's own. */
export function mismatch(opened: Opened, view: Pick<View, 'case' | 'patient'>): string | null {
  if (view.case.id !== opened.caseId) {
    return t('This page was opened for case {opened}; the server sent the images of case {sent}. Nothing is drawn.', { opened: opened.caseId, sent: view.case.id });
  }
  const other = (opened.patientId !== null && view.patient.patient_id !== opened.patientId) || (opened.issuer !== null && (view.patient.issuer ?? '') !== opened.issuer);
  return other ? t('The patient of the images is not the patient of this page. Nothing is drawn. Go back to the worklist and open the case again.') : null;
}
