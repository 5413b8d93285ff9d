/** The toolbar's part for layout and camera: the picker, and a panel for planes, slabs, turns and links. */
import { t } from '../i18n';
import type { Commands } from './commands';
import { button, h } from './dom';
import { titled } from './keymap';
import { PROJECTION_NAMES, type ProjectionMode, SLAB_MM } from './slab';
import type { Links } from './state';

export class ViewBar {
  readonly element = h('div', { class: 'tool-group view-bar' });
  private readonly panel = h('div', { class: 'view-panel', attrs: { role: 'group', 'aria-label': t('Planes, slab and camera') } });
  private readonly opener: HTMLButtonElement;
  private readonly layout: HTMLButtonElement;
  private readonly planes: HTMLButtonElement;
  private readonly handles: HTMLButtonElement;
  private readonly slab = h('select', { class: 'input', attrs: { 'aria-label': t('Slab of the pane') }, data: { slab: '' } });
  private readonly mm = h('select', { class: 'input', attrs: { 'aria-label': t('Thickness of the slab') }, data: { slabMm: '' } });
  private readonly links = new Map<keyof Links, HTMLInputElement>();

  constructor(
    private readonly commands: Commands,
    pick: () => void,
  ) {
    const { view } = commands;
    this.layout = button(t('Layout'), pick, { title: t('Layouts that suit the case'), data: { action: 'layout', command: 'view.layouts' } });
    this.opener = button(t('Planes ▾'), () => this.toggle(Boolean(this.panel.hidden)), { title: t('Planes, slab, turn and links of the panes'), data: { action: 'planes' }, attrs: { 'aria-expanded': 'false' } });
    this.planes = button(t('Patient planes'), () => view.togglePlanes(), { title: t('Along the patient, or along the slices as acquired'), data: { action: 'patient-planes', command: 'view.planes' } });
    this.handles = button(t('Oblique'), () => view.toggleHandles(), { title: t('Handles that turn the crossing planes'), data: { action: 'oblique', command: 'view.oblique' } });
    this.slab.append(h('option', { text: t('No slab'), attrs: { value: '' } }), ...(Object.entries(PROJECTION_NAMES).map(([mode, name]) => h('option', { text: name, attrs: { value: mode } }))));
    this.mm.append(...SLAB_MM.map((mm) => h('option', { text: `${mm} mm`, attrs: { value: String(mm) } })));
    this.slab.addEventListener('change', () => view.setSlab((this.slab.value || null) as ProjectionMode | null));
    this.mm.addEventListener('change', () => view.setSlab((this.slab.value || 'mip') as ProjectionMode, Number(this.mm.value)));
    const row = (name: string, ...children: Node[]): HTMLElement => h('div', { class: 'view-row' }, h('span', { class: 'muted small', text: name }), ...children);
    const tilt = (text: string, x: number, y: number, title: string): HTMLButtonElement => button(text, () => view.tilt(x, y), { title });
    this.panel.append(
      row(t('All panes'), this.planes, this.handles, button(t('Straighten all'), () => view.straightenAll(), { title: t('Oblique planes straight again') })),
      row(t('Slab of this pane'), this.slab, this.mm),
      row(t('This pane'),
        button('⟲', () => view.turn(-1), { title: t('Quarter turn anticlockwise'), data: { action: 'turn-left', command: 'view.turn-left' } }),
        button('⟳', () => view.turn(1), { title: t('Quarter turn clockwise'), data: { action: 'turn-right', command: 'view.turn-right' } }),
        button('⇋', () => view.flip(), { title: t('Mirror left to right'), data: { action: 'flip', command: 'view.flip' } }),
        tilt('↑', -5, 0, t('Tilt: top towards you')), tilt('↓', 5, 0, t('Tilt: top away')), tilt('←', 0, -5, t('Tilt: left towards you')), tilt('→', 0, 5, t('Tilt: right towards you')),
        button(t('Straighten'), () => view.straighten(), { title: t('Plane and camera of this pane as the layout has them'), data: { action: 'straighten' } })),
      row(t('Linked'), this.link('scroll', t('Slices')), this.link('camera', t('Zoom and pan')), this.link('window', t('Window'))),
    );
    this.panel.hidden = true;
    this.element.append(this.layout, h('div', { class: 'view-menu' }, this.opener, this.panel));
    this.element.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || this.panel.hidden) return;
      event.stopPropagation();
      this.toggle(false);
      this.opener.focus();
    });
    document.addEventListener('pointerdown', (event) => {
      // A click into a pane chooses what the panel acts on.
      const target = event.target as Element;
      if (!this.element.contains(target) && !target.closest('.pane')) this.toggle(false);
    });
  }

  private toggle(open: boolean): void {
    this.panel.hidden = !open;
    this.opener.setAttribute('aria-expanded', String(open));
  }

  private link(what: keyof Links, name: string): HTMLElement {
    const box = h('input', { attrs: { type: 'checkbox' }, data: { link: what } });
    box.addEventListener('change', () => this.commands.view.toggleLink(what));
    this.links.set(what, box);
    return h('label', { class: 'check' }, box, name);
  }

  update(): void {
    const { scene } = this.commands;
    const { state } = scene.store;
    titled(this.layout, t('{layout}: layouts', { layout: scene.panes.protocol.name() }));
    this.planes.setAttribute('aria-pressed', String(state.planes === 'patient'));
    this.handles.setAttribute('aria-pressed', String(state.handles));
    const isPlanar = scene.panes.names.includes(state.pane);
    const slab = isPlanar ? scene.panes.slab(state.pane) : null;
    this.slab.disabled = !isPlanar;
    this.slab.value = slab?.mode ?? '';
    this.mm.disabled = !slab;
    if (slab) this.mm.value = String(SLAB_MM.reduce((a, b) => (Math.abs(b - slab.mm) < Math.abs(a - slab.mm) ? b : a)));
    for (const [what, box] of this.links) box.checked = state.links[what];
  }
}
