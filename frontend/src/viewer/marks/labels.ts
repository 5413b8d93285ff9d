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

const BARS_PX = 60;
const GAP_PX = 9;
const STEP_PX = 17;
const FAR_PX = 40;
const FURTHER = 12;

export class MarkLabels {
  readonly element = h('div', { class: 'mark-labels' });
  private readonly made = new Map<string, { element: HTMLElement; content: string }>();

  constructor(private readonly actions: LabelActions) {}

  /** `full`: keys of marks with all their values, the others in brief. `hidden`: its text is being written. */
  update(placed: readonly PlacedMark[], selected: string | null, full: readonly (string | null)[], hidden: string | null, occupied: () => Box[]): void {
    const shown = placed.filter(({ mark }) => mark.key !== hidden && (mark.lines.length || mark.label || mark.state !== 'stored'));
    const keys = new Set(shown.map(({ mark }) => mark.key));
    for (const [key, { element }] of this.made) {
      if (keys.has(key)) continue;
      element.remove();
      this.made.delete(key);
    }
    const taken = shown.length ? occupied() : [];
    const pane = { width: this.element.clientWidth, height: this.element.clientHeight };
    for (const one of shown) {
      const element = this.labelOf(full.includes(one.mark.key) ? one.mark : { ...one.mark, lines: one.mark.brief });
      element.classList.toggle('is-selected', one.mark.key === selected);
      element.classList.toggle('is-faint', one.seen === 'faint');
      const [width, height] = [element.offsetWidth, element.offsetHeight];
      const [x, y] = placeLabel(one.anchor, boxOf(one), width, height, pane, taken);
      taken.push({ x, y, width, height });
      const near: Point2 = [Math.min(Math.max(one.anchor[0], x), x + width), Math.min(Math.max(one.anchor[1], y), y + height)];
      const isFar = Math.hypot(near[0] - one.anchor[0], near[1] - one.anchor[1]) > FAR_PX;
      one.leader = isFar ? [one.anchor, near] : null;
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

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** What a mark covers in the pane. */
function boxOf({ lines, edges, arrow, dots, anchor }: PlacedMark): Box {
  const points = [...lines.flatMap((line) => line.points), ...edges.flat(), ...(arrow ?? []), ...dots, anchor];
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}

const overlaps = (a: Box, b: Box): boolean => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Right of the mark, below, above or left of it: the first place in the pane that no other text takes. */
export function placeLabel(anchor: Point2, mark: Box, width: number, height: number, pane: { width: number; height: number }, taken: readonly Box[]): Point2 {
  const at = (x: number, y: number): Box => ({ x, y, width, height });
  const along = Math.min(Math.max(mark.x + mark.width / 2 - width / 2, 4), Math.max(pane.width - width - 4, 4));
  const places = [
    at(anchor[0] + GAP_PX, anchor[1] - height / 2),
    at(along, mark.y + mark.height + GAP_PX),
    at(along, mark.y - GAP_PX - height),
    at(mark.x - GAP_PX - width, anchor[1] - height / 2),
  ];
  // Further down and up, past the texts of other marks of the same lesion.
  for (let n = 1; n <= FURTHER; n++) {
    places.push(at(along, mark.y + mark.height + GAP_PX + n * STEP_PX), at(along, mark.y - GAP_PX - height - n * STEP_PX));
  }
  const inside = ({ x, y }: Box): boolean => x >= 0 && y >= 0 && x + width <= pane.width && y + height <= pane.height;
  // Colour bars stand at the middle of the right edge.
  const bars: Box = { x: pane.width - BARS_PX, y: pane.height * 0.25, width: BARS_PX, height: pane.height * 0.45 };
  const free = places.find((place) => inside(place) && !overlaps(place, bars) && !taken.some((other) => overlaps(place, other)));
  const { x, y } = free ?? places.find(inside) ?? at(along, Math.min(Math.max(anchor[1], 4), Math.max(pane.height - height - 4, 4)));
  return [x, y];
}
