/** The side panel: its tabs, and what stands in it. */
import { t } from '../i18n';
import { h } from './dom';
import { roving } from './roving';

export type Tab = 'layers' | 'registration' | 'findings' | 'measures' | 'priors' | 'notices';
const NAMES: Record<Tab, string> = { layers: t('Layers'), registration: t('Registration'), findings: t('Findings'), measures: t('Measurements'), priors: t('Priors'), notices: t('Notices') };

export class Side {
  readonly element = h('div', { class: 'viewer-side' });
  tab: Tab = 'layers';
  private readonly tabs = h('div', { class: 'tabs', attrs: { role: 'tablist', 'aria-label': t('Side panel') } });

  constructor(select: (tab: Tab) => void) {
    for (const tab of Object.keys(NAMES) as Tab[]) {
      const made = h('button', { attrs: { type: 'button', role: 'tab' }, data: { tab } });
      made.addEventListener('click', () => select(tab));
      this.tabs.append(made);
    }
  }

  /** One stop of Tab for the tabs, arrows inside. */
  walk(leave: () => void): void {
    roving(this.tabs, null, leave);
  }

  update(counts: Partial<Record<Tab, number>>, panels: Record<Tab, HTMLElement>, instead: HTMLElement | null): void {
    for (const element of this.tabs.querySelectorAll<HTMLElement>('[data-tab]')) {
      const tab = element.dataset['tab'] as Tab;
      element.textContent = counts[tab] ? `${NAMES[tab]} ${counts[tab]}` : NAMES[tab];
      element.hidden = tab === 'notices' && !counts.notices;
      element.setAttribute('aria-selected', String(tab === this.tab && instead === null));
    }
    const content = instead ?? panels[this.tab];
    if (this.element.lastElementChild === content) return;
    this.element.scrollTop = 0;
    if (instead) this.element.replaceChildren(instead);
    else this.element.replaceChildren(this.tabs, content);
  }
}
