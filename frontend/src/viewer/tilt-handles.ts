/** Oblique planes by hand: where the other planes cut a pane, as lines, and a grip on them that turns those planes. */
import { add, cross, length, normalise, scale, type Vec3 } from '../affine';
import { t } from '../i18n';
import type { Commands } from './commands';
import { h } from './dom';
import type { Pane } from './panes';
import type { Scene } from './scene';
import type { PaneName, Point2 } from './stage';

const LINE = 'rgb(120 190 235 / 80%)';
/** Of the smaller side of the pane: how far from the cursor a grip is. */
const REACH = 0.36;
const KEY_DEGREES = 5;

/** Lines through the cursor along which other planes cut a pane: canvas px of the middle, unit vectors. */
export function planeLines(scene: Scene, pane: PaneName): { middle: Point2; directions: Point2[] } {
  const { panes, stage } = scene;
  const focus = panes.cursor(pane);
  const middle = stage.toCanvas(pane, focus);
  const own = panes.axes[pane]!.normal;
  const directions: Point2[] = [];
  for (const plan of panes.crossing(pane)) {
    const along: Vec3 = normalise(cross(own, panes.axes[plan.spec.id]!.normal));
    const [x, y] = stage.toCanvas(pane, add(focus, scale(along, 100)));
    const size = Math.hypot(x - middle[0], y - middle[1]);
    const unit: Point2 = [(x - middle[0]) / size, (y - middle[1]) / size];
    if (!(length([unit[0], unit[1], 0]) > 0)) continue;
    if (directions.every((other) => Math.abs(other[0] * unit[0] + other[1] * unit[1]) < 0.9999)) directions.push(unit);
  }
  return { middle, directions };
}

/** Drawn over the marks, open round the cursor itself. */
export function drawPlaneLines(canvas: HTMLCanvasElement, { middle, directions }: { middle: Point2; directions: Point2[] }): void {
  const context = canvas.getContext('2d');
  if (!context) return;
  const far = canvas.clientWidth + canvas.clientHeight;
  context.strokeStyle = LINE;
  context.lineWidth = 1;
  context.beginPath();
  for (const [x, y] of directions) {
    for (const side of [-1, 1]) {
      context.moveTo(middle[0] + side * x * 14, middle[1] + side * y * 14);
      context.lineTo(middle[0] + side * x * far, middle[1] + side * y * far);
    }
  }
  context.stroke();
}

export class TiltHandle {
  readonly element = h('div', {
    class: 'tilt-grip',
    text: '⟳',
    title: t('Drag to turn the planes that cross this one (oblique)'),
    attrs: { role: 'slider', tabindex: '0', 'aria-label': t('Turn the crossing planes'), 'aria-valuemin': '-180', 'aria-valuemax': '180', 'aria-valuenow': '0' },
  });
  private angle: number | null = null;
  private total = 0;

  constructor(
    private readonly scene: Scene,
    private readonly commands: Commands,
    private readonly pane: Pane,
  ) {
    this.element.hidden = true;
    this.element.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      this.angle = this.angleAt(event);
      this.element.setPointerCapture(event.pointerId);
      event.stopPropagation();
      event.preventDefault();
    });
    this.element.addEventListener('pointermove', (event) => {
      if (this.angle === null) return;
      const now = this.angleAt(event);
      // Canvas angles run clockwise: y points down.
      this.turn(((this.angle - now) * 180) / Math.PI);
      this.angle = now;
    });
    for (const end of ['pointerup', 'pointercancel'] as const) this.element.addEventListener(end, () => (this.angle = null));
    this.element.addEventListener('dblclick', (event) => event.stopPropagation());
    this.element.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: KEY_DEGREES, ArrowUp: KEY_DEGREES, ArrowRight: -KEY_DEGREES, ArrowDown: -KEY_DEGREES }[event.key];
      if (step === undefined) return;
      this.turn(step);
      event.stopPropagation();
      event.preventDefault();
    });
  }

  private turn(degrees: number): void {
    const turned = ((degrees + 540) % 360) - 180;
    this.total = ((this.total + turned + 540) % 360) - 180;
    this.commands.view.tiltOthers(this.pane.name, turned);
  }

  private angleAt(event: MouseEvent): number {
    const box = this.pane.image.getBoundingClientRect();
    const [x, y] = this.scene.stage.toCanvas(this.pane.name, this.scene.panes.cursor(this.pane.name));
    return Math.atan2(event.clientY - box.top - y, event.clientX - box.left - x);
  }

  update(): void {
    const { state } = this.scene.store;
    const { crossing } = { crossing: state.handles && state.alone === null ? this.scene.panes.crossing(this.pane.name) : [] };
    this.element.hidden = !crossing.length;
    if (!crossing.length) return;
    const { middle, directions } = planeLines(this.scene, this.pane.name);
    const { clientWidth, clientHeight } = this.pane.image;
    const reach = Math.min(clientWidth, clientHeight) * REACH;
    // The end of the most level line that points right.
    const level = [...directions].sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]))[0] ?? [1, 0];
    const side = level[0] < 0 ? -1 : 1;
    const inside = (value: number, most: number): number => Math.min(Math.max(value, 16), most - 16);
    this.element.style.left = `${inside(middle[0] + side * level[0] * reach, clientWidth)}px`;
    this.element.style.top = `${inside(middle[1] + side * level[1] * reach, clientHeight)}px`;
    this.element.setAttribute('aria-valuenow', String(Math.round(this.total)));
  }
}
