/** Entry of the case page: mounts the viewer on <div id="viewer" data-case data-view-url>. */
import '../styles/viewer.css';
import '../styles/marks.css';
import '../styles/priors.css';
import '../styles/keys.css';
import type { Vec3 } from '../affine';
import { t } from '../i18n';
import type { LiveNotice } from '../pages/live';
import { toast } from '../pages/toast';
import { Api, ApiError } from './api';
import { button, h } from './dom';
import { mismatch, openedFor } from './identity';
import { hasWebGL2, type PaneName, type Point2 } from './stage';
import { stepName } from './status';
import { chooseDrawing, chosenDrawing, drawingSwitch, sayLineIsSlow } from './drawing-mode';
import type { View } from './types';
import { WeakViewer, type WhyWeak } from './weak';
import { Viewer } from './viewer';
import { installWindows } from './windows';

interface TestHook {
  readonly ready: boolean;
  readonly complete: boolean;
  goto(lps: Vec3): void;
  state(): object | null;
  canvas(pane: PaneName | 'moving', compared?: boolean): HTMLCanvasElement | null;
  toCanvas(pane: PaneName | 'moving', lps: Vec3): Point2 | null;
  toWorld(pane: PaneName | 'moving', at: Point2): Vec3 | null;
}
declare global {
  interface Window {
    radfuse: TestHook;
  }
}

const POLL_MS = 4000;
const REFRESH_MS = 800;

let viewer: Viewer | null = null;
/** Stands in for the viewer while the server draws. */
let weak: WeakViewer | null = null;
window.radfuse = {
  get ready() {
    return viewer?.ready ?? false;
  },
  get complete() {
    return viewer?.complete ?? false;
  },
  goto: (lps) => (weak ?? viewer)?.goto(lps),
  state: () => weak?.report() ?? viewer?.inspect.report() ?? null,
  canvas: (pane, compared) => viewer?.inspect.canvas(pane, compared) ?? null,
  toCanvas: (pane, lps) => viewer?.inspect.toCanvas(pane, lps) ?? null,
  toWorld: (pane, at) => viewer?.inspect.toWorld(pane, at) ?? null,
};

function message(root: HTMLElement, title: string, text: string, ...more: Node[]): void {
  root.replaceChildren(h('div', { class: 'empty viewer-message' }, h('h2', { text: title }), h('p', { text }), ...more, h('p', { class: 'not-diagnostic', text: t('Not for diagnostic use') })));
}

function showWaiting(root: HTMLElement, view: View): void {
  const steps = h('ul', { class: 'plain stack waiting-steps' }, ...view.run.steps.map((step) => {
    const bar = h('progress', { class: 'progress', attrs: { max: '1', value: String(step.state === 'done' ? 1 : step.progress), 'aria-label': stepName(step) } });
    return h('li', {}, h('span', { text: stepName(step) }), bar, step.error ? h('span', { class: 'badge badge--bad', text: step.error }) : h('span', { class: 'muted small', text: step.text }));
  }));
  const notices = view.notices.map((notice) => h('div', { class: `notice ${notice.severity === 'info' ? '' : 'notice--warn'}` }, h('span', { text: notice.message })));
  if (view.run.state === 'failed') message(root, t('No images to show'), t('The analysis stopped before the images were assembled. The reason is below; a retry is offered in the panel beside.'), steps, ...notices);
  else message(root, t('Images are being assembled'), t('They appear here by themselves.'), steps, ...notices);
}

function mount(root: HTMLElement): void {
  const caseId = Number(root.dataset['case']);
  const url = root.dataset['viewUrl'] ?? `/api/cases/${caseId}/view/`;
  installWindows(root, caseId);
  const canDraw = hasWebGL2();
  const api = new Api(url, caseId);
  let poll = 0;
  let refreshing = 0;

  const load = async (): Promise<void> => {
    window.clearTimeout(poll);
    let view: View;
    try {
      view = await api.view();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      message(root, t('The images could not be opened'), error.message, button(t('Try again'), () => void load(), { class: 'btn' }));
      return;
    }
    const wrong = mismatch(openedFor(root), view);
    if (wrong) {
      message(root, t('Images of another patient or case'), wrong);
      return;
    }
    if (view.reference === null) {
      showWaiting(root, view);
      poll = window.setTimeout(() => void load(), POLL_MS);
      return;
    }
    if (!canDraw) weak = new WeakViewer(root, api, view, 'webgl', null);
    else if (chosenDrawing() === 'server') drawOnServer(view, 'chosen');
    else draw(view);
  };

  const draw = (view: View): void => {
    const made = new Viewer(root, api, view, openedFor(root));
    viewer = made;
    made.supply.tooSlow = () => {
      sayLineIsSlow();
      drawOnServer(made.supply.view, 'line');
    };
    root.querySelector('.viewer-toolbar')?.append(drawingSwitch(() => {
      chooseDrawing('server');
      drawOnServer(made.supply.view, 'chosen');
    }));
  };

  const drawOnServer = (view: View, why: WhyWeak): void => {
    viewer?.supply.suspend();
    weak = new WeakViewer(root, api, view, why, () => {
      chooseDrawing('browser');
      weak?.close();
      weak = null;
      if (!viewer) return void load();
      viewer.supply.resume();
      void viewer.refresh();
    });
  };

  /** The server's pictures of a case that changed; the viewer at rest learns it when it comes back. */
  const refreshWeak = async (): Promise<void> => {
    let view: View;
    try {
      view = await api.view();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
      return;
    }
    const wrong = mismatch(openedFor(root), view);
    if (wrong) {
      weak?.close();
      message(root, t('Images of another patient or case'), wrong);
    } else if (view.reference !== null) weak?.refresh(view);
  };

  /** A burst of notices becomes one refresh. */
  const refresh = (): void => {
    refreshing ||= window.setTimeout(() => {
      refreshing = 0;
      if (weak) void refreshWeak();
      else if (viewer) void viewer.refresh();
      else void load();
    }, REFRESH_MS);
  };

  window.addEventListener(`radfuse:live-case-${caseId}`, (event) => {
    const { kind } = (event as CustomEvent<LiveNotice>).detail ?? {};
    // Every beat of a refinement says so: the view is fetched when one is done, not before.
    if (kind === 'registration' && weak) refresh();
    else if (kind === 'registration') viewer?.registrationChanged();
    else if (kind === 'measurement') void viewer?.marksChanged();
    else refresh();
  });
  window.addEventListener('radfuse:live-refresh', refresh);
  window.addEventListener('radfuse:reviewed', () => (weak ? refresh() : void viewer?.refresh()));
  window.addEventListener('radfuse:goto', (event) => {
    const { detail } = event as CustomEvent<{ finding?: number; point?: Vec3 }>;
    if (detail.finding !== undefined) {
      if (weak) weak.goto({ finding: detail.finding });
      else viewer?.gotoFindingId(detail.finding);
    } else if (detail.point) (weak ?? viewer)?.goto(detail.point);
  });
  void load();
}

const root = document.getElementById('viewer');
if (root) mount(root);
