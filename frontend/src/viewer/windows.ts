/**
 * The second window of a case (`?window=2`), for another monitor: the same page without the report. It knows which case
 * the first window shows; when that is another one it says so, in colour, until the reader lets it follow or stay.
 */
import { t } from '../i18n';
import { toast } from '../pages/toast';
import { button, h } from './dom';

export const isSecond = typeof location !== 'undefined' && new URLSearchParams(location.search).get('window') === '2';

const NAME = 'radfuse-second:';
const KEY = 'radfuse.window';
const SIZE = 'popup,width=1280,height=960';

/** Which case a first window shows. `main` tells first windows apart: each has its own second one. */
interface Showing {
  type: 'showing';
  main: string;
  caseId: number;
  patient: string;
}
type Said = Showing | { type: 'who' };

/** Of this tab, through reloads and other pages; a window opened from it is given another by its name. */
function mainId(): string {
  const kept = window.sessionStorage.getItem(KEY);
  if (kept) return kept;
  const made = crypto.getRandomValues(new Uint32Array(2)).join('-');
  window.sessionStorage.setItem(KEY, made);
  return made;
}

function urlOf(caseId: number): string {
  const url = new URL(location.href);
  url.pathname = url.pathname.replace(/\/cases\/\d+\//, `/cases/${caseId}/`);
  url.search = '?window=2';
  url.hash = '';
  return url.href;
}

/** The patient by whom the page was rendered, so that two cases of one patient can be told from two patients. */
function patientOf(root: HTMLElement): string {
  return JSON.stringify([root.dataset['patientIssuer'] ?? '', root.dataset['patientId'] ?? '']);
}

export function openSecond(caseId: number): void {
  if (isSecond) return;
  const opened = window.open(urlOf(caseId), NAME + mainId(), SIZE);
  if (opened) opened.focus();
  else toast(t('The browser blocked the second window. Allow pop-ups for this site, then try again.'), 'warn');
}

/** Says what this window shows, and in a second window hears what the first one shows. */
export function installWindows(root: HTMLElement, caseId: number): void {
  const channel = new BroadcastChannel('radfuse.windows');
  const say = (said: Said): void => channel.postMessage(said);
  if (isSecond) {
    const flag = new OtherCase(root, caseId);
    channel.onmessage = ({ data }: MessageEvent<Said>) => {
      if (data.type === 'showing' && (!window.name.startsWith(NAME) || window.name === NAME + data.main)) flag.heard(data);
    };
    document.body.classList.add('second-window');
    document.title = t('Second window: {title}', { title: document.title });
    say({ type: 'who' });
    return;
  }
  const showing: Showing = { type: 'showing', main: mainId(), caseId, patient: patientOf(root) };
  channel.onmessage = ({ data }: MessageEvent<Said>) => {
    if (data.type === 'who') say(showing);
  };
  window.addEventListener('focus', () => say(showing));
  // Back by the browser's history.
  window.addEventListener('pageshow', () => say(showing));
  say(showing);
}

class OtherCase {
  private readonly text = h('strong', {});
  private readonly element = h('div', { class: 'other-case', attrs: { role: 'alert' } });
  private other = 0;

  constructor(
    private readonly root: HTMLElement,
    private readonly caseId: number,
  ) {
    const follow = button(t('Follow'), () => location.replace(urlOf(this.other)), { class: 'btn btn--small btn--primary', data: { action: 'follow' } });
    this.element.append(h('span', { text: '⚠', attrs: { 'aria-hidden': 'true' } }), this.text, follow);
    this.element.hidden = true;
    root.before(this.element);
  }

  heard({ caseId, patient }: Showing): void {
    this.other = caseId;
    const differs = caseId !== this.caseId;
    document.body.classList.toggle('is-other-case', differs);
    this.element.hidden = !differs;
    this.text.textContent = !differs ? '' : patient === patientOf(this.root)
      ? t('This window shows another case of this patient. The first window went on.')
      : t('This window shows another patient. The first window went on.');
  }
}
