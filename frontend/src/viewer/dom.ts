/** Small help for building elements without innerHTML. */
type Child = Node | string | null | undefined | false;

interface Options {
  class?: string;
  text?: string;
  title?: string;
  data?: Record<string, string>;
  attrs?: Record<string, string>;
  on?: Record<string, (event: Event) => void>;
}

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, options: Options = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (options.class) element.className = options.class;
  if (options.text !== undefined) element.textContent = options.text;
  if (options.title) element.title = options.title;
  for (const [name, value] of Object.entries(options.data ?? {})) element.dataset[name] = value;
  for (const [name, value] of Object.entries(options.attrs ?? {})) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(options.on ?? {})) element.addEventListener(name, listener);
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

export function button(text: string, onClick: () => void, options: Options = {}): HTMLButtonElement {
  const made = h('button', { class: 'btn btn--small', ...options, text, attrs: { type: 'button', ...options.attrs } });
  made.addEventListener('click', onClick);
  return made;
}

/** Sets text only when it changed: overlays are written at every frame. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
