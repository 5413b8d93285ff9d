/** Mouse, pen and touch on the panes; which button does what is the reader's scheme (`mouse.ts`). */
import type { Vec3 } from '../affine';
import type { Aligning } from './aligning';
import type { Commands } from './commands';
import type { Hand } from './marks/hand';
import { isMarkTool, type MarkTool } from './marks/tools';
import { buttonAct, Wheel } from './mouse';
import type { Pane } from './panes';
import type { PaneName, Point2 } from './stage';
import type { Tool } from './state';

export interface PointerActions {
  commands: Commands;
  crosshair(pane: PaneName, point: Vec3): void;
  probe(pane: PaneName, point: Vec3, at: Point2): void;
  /** A click that hit a finding's mark; true when it did. */
  pick(pane: PaneName, at: Point2): boolean;
  landmark(pane: PaneName, point: Vec3): void;
  aligning: Aligning;
  hand: Hand;
  /** The pointer is over a point of a pane; `held`: the lens is wanted there. */
  over(pane: PaneName, at: Point2, held: boolean): void;
  left(): void;
}

/** What a drag does; a tool of its own, or taking hold of a mark. */
type Drag = Exclude<Tool, MarkTool> | 'probe' | 'mark';

const CLICK_PX = 3;
/** Of a drag with the scroll tool, per slice. */
const SCROLL_PX = 7;
/** Things over the image with a pointer of their own. */
const OWN_POINTER = 'button, .mark-label, .mark-form, .mark-field, .probe-card';
/** Clicks of these tools mean a place, never the finding under it. */
const PLACING: readonly Drag[] = ['probe', 'align', 'landmark', 'mark'];

export function installPointer(pane: Pane, actions: PointerActions): void {
  const { commands, hand } = actions;
  const { scene } = commands;
  const stage = scene.stage;
  const element = pane.element;
  let drag: Drag | null = null;
  let start: Point2 = [0, 0];
  let last: Point2 = [0, 0];
  let moved = false;
  let turning = false;
  let scrolled = 0;
  const wheel = new Wheel();

  const where = (event: MouseEvent): Point2 => {
    const box = pane.image.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  /** Marks come before tools, but not while a layer is aligned or a landmark placed. */
  const begin = (at: Point2, tool: Tool): Drag => {
    const drawing = isMarkTool(tool) && tool !== 'probe' ? tool : null;
    const taken = tool !== 'align' && tool !== 'landmark' && hand.press(pane.name, at, stage.toWorld(pane.name, at), drawing);
    return taken || drawing ? 'mark' : (tool as Drag);
  };

  element.addEventListener('pointerdown', (event) => {
    if ((event.target as Element).closest(OWN_POINTER)) return;
    scene.store.patch({ pane: pane.name });
    element.focus({ preventScroll: true });
    start = last = where(event);
    moved = false;
    scrolled = 0;
    const act = buttonAct(event.button);
    drag = act === 'tool' ? begin(start, scene.store.state.tool) : act;
    if (drag === 'crosshair') actions.crosshair(pane.name, stage.toWorld(pane.name, start));
    if (drag === 'magnify') actions.over(pane.name, start, true);
    if (drag === 'align') turning = actions.aligning.turnsAt(pane.name, start, event.shiftKey);
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
  });

  element.addEventListener('pointermove', (event) => {
    const at = where(event);
    actions.over(pane.name, at, drag === 'magnify');
    const [dx, dy] = [at[0] - last[0], at[1] - last[1]];
    if (drag && Math.hypot(at[0] - start[0], at[1] - start[1]) > CLICK_PX) moved = true;
    if (!drag || drag === 'mark') hand.move(pane.name, at, stage.toWorld(pane.name, at), moved);
    if (!drag || !moved) return;
    last = at;
    if (drag === 'window') commands.windowBy(commands.active, dx, dy);
    else if (drag === 'align') actions.aligning.drag(pane.name, start, at, turning);
    else if (drag === 'zoom') stage.zoomBy(pane.name, Math.exp(-dy / 150), start);
    else if (drag === 'pan') stage.panBy(pane.name, dx, dy);
    else if (drag === 'crosshair') actions.crosshair(pane.name, stage.toWorld(pane.name, at));
    else if (drag === 'scroll') {
      const slices = Math.trunc((at[1] - start[1]) / SCROLL_PX) - scrolled;
      scrolled += slices;
      if (slices) commands.scroll(slices, pane.name);
    }
  });

  const finish = (event: PointerEvent): void => {
    if (!drag) return;
    const at = where(event);
    const done = drag;
    drag = null;
    actions.over(pane.name, at, false);
    if (done === 'mark') {
      if (event.type === 'pointerup') hand.release(pane.name, stage.toWorld(pane.name, at), moved);
      else hand.breakOff();
    } else if (event.type === 'pointerup') {
      const world = stage.toWorld(pane.name, at);
      if (!moved && event.button === 0 && !PLACING.includes(done) && actions.pick(pane.name, at)) {
        // The click selected a finding.
      } else if (done === 'probe') actions.probe(pane.name, world, at);
      else if (done === 'landmark') actions.landmark(pane.name, world);
      if (done === 'zoom' || done === 'pan') commands.rememberFraming(pane.name);
    }
    // A drag that the system broke off is kept too: it can be undone.
    if (done === 'align' && moved) actions.aligning.drop();
  };
  element.addEventListener('pointerup', finish);
  element.addEventListener('pointercancel', finish);
  element.addEventListener('pointerleave', () => {
    if (!drag) actions.left();
  });

  // Reached by Tab as well: the keys act on the pane that has the focus.
  element.addEventListener('focus', () => {
    if (scene.store.state.pane !== pane.name) scene.store.patch({ pane: pane.name });
  });

  element.addEventListener('wheel', (event) => {
    event.preventDefault();
    scene.store.state.pane = pane.name;
    const turned = wheel.turn(event);
    if (!turned) return;
    if ('slices' in turned) return commands.scroll(turned.slices, pane.name);
    stage.zoomBy(pane.name, turned.zoom, where(event));
    commands.rememberFraming(pane.name);
  }, { passive: false });

  element.addEventListener('dblclick', (event) => {
    if ((event.target as Element).closest(OWN_POINTER)) return;
    hand.breakOff();
    commands.toggleOneUp(pane.name);
  });
  element.addEventListener('contextmenu', (event) => event.preventDefault());
  element.addEventListener('auxclick', (event) => event.preventDefault());
}
