import { afterEach, describe, expect, it } from 'vitest';
import { setCatalogue, t, tn } from '../src/i18n';

afterEach(() => setCatalogue({}));

describe('words', () => {
  it('are English where the catalogue has none, with values in place', () => {
    expect(t('Held by {name} since {at}', { name: 'Dr A', at: '10:31' })).toBe('Held by Dr A since 10:31');
    expect(tn('{n} case', '{n} cases', 1)).toBe('1 case');
    expect(tn('{n} case', '{n} cases', 0)).toBe('0 cases');
  });

  it('come from the catalogue, with one form for every number in Chinese', () => {
    setCatalogue({ 'Held by {name}': '{name} 正在阅片', '{n} case': ['{n} 个病例'] });
    expect(t('Held by {name}', { name: '王医生' })).toBe('王医生 正在阅片');
    expect(tn('{n} case', '{n} cases', 1)).toBe('1 个病例');
    expect(tn('{n} case', '{n} cases', 7)).toBe('7 个病例');
  });

  it('put values in as they are: a value that looks like a placeholder stays itself', () => {
    expect(t('{a} {b}', { a: '{b}', b: 'x' })).toBe('{b} x');
    expect(t('{missing}', {})).toBe('{missing}');
  });
});
