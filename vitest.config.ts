import { defineConfig } from 'vitest/config';

/** Three sets of tests: `fast` samples, `deep` runs the full counts, `peers` needs other programs or root. */
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
          exclude: ['test/**/*.{deep,peers}.test.ts'],
          testTimeout: 60_000,
        },
      },
      { test: { name: 'deep', include: ['test/**/*.deep.test.ts'], testTimeout: 600_000 } },
      { test: { name: 'peers', include: ['test/**/*.peers.test.ts'], testTimeout: 300_000 } },
    ],
  },
});
