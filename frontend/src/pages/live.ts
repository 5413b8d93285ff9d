/** /ws/live/: small numbered notices from the server; the page decides what to fetch again. */
export interface LiveNotice {
  seq?: number;
  kind: string;
  case?: number | null;
}

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

/** The next wait before a reconnect: doubles up to a ceiling, with jitter so that many tabs spread. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt);
  return ceiling * (0.5 + 0.5 * random());
}

/** Close codes after which trying again cannot help: signed out, forbidden, gone. */
export function isFinal(code: number): boolean {
  return code === 4401 || code === 4403 || code === 4404;
}

function showState(state: 'live' | 'reconnecting' | 'offline'): void {
  const words = { live: 'Live', reconnecting: 'Reconnecting…', offline: 'Offline' };
  for (const element of document.querySelectorAll<HTMLElement>('[data-live-state]')) {
    element.dataset['liveState'] = state;
    element.textContent = words[state];
  }
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
