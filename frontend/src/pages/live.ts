/** /ws/live/: small numbered notices from the server; the page decides what to fetch again. */
import { t } from '../i18n';
import { backoff, isFinal } from './backoff';

export interface LiveNotice {
  seq?: number;
  kind: string;
  case?: number | null;
}

function showState(state: 'live' | 'reconnecting' | 'offline'): void {
  const words = { live: t('Live'), reconnecting: t('Reconnecting…'), offline: t('Offline') };
  for (const element of document.querySelectorAll<HTMLElement>('[data-live-state]')) {
    element.dataset['liveState'] = state;
    element.textContent = words[state];
  }
  for (const notice of document.querySelectorAll<HTMLElement>('[data-offline]')) notice.hidden = state === 'live';
}

function announce(notice: LiveNotice): void {
  const names = ['radfuse:live', `radfuse:live-${notice.kind}`];
  if (notice.case != null) names.push(`radfuse:live-case-${notice.case}`);
  // Events on <body> bubble to window, so both `from:body` and `from:window` hear them once.
  for (const name of names) {
    document.body.dispatchEvent(new CustomEvent(name, { detail: notice, bubbles: true }));
  }
}

export function connectLive(since: number): void {
  let seen = since;
  let attempt = 0;
  const open = (): void => {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${location.host}/ws/live/`);
    socket.onopen = () => {
      attempt = 0;
      showState('live');
      socket.send(JSON.stringify({ since: seen }));
    };
    socket.onmessage = (message: MessageEvent<string>) => {
      const notice = JSON.parse(message.data) as LiveNotice;
      if (typeof notice.seq === 'number') seen = Math.max(seen, notice.seq);
      announce(notice);
    };
    socket.onclose = (event) => {
      if (isFinal(event.code)) {
        showState('offline');
        return;
      }
      showState(navigator.onLine ? 'reconnecting' : 'offline');
      window.setTimeout(open, backoff(attempt++));
    };
  };
  open();
}
