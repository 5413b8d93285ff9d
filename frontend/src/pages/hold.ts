/**
 * <div hx-get=… data-hold>: a live refresh that never takes away what somebody is writing. While a
 * form inside is being written in, the answer is left out, the reader is told that something is newer,
 * and the piece fetches itself (`radfuse:held-over`) as soon as the writing is done or given up.
 * Forms that save themselves (data-autosave) put their text back, so they hold nothing.
 */
import { t } from '../i18n';

const TYPED = 'input:not([type=hidden], [type=submit], [type=button]), textarea, select';

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** True when a field holds something that its page did not come with. */
function changed(field: Field): boolean {
  if (field instanceof HTMLSelectElement) {
    const first = [...field.options].find((option) => option.defaultSelected) ?? field.options[0];
    return field.value !== (first?.value ?? '');
  }
  if (field instanceof HTMLInputElement && ['checkbox', 'radio'].includes(field.type)) return field.checked !== field.defaultChecked;
  // A text that the server sent back (refused: wrong password) is somebody's words too.
  if (field instanceof HTMLTextAreaElement && field.value.trim()) return true;
  return field.value !== field.defaultValue;
}

/** True while a form inside is open in a <details>, has the focus in a field, or holds typed text. */
export function isBeingWritten(piece: Element): boolean {
  if (piece.querySelector('dialog[open]')) return true;
  for (const form of piece.querySelectorAll('form:not([data-autosave])')) {
    const fields = [...form.querySelectorAll<Field>(TYPED)];
    if (!fields.length) continue;
    const drawer = form.closest('details');
    if (drawer && piece.contains(drawer) && drawer.open) return true;
    if (fields.some((field) => field === document.activeElement || changed(field))) return true;
  }
  return false;
}

function tell(piece: Element): void {
  if (piece.querySelector('[data-held]')) return;
  const notice = document.createElement('div');
  notice.className = 'notice held-notice';
  notice.dataset['held'] = '';
  notice.setAttribute('role', 'status');
  notice.textContent = t('Something newer is waiting. It appears when you have sent what you are writing, or emptied and closed it.');
  piece.prepend(notice);
}

interface SwapDetail {
  shouldSwap: boolean;
  requestConfig?: { elt?: Element };
}

export function installHold(send: (piece: Element, event: string) => void): void {
  document.body.addEventListener('htmx:beforeSwap', (event) => {
    const detail = (event as CustomEvent<SwapDetail>).detail;
    const piece = detail.requestConfig?.elt;
    // Answers to the form itself (signed, or refused with a reason) always come in.
    if (!piece?.hasAttribute('data-hold') || !detail.shouldSwap || !isBeingWritten(piece)) return;
    detail.shouldSwap = false;
    tell(piece);
  });
  const release = (): void => {
    for (const notice of document.querySelectorAll('[data-held]')) {
      const piece = notice.closest('[data-hold]');
      if (!piece || isBeingWritten(piece)) continue;
      notice.remove();
      send(piece, 'radfuse:held-over');
    }
  };
  // After the event, so that the focus has moved and the drawer is shut. Toggle and close do not bubble.
  for (const name of ['focusout', 'toggle', 'close', 'reset']) document.addEventListener(name, () => window.setTimeout(release), true);
}
