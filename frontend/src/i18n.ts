/**
 * Words of the interface in the reader's language.
 *
 * `t('Held by {name}', { name })`, `tn('{n} case', '{n} cases', n)`. The English text is the key, so it
 * must be a plain literal: a test of the catalogues reads the sources. What the catalogue lacks stays
 * English. The catalogue is Django's `djangojs` domain, embedded in the page as data
 * (<script type="application/json" id="catalogue">), so it is there before any module runs.
 */
export type Values = Readonly<Record<string, string | number>>;
export type Catalogue = Readonly<Record<string, string | readonly string[]>>;

let words: Catalogue = typeof document === 'undefined' ? {} : embedded(document);

function embedded(page: Document): Catalogue {
  const text = page.getElementById('catalogue')?.textContent;
  return text ? (JSON.parse(text) as Catalogue) : {};
}

/** For tests, and for pages that came without the catalogue's element. */
export function setCatalogue(catalogue: Catalogue): void {
  words = catalogue;
}

function fill(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : String(value);
  });
}

/** The text in the reader's language, with `{name}` replaced by `values.name`. */
export function t(text: string, values: Values = {}): string {
  const found = words[text];
  return fill(typeof found === 'string' ? found : text, values);
}

/** As `t`, by number: English has two forms, Chinese one. `{n}` is the number itself. */
export function tn(one: string, many: string, n: number, values: Values = {}): string {
  const forms = words[one];
  const known = Array.isArray(forms) ? ((n === 1 ? forms[0] : forms.at(-1)) as string | undefined) : undefined;
  return fill(known ?? (n === 1 ? one : many), { n, ...values });
}
