/** Panel of the alignment by hand: figures, steps, undo, save. Built once, so that typing is not disturbed. */
import { t } from '../i18n';
import type { Vec3 } from '../affine';
import { type Aligning, STEPS } from './aligning';
import { button, h } from './dom';
import type { Scene } from './scene';

export interface AlignActions {
  begin(): void;
  save(remark: string): void;
  cancel(): void;
}

const FIELDS: readonly (readonly [name: string, text: string, unit: string])[] = [
  ['tx', t('Left +'), 'mm'],
  ['ty', t('Back +'), 'mm'],
  ['tz', t('Head +'), 'mm'],
  ['rx', t('About left–right'), '°'],
  ['ry', t('About front–back'), '°'],
  ['rz', t('About head–feet'), '°'],
];

export class AlignPanel {
  readonly element = h('div', { class: 'stack' });
  private readonly idle = h('div', { class: 'stack' });
  private readonly form = h('form', { class: 'nudge', attrs: { 'aria-label': t('Alignment by hand') } });
  private readonly inputs: HTMLInputElement[];
  private readonly step = h('select', { class: 'input', attrs: { name: 'step', 'aria-label': t('Step of the keys, mm and degrees') } });
  private readonly remarkInput = h('input', { class: 'input', attrs: { type: 'text', name: 'remark', maxlength: '500', placeholder: t('Kept with the decision') } });
  private readonly undo: HTMLButtonElement;
  private readonly redo: HTMLButtonElement;
  private readonly reset: HTMLButtonElement;
  private readonly save = h('button', { class: 'btn btn--small btn--primary', text: t('Save'), attrs: { type: 'submit' }, data: { align: 'save' } });
  private readonly state = h('span', { class: 'small', attrs: { role: 'status' } });
  private readonly affine = h('p', { class: 'muted small', text: t('The alignment on record is affine; by hand it can only be moved and turned, so this starts from its rigid part.') });

  constructor(
    private readonly scene: Scene,
    private readonly aligning: Aligning,
    actions: AlignActions,
  ) {
    this.idle.append(
      h('p', { class: 'small', text: t('Move and turn the layer on the images by mouse or keys. Nothing is stored until you save.') }),
      h('div', { class: 'row' }, button(t('Align by hand (A)'), actions.begin, { class: 'btn btn--small btn--primary', data: { align: 'begin' } })),
    );
    this.inputs = FIELDS.map(([name, text, unit]) => {
      const input = h('input', { class: 'input num', attrs: { type: 'number', name, step: 'any', value: '0', 'aria-label': `${text} in ${unit}` } });
      this.form.append(h('label', { class: 'small' }, h('span', { text: `${text}, ${unit}` }), input));
      input.addEventListener('change', () => this.typed());
      return input;
    });
    this.step.append(...STEPS.map((step) => h('option', { text: `${step} mm / ${step}°`, attrs: { value: String(step) } })));
    this.step.addEventListener('change', () => scene.store.patch({ step: Number(this.step.value) }));
    this.undo = button(t('Undo'), () => aligning.undo(), { title: 'Ctrl+Z', data: { align: 'undo' } });
    this.redo = button(t('Redo'), () => aligning.redo(), { title: 'Ctrl+Y', data: { align: 'redo' } });
    this.reset = button(t('Reset'), () => aligning.reset(), { title: t('Back to where it is on record; undo brings it back'), data: { align: 'reset' } });
    this.form.append(
      h('div', { class: 'row nudge-actions' }, this.save, button(t('Cancel'), actions.cancel, { data: { align: 'cancel' } }), this.undo, this.redo, this.reset, this.state),
      h('label', { class: 'small' }, h('span', { text: t('Step of the keys') }), this.step),
      h('label', { class: 'small nudge-remark' }, h('span', { text: t('Remark') }), this.remarkInput),
      h('p', {
        class: 'muted small nudge-actions',
        text: t('Drag inside the ring: move. Outside it, or with Shift: turn. Keys: arrows move, comma and full stop turn about the pane’s centre; with Shift a fifth of the step. Figures are about the layer’s centre.'),
      }),
      this.affine,
    );
    this.affine.classList.add('nudge-actions');
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      actions.save(this.remark);
    });
    this.element.append(this.idle, this.form);
  }

  /** What the reader wrote beside the alignment; kept with the decision however it is saved. */
  get remark(): string {
    return this.remarkInput.value.trim();
  }

  private typed(): void {
    const values = this.inputs.map((input) => Number(input.value) || 0);
    this.aligning.set({ translate: values.slice(0, 3) as unknown as Vec3, degrees: values.slice(3) as unknown as Vec3 });
  }

  update(registration: number): void {
    const session = this.aligning.session?.registration === registration ? this.aligning.session : null;
    this.idle.hidden = session !== null;
    this.form.hidden = session === null;
    if (!session) {
      this.remarkInput.value = '';
      return;
    }
    const { translate, degrees } = this.aligning.readout!;
    [...translate, ...degrees].forEach((value, n) => {
      const input = this.inputs[n]!;
      const text = String(Math.round(value * 100) / 100 + 0);
      if (document.activeElement !== input && input.value !== text) input.value = text;
    });
    this.step.value = String(this.scene.store.state.step);
    const { alignment } = session;
    this.undo.disabled = !alignment.canUndo;
    this.redo.disabled = !alignment.canRedo;
    this.reset.disabled = this.save.disabled = !alignment.dirty;
    if (session.wasAffine) this.save.disabled = false;
    this.affine.hidden = !session.wasAffine;
    const words = this.aligning.isFit ? t('Fitted to landmarks, not saved') : alignment.dirty ? t('Not saved') : t('Nothing moved yet');
    this.state.textContent = words;
    this.state.className = `small ${alignment.dirty ? 'unsaved' : 'muted'}`;
  }
}
