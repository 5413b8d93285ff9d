/** Small behaviours named by data attributes, so that templates need no inline script. */

/** Minutes since a moment as "42 min", "3 h 05", "2 d". */
export function elapsed(from: Date, now: Date): string {
  const minutes = Math.max(0, Math.floor((now.getTime() - from.getTime()) / 60_000));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')}`;
  return `${Math.floor(minutes / 1440)} d`;
}

function tick(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>('time[data-elapsed]')) {
    time.textContent = elapsed(new Date(time.dateTime), new Date());
  }
}

/** Keys of the report that also work while typing: F2 goes to it, Ctrl+Enter opens sign-off. */
function reportKey(event: KeyboardEvent): void {
  if (document.querySelector('dialog[open]')) return;
  const sign = event.key === 'Enter' && (event.ctrlKey || event.metaKey);
  if (!sign && event.key !== 'F2') return;
  const target = document.querySelector<HTMLElement>(sign ? '#open-sign' : '#report-form textarea');
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

/** Arrow keys walk the rows of a list (their main action gets the focus, Enter does it); "/" searches. */
function listKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ((event.target as Element).closest('input, select, textarea')) return;
  const table = document.querySelector('[data-rows]');
  if (!table) return;
  if (event.key === '/') {
    event.preventDefault();
    document.querySelector<HTMLInputElement>('input[type=search]')?.focus();
    return;
  }
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  if (step === 0) return;
  const actions = [...table.querySelectorAll<HTMLElement>('[data-row-action]')];
  if (actions.length === 0) return;
  event.preventDefault();
  actions[nextRow(actions.indexOf(document.activeElement as HTMLElement), step, actions.length)]?.focus();
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
}
