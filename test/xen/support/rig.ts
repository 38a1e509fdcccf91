import type { Arena } from 'ringway/memory';
import { type Domain, type DomainOptions, Xen } from 'ringway/xen';
import { sysAvailable } from '#build/sys/index.js';
import { testArena } from '../../support/arena.ts';

/** Both ways that an in-process Xen works, as far as this system has them. */
export const MODES = sysAvailable() ? (['plain', 'mapped'] as const) : (['plain'] as const);

/** A driver domain and two guests. */
export interface XenRig {
  readonly arena: Arena;
  readonly xen: Xen;
  readonly driver: Domain;
  readonly guest: Domain;
  readonly other: Domain;
}

export function makeXen(
  mode: 'mapped' | 'plain',
  options: { guest?: Partial<DomainOptions>; driver?: Partial<DomainOptions>; base?: number; arena?: Arena } = {},
): XenRig {
  const { arena = testArena(8 << 20, options.base) } = options;
  const xen = new Xen(arena, { name: 'xen', mode });
  return {
    arena,
    xen,
    driver: xen.createDomain(0, { pages: 16, wholeArena: true, ...options.driver }),
    guest: xen.createDomain(1, { pages: 64, ...options.guest }),
    other: xen.createDomain(2, { pages: 16 }),
  };
}
