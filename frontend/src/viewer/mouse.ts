/** What buttons and wheel do: schemes by the reader's habit (preference `viewer.mouse`). Touch and pen tip are the left button. */
import { t } from '../i18n';
import { preference, savePreference } from '../preferences';

export const SCHEMES = ['radfuse', 'window-right', 'wheel-zooms'] as const;
export type Scheme = (typeof SCHEMES)[number];
export type ButtonAct = 'tool' | 'zoom' | 'pan' | 'window' | 'scroll';

export interface Mouse {
  scheme: Scheme;
  /** Of a window drag: which way is darker. Vendors differ. */
  darker: 'down' | 'up';
  /** Per notch of the wheel. */
  slices: number;
}

export const WHEEL_SLICES: readonly number[] = [1, 2, 3, 5];
const FIRST: Mouse = { scheme: 'radfuse', darker: 'down', slices: 1 };
const WHEEL_PX = 40;
const FAR = 5;
const ACTS: Record<Scheme, readonly [ButtonAct, ButtonAct, ButtonAct]> = {
  radfuse: ['tool', 'pan', 'zoom'],
  'window-right': ['tool', 'pan', 'window'],
  'wheel-zooms': ['tool', 'pan', 'scroll'],
};

export function mouseOf(kept: unknown): Mouse {
  const { scheme, darker, slices } = (typeof kept === 'object' && kept !== null ? kept : {}) as Partial<Record<keyof Mouse, unknown>>;
  return {
    scheme: SCHEMES.find((one) => one === scheme) ?? FIRST.scheme,
    darker: darker === 'up' ? 'up' : 'down',
    slices: WHEEL_SLICES.find((one) => one === slices) ?? FIRST.slices,
  };
}

export function mouse(): Mouse {
  return mouseOf(preference('viewer.mouse'));
}

export function saveMouse(chosen: Mouse): Promise<void> {
  const isFirst = (Object.keys(FIRST) as (keyof Mouse)[]).every((key) => FIRST[key] === chosen[key]);
  return savePreference('viewer.mouse', isFirst ? null : chosen);
}

/** Of `PointerEvent.button`: 0 left, 1 middle, 2 right; further ones do what the left does. */
export function buttonAct(button: number): ButtonAct {
  return ACTS[mouse().scheme][button] ?? 'tool';
}

/** Where all drags window or turn (the rotating MIP): which button windows. */
export function windowButton(): number {
  return windowButtonOf(mouse().scheme);
}

/** Sign of the centre's change when the pointer goes down. */
export function windowSign(): 1 | -1 {
  return mouse().darker === 'up' ? -1 : 1;
}

type Turned = Pick<globalThis.WheelEvent, 'deltaX' | 'deltaY' | 'deltaMode' | 'ctrlKey' | 'altKey' | 'shiftKey'>;

/** A wheel over one pane. A mouse's notch is one step at once; a touch pad's small steps add up. */
export class Wheel {
  private sum = 0;

  turn(event: Turned): { zoom: number } | { slices: number } | null {
    // With Shift some browsers make it a sideways scroll.
    const delta = event.deltaY || event.deltaX;
    const { scheme, slices: each } = mouse();
    // A pinch on a touch pad comes as Ctrl and wheel.
    if (event.ctrlKey || event.altKey || (scheme === 'wheel-zooms' && !event.shiftKey)) return { zoom: Math.exp(-delta / 400) };
    const isPixels = event.deltaMode === 0;
    this.sum += isPixels ? delta / WHEEL_PX : delta;
    const notch = !isPixels || Math.abs(delta) >= WHEEL_PX;
    const steps = notch ? Math.sign(delta) : Math.trunc(this.sum);
    this.sum = notch ? 0 : this.sum - steps;
    if (!steps) return null;
    return { slices: steps * (scheme === 'wheel-zooms' || !event.shiftKey ? each : FAR) };
  }
}

export const SCHEME_NAMES: Record<Scheme, string> = { radfuse: 'Radfuse', 'window-right': t('Window on the right button'), 'wheel-zooms': t('The wheel zooms') };

const ACT_NAMES: Record<ButtonAct, string> = { tool: t('the active tool'), zoom: t('zoom'), pan: t('pan'), window: t('window'), scroll: t('slices') };

/** A scheme in words, for the cheat sheet and the dialog. */
export function mouseWords({ scheme, darker, slices }: Mouse): readonly (readonly [string, string])[] {
  const [left, middle, right] = ACTS[scheme];
  const wheel = scheme === 'wheel-zooms' ? t('zoom (Shift: slices, {n} a notch)', { n: slices }) : t('slices, {n} a notch (Shift: five, Ctrl: zoom)', { n: slices });
  return [
    [t('Left drag'), ACT_NAMES[left]],
    [t('Right drag'), ACT_NAMES[right]],
    [t('Middle drag'), ACT_NAMES[middle]],
    [t('Wheel'), wheel],
    [t('Window drag'), darker === 'down' ? t('right = wider, down = darker') : t('right = wider, up = darker')],
    [t('Double click'), t('one pane and back')],
    [t('Click on a mark'), t('select that finding')],
    [t('On a rotating MIP'), windowButtonOf(scheme) === 2
      ? t('wheel or left drag turns, right drag windows, a click goes to the peak')
      : t('wheel or right drag turns, left drag windows, a click goes to the peak')],
    [t('Touch and pen'), t('as the left button')],
  ];
}

function windowButtonOf(scheme: Scheme): number {
  return ACTS[scheme].indexOf('window') === 2 ? 2 : 0;
}
