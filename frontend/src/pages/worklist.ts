/** The worklist's own: saved filters, choice of columns. Both are preferences; the server draws the list by them. */
import { t } from '../i18n';
import { icon } from '../icons';
import { preference, savePreference } from '../preferences';

export interface KeptFilter {
  name: string;
  query: string;
  default: boolean;
}

/** The words of the address that say which cases are shown, and how sorted. */
const ASKED = ['tab', 'q', 'modality', 'priority', 'order'];

export function askedOf(search: string): string {
  const given = new URLSearchParams(search);
  const kept = new URLSearchParams();
  for (const name of ASKED) {
    const value = given.get(name);
    if (value) kept.set(name, value);
  }
  return kept.toString();
}

/** `list` with `one` in it, under its name once, and at most one default. */
export function withFilter(list: readonly KeptFilter[], one: KeptFilter): KeptFilter[] {
  const others = list.filter((other) => other.name !== one.name);
  return [...(one.default ? others.map((other) => ({ ...other, default: false })) : others), one];
}

/** `names` with one of them moved by a step; at an end it stays. */
export function moved(names: readonly string[], name: string, step: number): string[] {
  const at = names.indexOf(name);
  const to = at + step;
  if (at < 0 || to < 0 || to >= names.length) return [...names];
  const others = names.filter((other) => other !== name);
  return [...others.slice(0, to), name, ...others.slice(to)];
}

function refresh(): void {
  document.body.dispatchEvent(new CustomEvent('radfuse:live-refresh', { bubbles: true }));
}

function kept(): KeptFilter[] {
  return preference<KeptFilter[]>('worklist.filters') ?? [];
}

function keep(filters: KeptFilter[]): void {
  showFilters(filters);
  void savePreference('worklist.filters', filters.length ? filters : null);
}

function small(text: string, act: () => void): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'btn btn--small btn--quiet';
  button.textContent = text;
  button.addEventListener('click', act);
  return button;
}

function showFilters(filters: KeptFilter[]): void {
  const bar = document.querySelector<HTMLElement>('[data-kept-filters]');
  const list = document.querySelector<HTMLElement>('[data-filter-list]');
  const now = askedOf(location.search);
  bar?.replaceChildren(...filters.map((one) => {
    const link = document.createElement('a');
    link.className = 'btn btn--small';
    // A query that says nothing would be taken for none, and the default filter put in its place.
    link.href = `?${one.query || 'tab=ready'}`;
    if (one.query === now) link.setAttribute('aria-current', 'true');
    link.append(icon('bookmark'), ` ${one.name}`);
    return link;
  }));
  list?.replaceChildren(...filters.map((one) => {
    const row = document.createElement('li');
    row.className = 'spread';
    const name = document.createElement('span');
    name.textContent = one.default ? t('{name} (shown at first)', { name: one.name }) : one.name;
    const acts = document.createElement('span');
    acts.className = 'row';
    const toggle = one.default ? t('Not at first') : t('Show at first');
    acts.append(
      small(toggle, () => keep(kept().map((other) => ({ ...other, default: other.name === one.name && !one.default })))),
      small(t('Delete'), () => keep(kept().filter((other) => other.name !== one.name))),
    );
    row.append(name, acts);
    return row;
  }));
}

function installFilters(): void {
  showFilters(kept());
  document.body.addEventListener('htmx:pushedIntoHistory', () => showFilters(kept()));
  const form = document.querySelector<HTMLFormElement>('[data-filter-save]');
  form?.addEventListener('submit', (event) => {
    event.preventDefault();
    const given = new FormData(form);
    const name = String(given.get('name') ?? '').trim();
    if (!name) return;
    keep(withFilter(kept(), { name, query: askedOf(location.search), default: given.has('default') }));
    form.reset();
    form.closest('dialog')?.close();
  });
}

function installColumns(): void {
  const list = document.querySelector<HTMLElement>('[data-columns]');
  if (!list) return;
  const delivered = [...list.children].map((row) => (row as HTMLElement).dataset['column'] ?? '');
  const row = (name: string): HTMLElement | null => list.querySelector(`[data-column="${name}"]`);
  const box = (name: string): HTMLInputElement | null => row(name)?.querySelector('input') ?? null;
  let shown = (list.dataset['columns'] ?? '').split(' ').filter(Boolean);
  const show = (): void => {
    for (const name of [...shown, ...delivered.filter((other) => !shown.includes(other))]) {
      const item = row(name);
      const check = box(name);
      if (item) list.append(item);
      if (check) check.checked = shown.includes(name);
    }
  };
  const save = (names: string[] | null): void => {
    void savePreference('worklist.columns', names).then(refresh);
  };
  list.addEventListener('change', () => {
    shown = [...list.children].map((item) => (item as HTMLElement).dataset['column'] ?? '').filter((name) => box(name)?.checked);
    show();
    save(shown);
  });
  list.addEventListener('click', (event) => {
    const button = (event.target as Element).closest<HTMLElement>('[data-move]');
    const name = button?.closest<HTMLElement>('[data-column]')?.dataset['column'];
    if (!button || !name) return;
    shown = moved(shown, name, Number(button.dataset['move']));
    show();
    button.focus();
    save(shown);
  });
  document.querySelector('[data-columns-reset]')?.addEventListener('click', () => {
    void savePreference('worklist.columns', null).then(() => location.reload());
  });
  show();
}

export function installWorklist(): void {
  installFilters();
  installColumns();
}
