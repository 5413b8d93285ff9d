/** A button that opens a small list of buttons: closed by a choice, Escape, or a click elsewhere. */
import { h } from './dom';
import { icon, type IconName } from '../icons';

let menus = 0;

export class Menu {
  readonly element: HTMLElement;
  readonly list: HTMLElement;
  private readonly button: HTMLButtonElement;
  private shown = '';

  constructor(
    readonly name: string,
    readonly symbol: IconName,
    items: readonly Node[],
    private readonly title = name,
  ) {
    const id = `viewer-menu-${++menus}`;
    this.list = h('div', { class: 'menu-list', attrs: { id, role: 'group', 'aria-label': title } }, ...items);
    this.list.hidden = true;
    this.button = h('button', { class: 'btn btn--small', attrs: { type: 'button', 'aria-expanded': 'false', 'aria-controls': id } });
    this.element = h('div', { class: 'menu' }, this.button, this.list);
    this.show(null);
    this.button.addEventListener('click', () => this.toggle(Boolean(this.list.hidden)));
    this.list.addEventListener('click', (event) => {
      if ((event.target as Element).closest('button')) this.toggle(false);
    });
    this.element.addEventListener('keydown', (event) => this.key(event));
    this.element.addEventListener('focusout', (event) => {
      if (!this.element.contains(event.relatedTarget as Node | null)) this.toggle(false);
    });
    document.addEventListener('pointerdown', (event) => {
      if (!this.element.contains(event.target as Node)) this.toggle(false);
    });
  }

  /** The chosen item on the button itself; null: the menu's own name. */
  show(chosen: { name: string; symbol: IconName } | null): void {
    const { name, symbol } = chosen ?? this;
    const key = `${symbol} ${name}`;
    this.button.setAttribute('aria-pressed', String(chosen !== null));
    if (key === this.shown) return;
    this.shown = key;
    this.button.title = this.title;
    this.button.replaceChildren(icon(symbol), h('span', { text: name }), h('span', { class: 'menu-arrow', text: '▾', attrs: { 'aria-hidden': 'true' } }));
  }

  private toggle(open: boolean): void {
    if (this.list.hidden === !open) return;
    this.list.hidden = !open;
    this.button.setAttribute('aria-expanded', String(open));
    if (open) this.list.querySelector<HTMLElement>('button:not([disabled])')?.focus();
  }

  private key(event: KeyboardEvent): void {
    if (event.key === 'Escape' && !this.list.hidden) {
      event.stopPropagation();
      this.toggle(false);
      this.button.focus();
    }
    if (this.list.hidden || (event.key !== 'ArrowDown' && event.key !== 'ArrowUp')) return;
    event.preventDefault();
    event.stopPropagation();
    const items = [...this.list.querySelectorAll<HTMLElement>('button:not([disabled])')];
    const at = items.indexOf(document.activeElement as HTMLElement);
    items[(at + (event.key === 'ArrowDown' ? 1 : items.length - 1)) % items.length]?.focus();
  }
}

/** One line of a menu: icon, name, and the key of the command that does the same (written by `showKeys`). */
export function menuItem(name: string, symbol: IconName, command: string, act: () => void, data: Record<string, string> = {}): HTMLButtonElement {
  const item = h('button', { class: 'menu-item', attrs: { type: 'button' }, data: { ...data, command } }, icon(symbol), h('span', { class: 'grow', text: name }), h('kbd', { class: 'kbd' }));
  item.addEventListener('click', act);
  return item;
}
