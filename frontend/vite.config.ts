import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { ICONS } from './src/icons';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** `icons.svg`: the icons that the interface uses, as symbols named by themselves. */
function iconSprite(): Plugin {
  const symbol = (name: string): string => {
    const svg = readFileSync(here(`./node_modules/lucide-static/icons/${name}.svg`), 'utf8');
    const shape = svg.slice(svg.indexOf('>', svg.indexOf('<svg')) + 1, svg.lastIndexOf('</svg>')).replace(/\s+/g, ' ').trim();
    return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${shape}</symbol>`;
  };
  return {
    name: 'icon-sprite',
    apply: 'build',
    generateBundle() {
      const notice = '<!-- Icons: Lucide (lucide.dev), ISC licence; in part Feather, MIT licence -->';
      const source = `<svg xmlns="http://www.w3.org/2000/svg">${notice}${ICONS.map(symbol).join('')}</svg>`;
      this.emitFile({ type: 'asset', fileName: 'icons.svg', source });
    },
  };
}

export default defineConfig({
  base: '/static/viewer/',
  resolve: {
    // vtk.js pulls xmlbuilder2 (VTK XML files only), which needs node's `events` and dies in a browser.
    alias: { xmlbuilder2: here('./src/stubs/xmlbuilder2.ts') },
  },
  plugins: [iconSprite()],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Not `.vite/manifest.json`: Django's collectstatic leaves dot folders out.
    manifest: 'manifest.json',
    chunkSizeWarningLimit: 5000,
    rolldownOptions: { input: [here('./src/pages.ts'), here('./src/viewer/main.ts')] },
  },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
});
