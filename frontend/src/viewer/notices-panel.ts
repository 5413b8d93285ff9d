/** What the analysis wants the reader to know about this case, worst first. */
import { h } from './dom';
import type { Layer, Notice } from './types';

const RANK: Record<Notice['severity'], number> = { refused: 0, warning: 1, info: 2 };
const LEVEL: Record<Notice['severity'], string> = { refused: 'notice notice--bad', warning: 'notice notice--warn', info: 'notice' };

export class NoticesPanel {
  readonly element = h('div', { class: 'notices-panel' });
  private key = '';

  update(notices: readonly Notice[], layers: readonly Layer[]): void {
    const key = JSON.stringify([notices, layers.map((layer) => layer.label)]);
    if (key === this.key) return;
    this.key = key;
    const sorted = [...notices].sort((a, b) => RANK[a.severity] - RANK[b.severity]);
    this.element.replaceChildren(
      ...sorted.map((notice) => {
        const about = notice.subject ? layers.find((layer) => layer.key === notice.subject)?.label : undefined;
        return h('div', { class: LEVEL[notice.severity] }, h('span', { text: about ? `${about}: ${notice.message}` : notice.message }));
      }),
    );
  }
}
