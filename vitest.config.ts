import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Tests see the public modules before they are bundled, as they see the others: of each there is one. */
const alias = [
  { find: /^ringway$/, replacement: resolve('build/dataplane/index.js') },
  { find: /^ringway\/([a-z]+)$/, replacement: resolve('build/$1/index.js') },
];

/** Sets of tests: `fast` samples, `deep` runs the full counts, `peers` needs other programs or root, `xen` boots a Xen. */
export default defineConfig({
  resolve: { alias },
  test: {
    // What tsc made is loaded by Node as it is: one copy a process, in its threads, too, and nothing to transform.
    server: { deps: { external: [/\/build\//] } },
    // RINGWAY_REPORT=FILE writes the results as JSON there too, for .ci/run to count.
    reporters: process.env.RINGWAY_REPORT
      ? ['default', ['json', { outputFile: process.env.RINGWAY_REPORT }]]
      : ['default'],
    projects: [
      {
        extends: true,
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.{deep,peers,xen}.test.ts'],
          testTimeout: 60_000,
          // Files of one process share its modules: to start one for each takes a quarter of the suite's time.
          isolate: false,
          provide: { isDeep: false },
        },
      },
      {
        extends: true,
        test: { name: 'deep', include: ['test/**/*.deep.test.ts'], testTimeout: 600_000, provide: { isDeep: true } },
      },
      { extends: true, test: { name: 'peers', include: ['test/**/*.peers.test.ts'], testTimeout: 300_000 } },
      { extends: true, test: { name: 'xen', include: ['test/**/*.xen.test.ts'], testTimeout: 300_000 } },
    ],
  },
});
