/**
 * What the reader keeps about how they like to work (`workstation/accounts/preferences.py`).
 * Known at once: the case view brings the viewer's, a page may embed others
 * (<script type="application/json" id="preferences">). Saving is in the background, in order.
 */
import { t } from './i18n';
import { csrfToken } from './pages/csrf';
import { toast } from './pages/toast';

export type PreferenceKey =
  | 'viewer.layouts'
  | 'viewer.keys'
  | 'viewer.mouse'
  | 'viewer.display'
  | 'worklist.columns'
  | 'worklist.filters'
  | 'language';
export type Preferences = Partial<Record<PreferenceKey, unknown>>;

const RETRY_MS = 5000;

let kept: Preferences = typeof document === 'undefined' ? {} : embedded(document);
/** Changed here and not confirmed yet: newer than anything the server tells meanwhile. */
const waiting = new Map<PreferenceKey, unknown>();
let sending: Promise<void> | null = null;

function embedded(page: Document): Preferences {
  const text = page.getElementById('preferences')?.textContent;
  return text ? (JSON.parse(text) as Preferences) : {};
}

/** What the server says is kept; what is on its way there stays. */
export function takePreferences(told: Preferences): void {
  kept = { ...kept, ...told, ...Object.fromEntries(waiting) };
}

/** The kept value, or undefined. Its shape is the caller's: check it, an older release may have kept it. */
export function preference<T = unknown>(key: PreferenceKey): T | undefined {
  return (kept[key] ?? undefined) as T | undefined;
}

/** Keeps a value (null: takes it back). Known here at once; resolves when the server has answered. */
export function savePreference(key: PreferenceKey, value: unknown): Promise<void> {
  kept = { ...kept, [key]: value };
  waiting.set(key, value);
  sending ??= sendAll();
  return sending;
}

async function sendAll(): Promise<void> {
  try {
    for (let next = waiting.entries().next(); !next.done; next = waiting.entries().next()) {
      const [key, value] = next.value;
      const answer = await put(key, value);
      if (answer === null) {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      // Changed again while the request was under way: that value is sent next.
      if (waiting.get(key) === value) waiting.delete(key);
      if (!answer.ok) toast(await reason(answer), 'warn');
    }
  } finally {
    sending = null;
  }
}

/** Null: the server could not be reached, or is not able to answer now; worth another try. */
async function put(key: PreferenceKey, value: unknown): Promise<Response | null> {
  try {
    const answer = await fetch(`/api/preferences/${key}/`, {
      method: 'PUT',
      headers: { 'X-CSRFToken': csrfToken(), 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify({ value }),
    });
    return answer.status >= 500 ? null : answer;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return null;
  }
}

async function reason(answer: Response): Promise<string> {
  const isJson = answer.headers.get('content-type')?.includes('json') ?? false;
  const body = isJson ? ((await answer.json()) as { detail?: unknown }) : {};
  const detail = Array.isArray(body.detail) ? body.detail[0] : body.detail;
  return typeof detail === 'string' ? t('Your setting was not kept: {reason}', { reason: detail }) : t('Your setting was not kept.');
}
