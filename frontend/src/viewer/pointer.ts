/** Mouse and pen on the panes: left = active tool, right = zoom, middle = pan, wheel = slice. */
import type { Vec3 } from '../affine';
import type { Aligning } from './aligning';
import type { Commands } from './commands';
import type { Pane } from './panes';
import type { PaneName, Point2 } from './stage';

export interface PointerActions {
  commands: Commands;
  crosshair(pane: PaneName, point: Vec3): void;
  probe(pane: PaneName, point: Vec3, at: Point2): void;
  /** Rubber line while dragging; `done` when the button was let go. */
  length(pane: PaneName, from: Vec3, to: Vec3, done: boolean): void;
  /** A click that hit a finding's mark; true when it did. */
  pick(pane: PaneName, at: Point2): boolean;
  landmark(pane: PaneName, point: Vec3): void;
  aligning: Aligning;
}

type Drag = 'window' | 'zoom' | 'pan' | 'crosshair' | 'length' | 'probe' | 'align' | 'landmark';

const CLICK_PX = 3;
const WHEEL_PX = 40;

export function installPointer(pane: Pane, actions: PointerActions): void {
  const { commands } = actions;
  const { scene } = commands;
  const stage = scene.stage;
  const element = pane.element;
  let drag: Drag | null = null;
  let start: Point2 = [0, 0];
  let last: Point2 = [0, 0];
  let from: Vec3 | null = null;
  let moved = false;
  let turning = false;
  let wheel = 0;

  const where = (event: MouseEvent): Point2 => {
    const box = pane.image.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  element.addEventListener('pointerdown', (event) => {
    if ((event.target as Element).closest('button')) return;
    scene.store.patch({ pane: pane.name });
    element.focus({ preventScroll: true });
    start = last = where(event);
    moved = false;
    if (event.button === 1) drag = 'pan';
    else if (event.button === 2) drag = 'zoom';
    else drag = scene.store.state.tool;
    from = stage.toWorld(pane.name, start);
    if (drag === 'crosshair') actions.crosshair(pane.name, from);
    if (drag === 'align') turning = actions.aligning.turnsAt(pane.name, start, event.shiftKey);
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
  });

  element.addEventListener('pointermove', (event) => {
    if (!drag || !from) return;
    const at = where(event);
    const [dx, dy] = [at[0] - last[0], at[1] - last[1]];
    if (Math.hypot(at[0] - start[0], at[1] - start[1]) > CLICK_PX) moved = true;
    if (!moved) return;
    last = at;
    if (drag === 'window') commands.windowBy(commands.active, dx, dy);
    else if (drag === 'align') actions.aligning.drag(pane.name, start, at, turning);
    else if (drag === 'zoom') stage.zoomBy(pane.name, Math.exp(-dy / 150), start);
    else if (drag === 'pan') stage.panBy(pane.name, dx, dy);
    else if (drag === 'crosshair') actions.crosshair(pane.name, stage.toWorld(pane.name, at));
    else if (drag === 'length') actions.length(pane.name, from, stage.toWorld(pane.name, at), false);
  });

  const finish = (event: PointerEvent): void => {
    if (!drag || !from) return;
    const at = where(event);
    const world = stage.toWorld(pane.name, at);
    if (event.type === 'pointerup') {
      if (!moved && event.button === 0 && !['probe', 'align', 'landmark'].includes(drag) && actions.pick(pane.name, at)) {
        // The click selected a finding.
      } else if (drag === 'probe') actions.probe(pane.name, world, at);
      else if (drag === 'landmark') actions.landmark(pane.name, world);
      else if (drag === 'length' && moved) actions.length(pane.name, from, world, true);
      if (drag === 'zoom' || drag === 'pan') commands.rememberFraming(pane.name);
    }
    // A drag that the system broke off is kept too: it can be undone.
    if (drag === 'align' && moved) actions.aligning.drop();
    drag = null;
  };
  element.addEventListener('pointerup', finish);
  element.addEventListener('pointercancel', finish);

  // Reached by Tab as well: the keys act on the pane that has the focus.
  element.addEventListener('focus', () => {
    if (scene.store.state.pane !== pane.name) scene.store.patch({ pane: pane.name });
  });

  element.addEventListener('wheel', (event) => {
    event.preventDefault();
    scene.store.state.pane = pane.name;
    if (event.ctrlKey || event.altKey) {
      stage.zoomBy(pane.name, Math.exp(-event.deltaY / 400), where(event));
      commands.rememberFraming(pane.name);
      return;
    }
    // A mouse notch is one slice at once; a touch pad's small steps add up.
    wheel += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / WHEEL_PX : event.deltaY;
    const notch = Math.abs(event.deltaY) >= WHEEL_PX || event.deltaMode !== WheelEvent.DOM_DELTA_PIXEL;
    const slices = notch ? Math.sign(event.deltaY) : Math.trunc(wheel);
    if (notch) wheel = 0;
    else wheel -= slices;
    if (slices) commands.scroll(slices * (event.shiftKey ? 5 : 1), pane.name);
  }, { passive: false });

  element.addEventListener('dblclick', (event) => {
    if (!(event.target as Element).closest('button')) commands.toggleOneUp(pane.name);
  });
  element.addEventListener('contextmenu', (event) => event.preventDefault());
  element.addEventListener('auxclick', (event) => event.preventDefault());
}
