/** The dialog of hanging protocols: those that suit the case, each with a picture of its panes and its key. */
import { t } from '../i18n';
import { savePreference, preference } from '../preferences';
import type { Commands } from './commands';
import { button, h } from './dom';
import { keyLabel, keymap } from './keymap';
import { layoutKey, type Protocol } from './protocols';
import { isSecond } from './windows';

export class LayoutPicker {
  readonly element = h('dialog', { class: 'dialog layout-picker', attrs: { 'aria-label': t('Layout') } });

  constructor(private readonly commands: Commands) {}

  open(): void {
    const { view } = this.commands;
    const { protocol } = this.commands.scene.panes;
    const cards = view.protocols.map((one, n) => this.card(one, n, one.id === protocol.id));
    this.element.replaceChildren(
      h('header', {}, h('h2', { text: t('Layout') }), button(t('Close'), () => this.element.close())),
      h('div', { class: 'layout-cards', attrs: { role: 'group', 'aria-label': t('Layouts for this case') } }, ...cards),
      h('p', { class: 'muted small', text: isSecond ? t('Your choice is kept for this case in the second window.') : t('Your choice is kept for cases of this pathway.') }),
      h('footer', {}, button(t('As the rules say'), () => this.byRule(), { title: t('Forget my choice for this pathway') })),
    );
    this.element.showModal();
    this.element.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
  }

  private byRule(): void {
    const { scene } = this.commands;
    if (isSecond) {
      scene.store.patch({ protocol: null, layout: 'mpr' });
      this.element.close();
      return;
    }
    const { [layoutKey(scene.view)]: _, ...rest } = preference<Record<string, unknown>>('viewer.layouts') ?? {};
    void savePreference('viewer.layouts', rest);
    scene.store.patch({ protocol: null, layout: 'mpr' });
    this.element.close();
  }

  private card(protocol: Protocol, n: number, isOn: boolean): HTMLElement {
    const picture = h('span', { class: 'layout-picture', attrs: { 'aria-hidden': 'true' } }, ...protocol.panes.map((spec) => {
      const cell = h('span', { class: spec.kind === 'rotating-mip' ? 'is-mip' : spec.overlays === 'fused' ? 'is-fused' : '' });
      cell.style.gridArea = spec.id;
      return cell;
    }));
    picture.style.gridTemplate = protocol.template.replaceAll(/minmax\(236px, (\d+%)\)/g, '$1');
    const key = keymap().keysOf(`layout.${n + 1}`)[0];
    const card = h('button', { class: 'layout-card', attrs: { type: 'button', 'aria-pressed': String(isOn) }, data: { protocol: protocol.id } },
      picture,
      h('span', { class: 'layout-name', text: protocol.name() }),
      key ? h('kbd', { class: 'kbd', text: keyLabel(key) }) : null,
    );
    card.addEventListener('click', () => {
      this.commands.view.setProtocol(protocol.id);
      this.element.close();
    });
    return card;
  }
}
