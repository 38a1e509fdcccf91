import { defineConfig } from 'vitest/config';

/** Sets of tests: `fast` samples, `deep` runs the full counts, `peers` needs other programs or root, `xen` boots a Xen. */
export default defineConfig({
  test: {
    // RINGWAY_REPORT=FILE writes the results as JSON there too, for .ci/run to count.
    reporters: process.env.RINGWAY_REPORT
      ? ['default', ['json', { outputFile: process.env.RINGWAY_REPORT }]]
      : ['default'],
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.{deep,peers,xen}.test.ts'],
          testTimeout: 60_000,
        },
      },
      { test: { name: 'deep', include: ['test/**/*.deep.test.ts'], testTimeout: 600_000 } },
      { test: { name: 'peers', include: ['test/**/*.peers.test.ts'], testTimeout: 300_000 } },
      { test: { name: 'xen', include: ['test/**/*.xen.test.ts'], testTimeout: 300_000 } },
    ],
  },
});
