/** The list of layers: on/off, opacity, state of fusion, "show alone". */
import { t } from '../i18n';
import { badgeButton } from './badge';
import { COLORMAP_LABELS } from './colormaps';
import type { Commands } from './commands';
import { button, h } from './dom';
import { LayerLook } from './layer-look';
import type { Loaded } from './loaded';
import { settingText } from './siblings';
import { reducedWords } from './reduced';
import type { Layer } from './types';

export interface LayerActions {
  openFusion(layer: Layer): void;
  showAlone(id: number | null): void;
}

interface Row {
  element: HTMLElement;
  visible: HTMLInputElement;
  opacity: HTMLInputElement | null;
  amount: HTMLElement | null;
  look: LayerLook | null;
  detail: HTMLElement;
}

export class LayersPanel {
  readonly element = h('div', { class: 'layers-panel' });
  private readonly rows = new Map<number, Row>();
  private readonly outlines = h('input', { attrs: { type: 'checkbox', 'aria-label': t('Show delivered outlines') } });
  private key = '';

  constructor(
    private readonly commands: Commands,
    private readonly loaded: Loaded,
    private readonly actions: LayerActions,
  ) {
    this.outlines.addEventListener('change', () => this.scene.store.patch({ outlines: this.outlines.checked }));
  }

  private get scene() {
    return this.commands.scene;
  }

  update(): void {
    const key = JSON.stringify([this.scene.store.state.alone, this.scene.layers.map((layer) => [layer.id, layer.label, layer.fusion, this.scene.trying(layer)]), this.scene.view.outlines.length]);
    if (key !== this.key) {
      this.key = key;
      this.rebuild();
    }
    const { state } = this.scene.store;
    this.outlines.checked = state.outlines;
    for (const [id, row] of this.rows) {
      const layer = this.scene.layer(id);
      const settings = this.scene.store.settings(id);
      if (!layer || !settings) continue;
      row.visible.checked = id === this.scene.base.id || (this.scene.isOn(layer) && state.fusion);
      if (row.opacity && document.activeElement !== row.opacity) row.opacity.value = String(Math.round(settings.opacity * 100));
      if (row.amount) row.amount.textContent = `${Math.round(settings.opacity * 100)} %`;
      row.element.classList.toggle('is-active', id === state.active);
      row.look?.update(settings);
      row.detail.textContent = this.detail(layer);
    }
  }

  private detail(layer: Layer): string {
    const settings = this.scene.store.settings(layer.id);
    const wanted = this.scene.wanted.some((other) => other.id === layer.id);
    const percent = Math.floor(this.loaded.fraction(layer) * 100);
    const progress = !wanted || percent === 100 ? '' : `loading ${percent} %`;
    const colours = layer.kind === 'segmentation' || !settings ? '' : COLORMAP_LABELS[settings.colormap];
    const spacing = this.scene.grid(layer.id).spacing.map((mm) => mm.toFixed(1)).join(' × ');
    const outside = layer.deformed?.outside_share ?? 0;
    const gap = outside >= 0.005 ? t('no image in {outside} % of its box: clear there', { outside: Math.round(outside * 100) }) : '';
    return [colours, `${spacing} mm`, gap, reducedWords(layer), progress].filter(Boolean).join(' · ');
  }

  private rebuild(): void {
    this.rows.clear();
    const reference = this.scene.reference.id;
    // A reader who steps through volumes by the selector keeps the focus on it.
    const focused = document.activeElement instanceof HTMLSelectElement ? document.activeElement.dataset['series'] : undefined;
    const { layers } = this.scene;
    const fused = layers.filter((layer) => layer.id === reference || layer.fusion.fused || this.scene.trying(layer) !== null);
    const others = layers.filter((layer) => !fused.includes(layer));
    fused.sort((a, b) => Number(b.id === reference) - Number(a.id === reference));
    const alone = this.scene.store.state.alone;
    this.element.replaceChildren();
    if (alone !== null) {
      this.element.append(h('div', { class: 'notice' }, h('span', { text: t('{label} is shown alone, in its own space.', { label: this.scene.base.label }) }), button(t('Back to fused view'), () => this.actions.showAlone(null))));
    }
    this.element.append(...fused.map((layer) => this.row(layer)));
    if (this.scene.view.outlines.length) this.element.append(this.outlineRow());
    if (others.length) this.element.append(h('h3', { class: 'layers-heading', text: t('Not fused') }), ...others.map((layer) => this.unfused(layer)));
    if (focused !== undefined) this.element.querySelector<HTMLElement>(`select[data-series="${focused}"]`)?.focus();
  }

  /** The volumes of a series that holds several; null for a series of one. */
  private selector(layer: Layer): HTMLElement | null {
    const all = this.scene.siblings(layer);
    if (all.length < 2) return null;
    const select = h('select', { class: 'input layer-sibling', title: t('Previous / next: , and .'), attrs: { 'aria-label': t('Volume of {label}', { label: layer.label }) }, data: { series: String(layer.series) } });
    select.append(...all.map((one) => h('option', { text: settingText(one), attrs: { value: String(one.id) } })));
    select.value = String(layer.id);
    select.addEventListener('change', () => this.scene.choose(Number(select.value)));
    return select;
  }

  private row(layer: Layer): HTMLElement {
    const isReference = layer.id === this.scene.reference.id;
    const alone = this.scene.store.state.alone;
    const visible = h('input', { attrs: { type: 'checkbox', 'aria-label': t('Show {label}', { label: layer.label }) }, data: { layer: String(layer.id) } });
    visible.disabled = isReference || alone !== null;
    visible.addEventListener('change', () => this.commands.setVisible(layer, visible.checked));
    const name = h('button', { class: 'layer-name', text: layer.label, title: t('Window and colours act on this layer'), attrs: { type: 'button' } });
    name.disabled = layer.kind === 'segmentation';
    name.addEventListener('click', () => this.commands.setActive(layer.id));
    const detail = h('div', { class: 'muted small num' });
    let opacity: HTMLInputElement | null = null;
    let amount: HTMLElement | null = null;
    const lines: Node[] = [detail];
    const role = layer.series_role;
    if (role) lines.push(h('div', { class: 'muted small', text: role.by_hand ? t('{role} (set by hand)', { role: role.label }) : role.label, title: role.reason }));
    if (isReference) {
      lines.unshift(h('span', { class: 'badge badge--info', text: t('Reference') }));
    } else {
      opacity = h('input', { attrs: { type: 'range', min: '0', max: '100', step: '5', 'aria-label': t('Opacity of {label}', { label: layer.label }) }, data: { opacity: String(layer.id) } });
      opacity.addEventListener('input', () => this.commands.setOpacity(layer, Number(opacity!.value) / 100));
      amount = h('span', { class: 'num small' });
      lines.unshift(badgeButton(layer, () => this.actions.openFusion(layer), this.scene.trying(layer)));
      lines.push(h('div', { class: 'layer-opacity' }, opacity, amount));
    }
    const look = layer.kind === 'segmentation' ? null : new LayerLook(this.commands, layer, isReference);
    if (look) lines.push(look.element);
    const element = h('div', { class: 'layer-row', data: { layer: String(layer.id) } }, visible, h('div', { class: 'grow' }, name, this.selector(layer), ...lines));
    this.rows.set(layer.id, { element, visible, opacity, amount, look, detail });
    return element;
  }

  private outlineRow(): HTMLElement {
    const names = this.scene.view.outlines.map((outline) => {
      const swatch = h('span', { class: 'swatch' });
      swatch.style.background = outline.color;
      return h('span', { class: 'outline-name' }, swatch, `${outline.name}${outline.fused ? '' : ' (not fused)'}`);
    });
    return h('div', { class: 'layer-row' }, this.outlines, h('div', { class: 'grow' }, h('div', { class: 'strong', text: t('Delivered outlines') }), h('div', { class: 'row small' }, ...names)));
  }

  private unfused(layer: Layer): HTMLElement {
    const isAlone = this.scene.store.state.alone === layer.id;
    return h('div', { class: 'layer-row', data: { layer: String(layer.id) } },
      h('div', { class: 'grow' },
        h('div', { class: 'strong', text: layer.label }),
        this.selector(layer),
        badgeButton(layer, () => this.actions.openFusion(layer)),
        ...layer.fusion.reasons.slice(0, 2).map((text) => h('div', { class: 'muted small', text })),
      ),
      h('div', { class: 'stack-tight' },
        button(isAlone ? t('Back') : t('Show alone'), () => this.actions.showAlone(isAlone ? null : layer.id), { data: { alone: String(layer.id) } }),
        layer.kind === 'series' && !isAlone ? button(t('Side by side'), () => this.commands.setBeside(layer.id), { title: t('Beside the reference, in its own space'), data: { besideLayer: String(layer.id) } }) : null,
      ),
    );
  }
}
