/** Asks before an alignment that was not saved is given up. */
import { t } from '../i18n';
import { button, h } from './dom';

type Answer = 'save' | 'discard' | 'stay';

export class LeaveDialog {
  readonly element = h('dialog', { class: 'dialog', attrs: { 'aria-labelledby': 'leave-title' }, data: { leave: '' } });
  private answer: ((answer: Answer) => void) | null = null;

  constructor() {
    const choose = (answer: Answer) => () => this.close(answer);
    this.element.append(
      h('header', {}, h('h2', { text: t('The alignment is not saved'), attrs: { id: 'leave-title' } })),
      h('p', { text: t('You moved a layer by hand. Save it as your decision, or put the layer back where it was?') }),
      h('footer', {},
        button(t('Save'), choose('save'), { class: 'btn btn--primary', data: { leave: 'save' } }),
        button(t('Put back'), choose('discard'), { class: 'btn', data: { leave: 'discard' } }),
        button(t('Go on aligning'), choose('stay'), { class: 'btn btn--quiet', data: { leave: 'stay' } }),
      ),
    );
    this.element.addEventListener('cancel', (event) => {
      event.preventDefault();
      this.close('stay');
    });
  }

  private close(answer: Answer): void {
    this.element.close();
    this.answer?.(answer);
    this.answer = null;
  }

  ask(): Promise<Answer> {
    this.answer?.('stay');
    if (!this.element.open) this.element.showModal();
    return new Promise((resolve) => (this.answer = resolve));
  }
}
