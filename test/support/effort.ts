import { inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    /** The suite that runs is the deep one (`vitest.config.ts`). */
    readonly isDeep: boolean;
  }
}

/**
 * How much a test does: `few` in the fast suite, `all` in the deep one. There a file `X.deep.test.ts` imports the tests of
 * `X.test.ts`, so that both are the same test.
 */
export function effort<T>(few: T, all: T): T {
  return inject('isDeep') ? all : few;
}

/** The first of every `step` of `list` in the fast suite, from `from` on; all of it in the deep one. */
export function someOf<T>(list: readonly T[], step: number, from = 0): readonly T[] {
  return effort(
    list.filter((_, index) => index % step === from % step),
    list,
  );
}
