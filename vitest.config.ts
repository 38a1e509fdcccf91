import { defineConfig } from 'vitest/config';

/** Three sets of tests: `fast` samples, `deep` runs the full counts, `peers` needs other programs or root. */
export default defineConfig({
  test: {
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
