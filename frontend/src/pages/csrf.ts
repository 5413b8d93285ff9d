/** The CSRF token of the page: <meta name="csrf-token">, a form's hidden field, or the cookie. */
export function csrfToken(): string {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content;
  if (meta) return meta;
  const field = document.querySelector<HTMLInputElement>('input[name="csrfmiddlewaretoken"]')?.value;
  if (field) return field;
  const cookie = document.cookie.split('; ').find((entry) => entry.startsWith('csrftoken='));
  return cookie ? decodeURIComponent(cookie.slice('csrftoken='.length)) : '';
}
