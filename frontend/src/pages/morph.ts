/** `hx-swap="morph:innerHTML"`: what changed is changed in place, so focus, scroll and open menus stay. */
import type htmx from 'htmx.org';
import { Idiomorph } from 'idiomorph';

export function installMorph(library: typeof htmx): void {
  library.defineExtension('morph', {
    isInlineSwap: () => false,
    handleSwap: (style: string, target: Node, fragment: Node) => {
      if (!style.startsWith('morph')) return false;
      const changed = Idiomorph.morph(target as Element, (fragment as DocumentFragment).children, { morphStyle: 'innerHTML' });
      // A promise only where the page's <head> is changed, which a piece of it has not.
      return changed instanceof Promise ? [] : [...(changed ?? [])];
    },
  } as Parameters<typeof library.defineExtension>[1]);
}
