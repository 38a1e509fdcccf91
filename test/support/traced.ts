import { readFileSync } from 'node:fs';
import { Arena } from '#build/memory/arena.js';
import { testArena } from './arena.ts';

/** What a kernel is about to do. An update is an atomic read and write in one. */
export type AccessKind = 'load' | 'store' | 'atomic load' | 'atomic store' | 'atomic update';

/** Called before each access: address, bytes, what it is, and the number of the instruction, for `where`. */
export type AccessHook = (address: number, bytes: number, kind: AccessKind, site: number) => void;

interface Sites {
  readonly accesses: { readonly where: string; readonly kind: AccessKind }[];
  readonly branches: { readonly where: string; readonly text: string }[];
}

let built: WebAssembly.Module | undefined;

/** `build/kernel.traced.wasm`. */
export function builtModule(): WebAssembly.Module {
  built ??= new WebAssembly.Module(readFileSync('build/kernel.traced.wasm'));
  return built;
}

/** What the sites of a traced module are. */
export function sitesOf(module: WebAssembly.Module): Sites {
  const [section] = WebAssembly.Module.customSections(module, 'sites');
  return JSON.parse(new TextDecoder().decode(section));
}

/** An arena whose kernels tell of each access before it happens. All else is as in the arena that it is made over. */
export class TracedArena extends Arena {
  readonly sites: Sites;
  /** By branch: 1 when it was seen not taken, 2 when taken, 3 both. Only of kernels that were built with branches. */
  readonly branches: Uint8Array;
  readonly #traced: WebAssembly.Exports;
  #hook: AccessHook | undefined;

  constructor(arena: Arena, module = builtModule()) {
    super(arena.handle);
    this.sites = sitesOf(module);
    this.branches = new Uint8Array(this.sites.branches.length);
    const { accesses } = this.sites;
    const { branches } = this;
    this.#traced = new WebAssembly.Instance(module, {
      env: {
        memory: arena.handle.memory,
        access: (address: number, bytes: number, site: number) => {
          this.#hook?.(address >>> 0, bytes >>> 0, accesses[site]?.kind as AccessKind, site);
        },
        branch: (condition: number, site: number) => {
          branches[site] = (branches[site] as number) | (condition === 0 ? 1 : 2);
        },
      },
    }).exports;
  }

  override kernels<K>(): K {
    return this.#traced as K;
  }

  /** Calls `hook` before each access from now on; none without. The hook may write to the arena, and may throw. */
  onAccess(hook?: AccessHook): void {
    this.#hook = hook;
  }

  /** The function that the instruction `site` is in. */
  where(site: number): string {
    return this.sites.accesses[site]?.where ?? `site ${site}`;
  }
}

/** A traced arena of its own. */
export function tracedArena(bytes = 2 << 20, base = 65536): TracedArena {
  return new TracedArena(testArena(bytes, base));
}
