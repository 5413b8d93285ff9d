/** Short messages in the corner. Errors stay until closed; the others go after a while. */
import { t } from '../i18n';

export type Level = 'info' | 'ok' | 'warn' | 'bad';

const LIFETIME_MS = 7000;

function container(): HTMLElement {
  const found = document.getElementById('toasts');
  if (found) return found;
  const made = document.createElement('div');
  made.id = 'toasts';
  made.setAttribute('role', 'status');
  made.setAttribute('aria-live', 'polite');
  document.body.append(made);
  return made;
}

function arm(toast: HTMLElement, sticky: boolean): void {
  const close = document.createElement('button');
  close.type = 'button';
  close.className = 'close';
  close.setAttribute('aria-label', t('Close message'));
  close.textContent = '×';
  close.addEventListener('click', () => toast.remove());
  toast.append(close);
  if (!sticky) window.setTimeout(() => toast.remove(), LIFETIME_MS);
}

export function toast(message: string, level: Level = 'info'): void {
  const box = container();
  // The same message again would only push the others away.
  for (const old of box.children) {
    if (old.firstElementChild?.textContent === message) old.remove();
  }
  const item = document.createElement('div');
  item.className = `toast toast--${level}`;
  if (level === 'bad') item.setAttribute('role', 'alert');
  const text = document.createElement('div');
  text.textContent = message;
  item.append(text);
  arm(item, level === 'bad');
  box.append(item);
}

/** Arms toasts that the server rendered (<div class="toast" data-toast>) and listens for events. */
export function installToasts(): void {
  for (const item of document.querySelectorAll<HTMLElement>('.toast[data-toast]')) {
    arm(item, item.classList.contains('toast--bad'));
  }
  window.addEventListener('radfuse:toast', (event) => {
    const detail = (event as CustomEvent<{ message?: string; value?: string; level?: Level }>).detail;
    toast(detail.message ?? detail.value ?? '', detail.level ?? 'info');
  });
}
