import { Arena } from '#build/memory/arena.js';
import { testArena } from '../../support/arena.ts';
import { compileTraced, type Mutation } from '../../support/kernels.ts';

/** An arena over the kernels of the sources, changed by `mutations`. */
export async function mutantArena(mutations: readonly Mutation[]): Promise<Arena> {
  const module = await compileTraced({ folders: ['eventdev', 'ring'], mutations });
  const arena = testArena();
  const { exports } = new WebAssembly.Instance(module, { env: { memory: arena.handle.memory, access() {} } });
  return new (class extends Arena {
    override kernels<K>(): K {
      return exports as K;
    }
  })(arena.handle);
}
