/** Small behaviours named by data attributes, so that templates need no inline script. */
import Alpine from '@alpinejs/csp';

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
  tick();
  window.setInterval(tick, 20_000);
  document.body.addEventListener('htmx:afterSettle', tick);

  // CSP build of Alpine: templates name these, they hold no expressions of their own.
  Alpine.data('toggle', () => ({
    open: false,
    flip() {
      this['open'] = !this['open'];
    },
    close() {
      this['open'] = false;
    },
  }));
  Alpine.data('tabs', () => ({
    tab: '',
    init() {
      this['tab'] = this.$el.dataset['tab'] ?? '';
    },
    pick(event: Event) {
      this['tab'] = (event.currentTarget as HTMLElement).dataset['tab'] ?? '';
    },
  }));
  Alpine.start();
}
