/** Key images: what the reader sees in a pane now, as data to show it again and as a picture. */
import { t } from '../../i18n';
import { toast } from '../../pages/toast';
import { type Api, ApiError } from '../api';
import type { Pane } from '../panes';
import type { Scene } from '../scene';
import type { PaneName } from '../stage';
import type { KeyImage } from '../types';
import type { History } from './history';
import { label } from './paint';

const QUALITY = 0.9;

export class KeyImages {
  constructor(
    private readonly scene: Scene,
    private readonly api: Api,
    private readonly history: History,
    private readonly changed: () => void,
    /** Writes the texts of the marks in a pane. */
    private readonly texts: (pane: PaneName, context: CanvasRenderingContext2D) => void,
  ) {}

  async keep(pane: Pane): Promise<void> {
    const { scene } = this;
    if (!scene.view.case.can.measure) return toast(t('Claim the case to keep key images.'), 'warn');
    if (scene.store.state.alone !== null || !scene.panes.has(pane.name) || !scene.panes.plan(pane.name).linked) {
      return toast(t('Key images are kept of the fused view: go back to it first.'), 'warn');
    }
    const axes = scene.axes[pane.name]!;
    const layers = [scene.panes.plan(pane.name).base, ...scene.panes.visible(pane.name)].flatMap((layer) => {
      const settings = scene.panes.settings(pane.name, layer);
      return settings ? [{ layer: layer.id, window: [settings.width, settings.centre] as [number, number], opacity: settings.opacity, colormap: settings.colormap }] : [];
    });
    const view = { pane: pane.name, protocol: scene.panes.protocol.id, framing: scene.stage.framing(pane.name), invert: scene.panes.settings(pane.name, scene.panes.plan(pane.name).base)?.invert ?? false };
    const made = await this.tell(() => this.api.keepImage({
      label: '', state: { point: scene.panes.point(pane.name), normal: axes.normal, up: axes.up, layers, view }, picture: this.picture(pane),
    }));
    if (!made) return;
    this.put(made);
    this.history.push({ name: made.name, undo: () => this.hide(made.id), redo: () => this.bringBack(made.id) });
    toast(t('{name} kept as a key image.', { name: made.name }), 'ok');
  }

  async remove(id: number): Promise<void> {
    if (await this.hide(id)) this.history.push({ name: t('Delete'), undo: () => this.bringBack(id), redo: () => this.hide(id) });
  }

  async restore(id: number): Promise<void> {
    if (await this.bringBack(id)) this.history.push({ name: t('Restore'), undo: () => this.hide(id), redo: () => this.bringBack(id) });
  }

  async relabel(id: number, words: string): Promise<void> {
    const before = this.scene.view.key_images.find((one) => one.id === id)?.label;
    const set = async (text: string): Promise<boolean> => {
      const changed = await this.tell(() => this.api.labelKeyImage(id, text));
      if (changed) this.put(changed);
      return changed !== null;
    };
    if (before === undefined || before === words || !(await set(words))) return;
    this.history.push({ name: t('Label'), undo: () => set(before), redo: () => set(words) });
  }

  /** Its place, and the windows of its layers, as they were. */
  show(image: KeyImage): void {
    if (!image.drawn) return toast(t('Its place is of the space of another series: it cannot be shown in these images.'), 'warn');
    const { store } = this.scene;
    if (store.state.alone !== null) return toast(t('Key images are kept of the fused view: go back to it first.'), 'warn');
    const kept = image.state.view['pane'];
    const pane = typeof kept === 'string' && this.scene.panes.has(kept) ? kept : store.state.pane;
    for (const { layer, window: [width, centre] } of image.state.layers) {
      const seen = layer === null ? undefined : this.scene.layer(layer);
      if (seen) this.scene.panes.patch(pane, seen, { width, centre });
    }
    store.patch({ focus: image.state.point, stands: {}, pane });
  }

  private async hide(id: number): Promise<boolean> {
    const done = await this.tell(async () => {
      await this.api.hideMark('key_image', id);
      return true;
    });
    if (!done) return false;
    this.scene.view.key_images = this.scene.view.key_images.filter((one) => one.id !== id);
    this.changed();
    return true;
  }

  private async bringBack(id: number): Promise<boolean> {
    const made = await this.tell(() => this.api.restoreKeyImage(id));
    if (made) this.put(made);
    return made !== null;
  }

  private put(image: KeyImage): void {
    const { view } = this.scene;
    view.key_images = [...view.key_images.filter((one) => one.id !== image.id), image].sort((a, b) => a.id - b.id);
    this.changed();
  }

  private async tell<T>(act: () => Promise<T>): Promise<T | null> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, 'bad');
      return null;
    }
  }

  /** Image, comparison, marks and their texts, and the orientation letters: no picture without its sides. */
  private picture(pane: Pane): string {
    const image = this.scene.stage.canvas(pane.name);
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext('2d')!;
    for (const layer of [image, pane.slab, pane.compare, pane.marks]) if (layer.width && !layer.hidden) context.drawImage(layer, 0, 0, canvas.width, canvas.height);
    const scale = canvas.width / pane.element.clientWidth;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.texts(pane.name, context);
    const at = pane.element.getBoundingClientRect();
    for (const letter of pane.element.querySelectorAll<HTMLElement>('.pane-letter')) {
      const box = letter.getBoundingClientRect();
      label(context, letter.textContent ?? '', box.left - at.left, box.top - at.top + box.height / 2, '#ffd166');
    }
    // An alignment that is only tried does not leave the viewer without saying so.
    const { panes } = this.scene;
    const tried = [panes.plan(pane.name).base, ...panes.visible(pane.name)].flatMap((layer) => this.scene.trying(layer) ?? []);
    tried.forEach((words, n) => label(context, words, 12, pane.element.clientHeight / 4 + 18 * n, '#ffd166'));
    return canvas.toDataURL('image/jpeg', QUALITY);
  }
}
