/** Small behaviours named by data attributes, so that templates need no inline script. */
import { t } from '../i18n';

/** A length of time as "42 min", "3 h 05", "2 d" (`workstation/worklist/targets.py` spells it alike). */
function spell(milliseconds: number): string {
  const minutes = Math.max(0, Math.floor(milliseconds / 60_000));
  if (minutes < 60) return t('{n} min', { n: minutes });
  if (minutes < 48 * 60) return t('{h} h {m}', { h: Math.floor(minutes / 60), m: String(minutes % 60).padStart(2, '0') });
  return t('{n} d', { n: Math.floor(minutes / 1440) });
}

/** Time since a moment. */
export function elapsed(from: Date, now: Date): string {
  return spell(now.getTime() - from.getTime());
}

export interface Due {
  state: 'ok' | 'soon' | 'over';
  text: string;
}

/** How long until a target, or how long it is over; the last part of the time is `soon`. */
export function countdown(due: Date, warnAt: Date, now: Date): Due {
  if (now >= due) return { state: 'over', text: t('{time} over', { time: elapsed(due, now) }) };
  return { state: now >= warnAt ? 'soon' : 'ok', text: t('{time} left', { time: elapsed(now, due) }) };
}

function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function tick(): void {
  const now = new Date();
  for (const time of document.querySelectorAll<HTMLTimeElement>('time[data-elapsed]')) {
    say(time, elapsed(new Date(time.dateTime), now));
  }
  for (const time of document.querySelectorAll<HTMLTimeElement>('time[data-due]')) {
    const { state, text } = countdown(new Date(time.dateTime), new Date(time.dataset['warnAt'] ?? time.dateTime), now);
    time.dataset['state'] = state;
    say(time, text);
  }
}

/** Keys of the report that also work while typing: F2 goes to it, Ctrl+Enter opens sign-off, and there signs and goes on. */
function reportKey(event: KeyboardEvent): void {
  const sign = event.key === 'Enter' && (event.ctrlKey || event.metaKey);
  if (!sign && event.key !== 'F2') return;
  const dialog = document.querySelector('dialog[open]');
  if (dialog && !sign) return;
  const target = dialog
    ? dialog.querySelector<HTMLElement>('#confirm-sign-next')
    : document.querySelector<HTMLElement>(sign ? '#open-sign' : '#report-form textarea');
  if (!target) return;
  event.preventDefault();
  if (sign) target.click();
  else target.focus();
}

/** Which row the arrow keys go to from row `at` (-1: none yet); stays inside the list. */
export function nextRow(at: number, step: 1 | -1, rows: number): number {
  if (at < 0) return step === 1 ? 0 : rows - 1;
  return Math.min(rows - 1, Math.max(0, at + step));
}

/** Which row a key goes to; null where it is no such key. */
export function rowOfKey(key: string, at: number, rows: number): number | null {
  if (key === 'ArrowDown') return nextRow(at, 1, rows);
  if (key === 'ArrowUp') return nextRow(at, -1, rows);
  if (key === 'Home') return 0;
  if (key === 'End') return rows - 1;
  return null;
}

/**
 * Keys of a list: arrows, Home and End walk its rows (their main action gets the focus, Enter does it), "/" searches,
 * "?" shows the keys, and [data-key="n"] is clicked by its key.
 */
function listKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector('dialog[open]')) return;
  const field = (event.target as Element).closest('input, select, textarea');
  const table = document.querySelector('[data-rows]');
  if (field) {
    if (event.key === 'Escape' && field.matches('input[type=search]')) table?.querySelector<HTMLElement>('[data-row-action]')?.focus();
    return;
  }
  if (event.key === '/') {
    const search = document.querySelector<HTMLInputElement>('input[type=search]');
    if (search) event.preventDefault();
    search?.focus();
    return;
  }
  if (event.key === '?') {
    document.querySelector<HTMLElement>('[data-dialog-open="#keys-dialog"]')?.click();
    return;
  }
  const keyed = /^[a-z0-9]$/.test(event.key) ? document.querySelector<HTMLElement>(`[data-key="${event.key}"]`) : null;
  if (keyed) {
    event.preventDefault();
    keyed.click();
    return;
  }
  const actions = [...(table?.querySelectorAll<HTMLElement>('[data-row-action]') ?? [])];
  if (actions.length === 0) return;
  const row = rowOfKey(event.key, actions.indexOf(document.activeElement as HTMLElement), actions.length);
  if (row === null) return;
  event.preventDefault();
  actions[row]?.focus();
}

/** What scrolls can be scrolled by keyboard: a table that is wider than its place takes the focus. */
function reachScrollers(): void {
  for (const box of document.querySelectorAll<HTMLElement>('.table-wrap')) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  }
}

export function installWidgets(): void {
  document.addEventListener('click', (event) => {
    const target = event.target as Element;
    const opener = target.closest<HTMLElement>('[data-dialog-open]');
    if (opener) document.querySelector<HTMLDialogElement>(opener.dataset['dialogOpen'] ?? '')?.showModal();
    if (target.closest('[data-dialog-close]')) target.closest('dialog')?.close();
    const finding = target.closest<HTMLElement>('[data-goto-finding]');
    if (finding) {
      const detail = { finding: Number(finding.dataset['gotoFinding']) };
      window.dispatchEvent(new CustomEvent('radfuse:goto', { detail }));
    }
  });
  document.addEventListener('keydown', reportKey);
  document.addEventListener('keydown', listKey);
  tick();
  window.setInterval(tick, 20_000);
  document.body.addEventListener('htmx:afterSettle', tick);
  reachScrollers();
  document.body.addEventListener('htmx:afterSettle', reachScrollers);
  window.addEventListener('resize', reachScrollers);
}
