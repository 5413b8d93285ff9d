/** Who draws: this browser from the images themselves, or the server; by the browser, the line, or by choice. */
import { t } from '../i18n';
import { toast } from '../pages/toast';
import { button } from './dom';

/** Under half a megabit per second even the coarse view takes more than five seconds. */
export const WEAK_BYTES_PER_SECOND = 64_000;
/** One slow measurement may be a pause of the server's. */
const IN_A_ROW = 3;
const KEY = 'radfuse.drawing';

type Choice = 'server' | 'browser';

/** What this reader chose on this computer; null: nothing, so the line decides. */
export function chosenDrawing(storage: Storage = window.localStorage): Choice | null {
  const kept = storage.getItem(KEY);
  return kept === 'server' || kept === 'browser' ? kept : null;
}

export function chooseDrawing(choice: Choice, storage: Storage = window.localStorage): void {
  storage.setItem(KEY, choice);
}

/** Watches the measured rate while images are owed. */
export class SlowLineWatch {
  private slow = 0;

  constructor(private readonly isFree: () => boolean = () => chosenDrawing() === null) {}

  /** True once: the line has been too slow for some measurements. */
  measured(bytesPerSecond: number, owed: boolean): boolean {
    if (!owed || bytesPerSecond <= 0 || bytesPerSecond >= WEAK_BYTES_PER_SECOND) {
      this.slow = 0;
      return false;
    }
    this.slow += 1;
    return this.slow === IN_A_ROW && this.isFree();
  }
}

/** The switch in the full viewer's toolbar. */
export function drawingSwitch(onServer: () => void): HTMLButtonElement {
  return button(t('Server pictures'), onServer, {
    title: t('For slow lines and computers: the server draws the slices, lossy'),
    data: { action: 'server-pictures' },
  });
}

export function sayLineIsSlow(): void {
  toast(t('The line is slow: the server draws the slices. Switch back with "Full viewer".'), 'warn');
}
