/**
 * Autosave of a form: <form data-autosave="/url/">. Every change is kept in localStorage at once and
 * posted after a short pause; it is forgotten only when the server has confirmed it. After a reload
 * or a crash an unconfirmed text is put back and sent.
 */
import { t } from '../i18n';
import { csrfToken } from './csrf';
import { toast } from './toast';

const PAUSE_MS = 700;
const RETRY_MS = 4000;
const SKIPPED = new Set(['csrfmiddlewaretoken', 'revision', 'password']);

type Kept = Record<string, string>;

export function keyOf(url: string): string {
  return `radfuse.autosave:${url}`;
}

function textFields(form: HTMLFormElement): (HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement)[] {
  return [...form.querySelectorAll<HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement>('[name]')].filter(
    (field) => !SKIPPED.has(field.name) && field.type !== 'hidden' && field.type !== 'password',
  );
}

function read(form: HTMLFormElement): Kept {
  return Object.fromEntries(textFields(form).map((field) => [field.name, field.value]));
}

class Autosave {
  private timer = 0;
  private sending = false;
  private again = false;

  constructor(
    private readonly form: HTMLFormElement,
    private readonly url: string,
  ) {
    form.addEventListener('input', () => this.changed());
    form.addEventListener('change', () => this.changed());
    this.restore();
  }

  private show(state: 'editing' | 'saving' | 'saved' | 'error' | 'conflict', text: string): void {
    for (const element of document.querySelectorAll<HTMLElement>('[data-autosave-state]')) {
      element.dataset['state'] = state;
      element.textContent = text;
    }
    this.form.dataset['autosaveStatus'] = state;
  }

  private changed(): void {
    localStorage.setItem(keyOf(this.url), JSON.stringify(read(this.form)));
    this.show('editing', t('Unsaved changes'));
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.send(), PAUSE_MS);
  }

  async flush(): Promise<void> {
    if (!this.form.isConnected) {
      alive.delete(this);
      return;
    }
    if (this.form.dataset['autosaveStatus'] !== 'editing') return;
    window.clearTimeout(this.timer);
    await this.send();
  }

  private restore(): void {
    const stored = localStorage.getItem(keyOf(this.url));
    if (!stored) return;
    const kept = JSON.parse(stored) as Kept;
    let differs = false;
    for (const field of textFields(this.form)) {
      const text = kept[field.name];
      if (text !== undefined && text !== field.value) {
        field.value = text;
        differs = true;
      }
    }
    if (!differs) {
      localStorage.removeItem(keyOf(this.url));
      return;
    }
    toast(t('Your last changes had not reached the server. They were put back and are being saved.'), 'warn');
    void this.send();
  }

  private async send(): Promise<void> {
    if (this.sending) {
      this.again = true;
      return;
    }
    this.sending = true;
    this.show('saving', t('Saving…'));
    const sent = JSON.stringify(read(this.form));
    try {
      const response = await fetch(this.url, {
        method: 'POST',
        body: new FormData(this.form),
        headers: { 'X-CSRFToken': csrfToken(), Accept: 'application/json' },
      });
      await this.answered(response, sent);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.retry(t('No connection. Your text is kept in this browser and will be sent.'));
    } finally {
      this.sending = false;
    }
    if (this.again) {
      this.again = false;
      await this.send();
    }
  }

  private async answered(response: Response, sent: string): Promise<void> {
    const isJson = response.headers.get('content-type')?.includes('application/json') ?? false;
    const body = isJson ? ((await response.json()) as Record<string, unknown>) : {};
    if (response.ok && isJson) {
      const revision = this.form.querySelector<HTMLInputElement>('input[name="revision"]');
      if (revision && body['revision'] !== undefined) revision.value = String(body['revision']);
      // Typed on while the request was under way: keep that text, the pause timer sends it.
      if (localStorage.getItem(keyOf(this.url)) === sent) localStorage.removeItem(keyOf(this.url));
      this.show('saved', t('Saved {time}', { time: new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }) }));
      this.form.dispatchEvent(new CustomEvent('radfuse:autosaved', { detail: body, bubbles: true }));
    } else if (response.status >= 500) {
      this.retry(t('The server could not save. Your text is kept in this browser and will be sent again.'));
    } else if (response.status === 401) {
      this.show('error', t('Not saved: you are signed out'));
      toast(t('You are signed out. Sign in again in another tab, then reload this page: your text is kept in this browser and is put back.'), 'bad');
    } else {
      const reason = typeof body['detail'] === 'string' ? body['detail'] : t('The server refused the change ({status}).', { status: response.status });
      this.show(response.status === 409 ? 'conflict' : 'error', t('Not saved'));
      toast(t('{reason} Your text is kept in this browser; copy it, then reload the page.', { reason }), 'bad');
    }
  }

  private retry(message: string): void {
    this.show('error', t('Not saved yet, trying again'));
    toast(message, 'warn');
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.send(), RETRY_MS);
  }
}

const known = new WeakSet<HTMLFormElement>();
const alive = new Set<{ flush: () => Promise<void> }>();

/** Sends what is still waiting for its pause; resolves when the server has answered. */
export async function flushAutosave(): Promise<void> {
  await Promise.all([...alive].map((one) => one.flush()));
}

/** Finds autosaving forms in the page or in a piece that htmx has just put in. */
export function installAutosave(root: ParentNode): void {
  for (const form of root.querySelectorAll<HTMLFormElement>('form[data-autosave]')) {
    const url = form.dataset['autosave'];
    if (!url || known.has(form)) continue;
    known.add(form);
    alive.add(new Autosave(form, url));
  }
}
