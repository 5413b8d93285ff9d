/** A mark's label written where it stands: Enter or leaving the field keeps it, Escape does not. */
import { t } from '../../i18n';
import { h } from '../dom';
import type { Point2 } from '../stage';

const MOST = 200;

/** Calls `done` once, with the text or null for Escape. */
export function labelField(pane: HTMLElement, at: Point2, text: string, done: (text: string | null) => void): () => void {
  const field = h('input', { class: 'input mark-field', attrs: { type: 'text', maxlength: String(MOST), 'aria-label': t('Label of the mark'), placeholder: t('Label') } });
  field.value = text;
  let open = true;
  const close = (result: string | null): void => {
    if (!open) return;
    open = false;
    field.remove();
    pane.focus({ preventScroll: true });
    done(result);
  };
  field.addEventListener('keydown', (event) => {
    event.stopPropagation();
    if (event.key === 'Enter' && !event.isComposing) close(field.value.trim());
    if (event.key === 'Escape') close(null);
  });
  for (const kind of ['pointerdown', 'dblclick', 'wheel']) field.addEventListener(kind, (event) => event.stopPropagation());
  field.addEventListener('blur', () => close(field.value.trim()));
  pane.append(field);
  const [x, y] = at;
  field.style.left = `${Math.min(Math.max(x + 10, 4), Math.max(pane.clientWidth - field.offsetWidth - 4, 4))}px`;
  field.style.top = `${Math.min(Math.max(y - 13, 4), Math.max(pane.clientHeight - field.offsetHeight - 4, 4))}px`;
  field.focus();
  field.select();
  return () => close(null);
}
