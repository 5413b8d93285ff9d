/** The text beside the marks of one pane: the server's values, or why there are none; written in place. */
import { t } from '../../i18n';
import { button, h } from '../dom';
import type { Point2 } from '../stage';
import { label, MEASURE } from './paint';
import type { PlacedMark, ShownMark } from './placing';
import { nameOf } from './tools';

export interface LabelActions {
  select(key: string): void;
  edit(key: string): void;
  retry(key: string): void;
  discard(key: string): void;
}

/** Room at the right edge for colour bars. */
const EDGE_PX = 56;
const GAP_PX = 10;

export class MarkLabels {
  readonly element = h('div', { class: 'mark-labels' });
  private readonly made = new Map<string, { element: HTMLElement; content: string }>();

  constructor(private readonly actions: LabelActions) {}

  /** `hidden`: key of the mark whose text is being written in a field of its own. */
  update(placed: readonly PlacedMark[], selected: string | null, hidden: string | null): void {
    const shown = placed.filter(({ mark }) => mark.key !== hidden && (mark.lines.length || mark.label || mark.state !== 'stored'));
    const keys = new Set(shown.map(({ mark }) => mark.key));
    for (const [key, { element }] of this.made) {
      if (keys.has(key)) continue;
      element.remove();
      this.made.delete(key);
    }
    const taken: { x: number; y: number; width: number; height: number }[] = [];
    const [width, height] = [this.element.clientWidth, this.element.clientHeight];
    for (const one of shown) {
      const element = this.labelOf(one.mark);
      element.classList.toggle('is-selected', one.mark.key === selected);
      element.classList.toggle('is-faint', one.seen === 'faint');
      const [w, hgt] = [element.offsetWidth, element.offsetHeight];
      const [x, y] = clear(one.anchor, w, hgt, leftmost(one), width, height, taken);
      taken.push({ x, y, width: w, height: hgt });
      element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    }
  }

  /** The same texts on a picture of the pane. */
  writeOn(context: CanvasRenderingContext2D): void {
    const origin = this.element.getBoundingClientRect();
    for (const { element } of this.made.values()) {
      for (const line of element.querySelectorAll<HTMLElement>(':scope > div:not(.row)')) {
        const box = line.getBoundingClientRect();
        label(context, line.textContent ?? '', box.left - origin.left, box.top - origin.top + box.height / 2, MEASURE);
      }
    }
  }

  private labelOf(mark: ShownMark): HTMLElement {
    const content = JSON.stringify([mark.lines, mark.label, mark.state, mark.reason, mark.name, mark.tool]);
    const old = this.made.get(mark.key);
    if (old?.content === content) return old.element;
    const element = old?.element ?? this.make(mark.key);
    element.dataset['state'] = mark.state;
    element.dataset['mark'] = String(mark.id ?? '');
    element.replaceChildren(...this.contentOf(mark));
    this.made.set(mark.key, { element, content });
    return element;
  }

  private make(key: string): HTMLElement {
    const element = h('div', { class: 'mark-label' });
    element.addEventListener('pointerdown', (event) => {
      event.stopPropagation();
      this.actions.select(key);
    });
    element.addEventListener('dblclick', (event) => {
      event.stopPropagation();
      this.actions.edit(key);
    });
    this.element.append(element);
    return element;
  }

  private contentOf(mark: ShownMark): HTMLElement[] {
    const parts: HTMLElement[] = [];
    const [first, ...rest] = mark.label ? [mark.label, ...mark.lines] : mark.lines;
    if (first) parts.push(h('div', { class: mark.label ? 'mark-title' : 'num' }, mark.name ? h('span', { class: 'mark-name', text: mark.name }) : null, first));
    for (const line of rest) parts.push(h('div', { class: 'num', text: line }));
    if (mark.state === 'saving' && !mark.lines.length) parts.push(h('div', { text: '…', attrs: { 'aria-label': t('The server is measuring') } }));
    if (mark.state === 'failed') {
      parts.push(
        h('div', { class: 'mark-unsaved', text: t('{tool} not saved', { tool: nameOf(mark.tool) }) }),
        h('div', { class: 'mark-reason', text: mark.reason }),
        h('div', { class: 'row' },
          button(t('Retry'), () => this.actions.retry(mark.key), { data: { mark: 'retry' } }),
          button(mark.id === null ? t('Remove') : t('Put back'), () => this.actions.discard(mark.key), { class: 'btn btn--small btn--quiet', data: { mark: 'discard' } })),
      );
    }
    return parts;
  }
}

/** The left edge of a mark, for a label that has no room at its right. */
function leftmost({ lines, arrow, dots, anchor }: PlacedMark): number {
  return [...lines.flatMap((line) => line.points), ...(arrow ?? []), ...dots].reduce((least, [x]) => Math.min(least, x), anchor[0]);
}

/** A place beside the mark, inside the pane, over no other label. */
function clear(
  anchor: Point2, w: number, height: number, left: number, paneWidth: number, paneHeight: number, taken: readonly { x: number; y: number; width: number; height: number }[],
): Point2 {
  const right = anchor[0] + GAP_PX + w <= paneWidth - EDGE_PX;
  const x = right ? anchor[0] + GAP_PX : Math.max(left - GAP_PX - w, 4);
  const inside = (y: number): number => Math.min(Math.max(y, 4), Math.max(paneHeight - height - 4, 4));
  let y = inside(anchor[1] - height / 2);
  for (let tries = 0; tries < 8; tries++) {
    const other = taken.find((box) => x < box.x + box.width && box.x < x + w && y < box.y + box.height && box.y < y + height);
    if (!other) break;
    const below = other.y + other.height + 2;
    if (inside(below) !== below) break;
    y = below;
  }
  return [x, y];
}
