/** One stop of Tab for a whole bar; arrows walk inside (WAI-ARIA's toolbar and tabs patterns). */
const ITEMS = 'button, select, input, a[href]';

function canTake(element: HTMLElement): boolean {
  return !element.matches(':disabled') && element.offsetParent !== null && getComputedStyle(element).visibility !== 'hidden';
}

/**
 * `inside`: parts of the bar with keys of their own (open menus). `leave`: Escape, where nothing nearer took it.
 * What was reached by the mouse keeps its arrows: they scroll the images there.
 */
export function roving(bar: HTMLElement, inside: string | null, leave: () => void): void {
  let byMouse = false;
  const items = (): HTMLElement[] => [...bar.querySelectorAll<HTMLElement>(ITEMS)].filter((item) => !inside || !item.closest(inside));
  const stop = (chosen: HTMLElement): void => {
    for (const item of items()) item.tabIndex = item === chosen ? 0 : -1;
  };
  /** Buttons come and go, and are disabled: one that can take the focus is always the stop. */
  const settle = (): void => {
    const all = items().filter(canTake);
    const chosen = all.find((item) => item === document.activeElement) ?? all.find((item) => item.tabIndex === 0) ?? all[0];
    if (chosen && (chosen.tabIndex !== 0 || items().some((item) => item !== chosen && item.tabIndex === 0))) stop(chosen);
  };
  new MutationObserver(settle).observe(bar, { childList: true, subtree: true, attributes: true, attributeFilter: ['disabled', 'hidden', 'style'] });
  bar.addEventListener('pointerdown', () => (byMouse = true), true);
  window.addEventListener('keydown', (event) => {
    if (event.key === 'Tab' || /^F\d/.test(event.key)) byMouse = false;
  }, true);
  bar.addEventListener('focusin', (event) => {
    const target = event.target as HTMLElement;
    if (items().includes(target)) stop(target);
  });
  bar.addEventListener('keydown', (event) => {
    const all = items().filter(canTake);
    const at = all.indexOf(event.target as HTMLElement);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (event.key === 'Escape') {
      leave();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const to = byMouse ? undefined : { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    const next = all[(to + all.length) % all.length]!;
    stop(next);
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  settle();
}
