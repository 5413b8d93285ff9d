/** Entry of every page: styles, htmx, live notices, messages, autosave. */
import htmx from 'htmx.org';
import './styles/index.css';
import { t } from './i18n';
import { flushAutosave, installAutosave } from './pages/autosave';
import { csrfToken } from './pages/csrf';
import { installHold } from './pages/hold';
import { connectLive } from './pages/live';
import { installMorph } from './pages/morph';
import { installToasts, toast } from './pages/toast';
import { installWidgets } from './pages/widgets';
import { installWorklist } from './pages/worklist';

htmx.config.allowEval = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.historyCacheSize = 0; // No patient data in localStorage.
// A form that did not validate comes back as 422 with its messages and is shown.
htmx.config.responseHandling = [
  { code: '204', swap: false },
  { code: '[23]..', swap: true },
  { code: '422', swap: true },
  { code: '[45]..', swap: false, error: true },
];

interface HtmxRequestDetail {
  headers: Record<string, string>;
  verb: string;
}
interface HtmxConfirmDetail {
  elt: Element;
  issueRequest: (skipConfirmation: boolean) => void;
}
interface HtmxAnswerDetail {
  xhr: XMLHttpRequest;
}

function explain(xhr: XMLHttpRequest): string {
  if (xhr.getResponseHeader('content-type')?.includes('application/json')) {
    const body = JSON.parse(xhr.responseText) as { detail?: unknown };
    if (typeof body.detail === 'string') return body.detail;
  }
  if (xhr.status === 401) return t('You are signed out. Sign in again in another tab, then reload this page.');
  if (xhr.status === 403) return t('You may not do this. If you were signed out, reload the page and sign in.');
  if (xhr.status === 404) return t('This no longer exists. Reload the page.');
  if (xhr.status === 429) return t('Too many wrong passwords. Nothing was signed; try again in a quarter of an hour.');
  if (xhr.status === 409) return t('Somebody else changed this first. Reload the page to see their change.');
  return t('The server could not do this ({status}). Try again; if it goes on, tell your administrator.', { status: xhr.status });
}

function install(): void {
  const body = document.body;
  body.addEventListener('htmx:configRequest', (event) => {
    const detail = (event as CustomEvent<HtmxRequestDetail>).detail;
    if (detail.verb !== 'get') detail.headers['X-CSRFToken'] = csrfToken();
  });
  // A request that speaks about the form's text (signing) waits until that text is saved.
  body.addEventListener('htmx:confirm', (event) => {
    const { elt, issueRequest } = (event as CustomEvent<HtmxConfirmDetail>).detail;
    if (!elt.hasAttribute('data-after-autosave')) return;
    event.preventDefault();
    void flushAutosave().then(() => issueRequest(true));
  });
  body.addEventListener('htmx:responseError', (event) => {
    toast(explain((event as CustomEvent<HtmxAnswerDetail>).detail.xhr), 'bad');
  });
  body.addEventListener('htmx:sendError', () => {
    toast(t('The server cannot be reached. Check the connection and try again.'), 'bad');
  });
  body.addEventListener('htmx:load', (event) => installAutosave(event.target as HTMLElement));
  installMorph(htmx);
  installHold((piece, name) => htmx.trigger(piece, name));
  installToasts();
  installAutosave(document);
  installWidgets();
  const upload = document.querySelector<HTMLElement>('[data-upload]');
  if (upload) void import('./upload/page').then(({ mountUpload }) => mountUpload(upload));
  if (document.querySelector('[data-worklist]')) installWorklist();
  if (body.hasAttribute('data-live')) connectLive(Number(body.dataset['live'] || 0));
}

if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', install);
else install();
