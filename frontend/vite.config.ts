import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  base: '/static/viewer/',
  resolve: {
    // vtk.js pulls xmlbuilder2 (VTK XML files only), which needs node's `events` and dies in a browser.
    alias: { xmlbuilder2: here('./src/stubs/xmlbuilder2.ts') },
  },
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
