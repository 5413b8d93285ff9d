/** The swipe divider of a pane: a handle for mouse and keys; left is the reference, right the moving layer. */
import { t } from '../i18n';
import { h, setText } from './dom';
import type { Store } from './state';

const STEP = 0.02;
const FAR = 0.1;

export class SwipeHandle {
  readonly element = h('div', {
    class: 'swipe',
    attrs: { role: 'slider', tabindex: '0', 'aria-label': t('Swipe divider'), 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-orientation': 'horizontal' },
  });
  private readonly left = h('span', { class: 'swipe-name swipe-name--left' });
  private readonly right = h('span', { class: 'swipe-name swipe-name--right' });
  private dragging = false;

  constructor(private readonly store: Store) {
    this.element.append(this.left, h('span', { class: 'swipe-grip', text: '⇔' }), this.right);
    this.element.hidden = true;
    this.element.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      this.dragging = true;
      this.element.setPointerCapture(event.pointerId);
      this.element.focus({ preventScroll: true });
      event.stopPropagation();
      event.preventDefault();
    });
    this.element.addEventListener('pointermove', (event) => {
      const box = this.element.parentElement?.getBoundingClientRect();
      if (this.dragging && box) this.move((event.clientX - box.left) / box.width);
    });
    for (const end of ['pointerup', 'pointercancel'] as const) this.element.addEventListener(end, () => (this.dragging = false));
    this.element.addEventListener('dblclick', (event) => event.stopPropagation());
    this.element.addEventListener('keydown', (event) => {
      const by = { ArrowLeft: -STEP, ArrowRight: STEP, PageDown: -FAR, PageUp: FAR }[event.key];
      const to = { Home: 0, End: 1 }[event.key];
      if (by === undefined && to === undefined) return;
      this.move(to ?? this.store.state.divider + by!);
      event.stopPropagation();
      event.preventDefault();
    });
  }

  private move(fraction: number): void {
    this.store.patch({ divider: Math.round(Math.min(Math.max(fraction, 0), 1) * 1000) / 1000 });
  }

  update(shown: boolean, left: string, right: string): void {
    this.element.hidden = !shown;
    if (!shown) return;
    const percent = `${this.store.state.divider * 100}%`;
    this.element.style.left = percent;
    this.element.setAttribute('aria-valuenow', String(Math.round(this.store.state.divider * 100)));
    this.element.setAttribute('aria-valuetext', t('{left} left of {percent}, {right} right of it', { left, percent, right }));
    setText(this.left, left);
    setText(this.right, right);
  }
}
