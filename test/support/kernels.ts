import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { main as compile } from 'assemblyscript/asc';
import { ASC_ARGUMENTS } from '../../scripts/build.mjs';
import { traceKernel } from '../../scripts/trace-kernel.mjs';

/** A change of a source: the one place of `file` (below src/) that reads `from` becomes `to`. */
export interface Mutation {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** What is asked of a kernel that a test compiles. */
export interface KernelOptions {
  /** Folders below src/ whose kernels it exports. */
  readonly folders: readonly string[];
  readonly mutations?: readonly Mutation[];
  readonly branches?: boolean;
  readonly pausable?: boolean;
}

const asc = join(dirname(createRequire(import.meta.url).resolve('assemblyscript/package.json')), 'bin/asc.js');
/** Not optimised: each condition and each access of the source is there, in its order. */
const ARGUMENTS = [...ASC_ARGUMENTS.filter((argument) => argument !== '-O3'), '--use', 'abort='];

/** The exports of the two entries that come from `folders`. */
function entrySource(folders: readonly string[]): string {
  const text = ['kernel.ts', 'kernel.debug.ts'].map((entry) => readFileSync(join('src', entry), 'utf8')).join('\n');
  const imports = [...text.matchAll(/^import \{([^}]*)\} from '\.\/(\w+)\/([^']*)';/gm)];
  const chosen = imports.filter(([, , folder]) => folders.includes(folder ?? ''));
  // asc would take a file that is exported from by its name for another than one that is imported.
  const lines = chosen.map(([line]) => line);
  const names = chosen.flatMap(([, list = '']) => list.split(',').map((each) => each.split(' as ').at(-1)?.trim()));
  return [...lines, `export { ${names.filter(Boolean).join(', ')} };`].join('\n');
}

/**
 * Makes the changes to the sources that they name, and forgets the result.
 * @throws Error when one has no place there, or several.
 */
export function tryMutations(mutations: readonly Mutation[]): void {
  for (const { file } of mutations) mutate(file, readFileSync(join('src', file), 'utf8'), mutations);
}

function mutate(file: string, text: string, mutations: readonly Mutation[]): string {
  let changed = text;
  for (const { from, to } of mutations.filter((mutation) => mutation.file === file)) {
    // A change that has no place, or several, would plant nothing or something else.
    const places = changed.split(from).length - 1;
    if (places !== 1) throw new Error(`src/${file} has ${places} places that read ${JSON.stringify(from)}, not 1`);
    changed = changed.replace(from, () => to);
  }
  return changed;
}

/** Compiles the kernels of some folders from their sources, changed as asked, and traces them. Takes about 0.5 s. */
export async function compileTraced(options: KernelOptions): Promise<WebAssembly.Module> {
  const { folders, mutations = [], branches = false, pausable = false } = options;
  const entry = entrySource(folders);
  const read = new Set<string>();
  let text = '';
  const { error, stderr } = await compile(['entry.ts', '--outFile', 'k.wasm', '--textFile', 'k.wat', ...ARGUMENTS], {
    readFile(name) {
      // asc appends an extension to imports that have one.
      const file = name.replace(/\.ts\.ts$/, '.ts');
      if (file === 'entry.ts') return entry;
      try {
        const source = readFileSync(join('src', file), 'utf8');
        read.add(file);
        return mutate(file, source, mutations);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw cause;
      }
    },
    writeFile(name, contents) {
      if (name === 'k.wat') text = String(contents);
    },
    listFiles: () => [],
  });
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
  const missing = mutations.filter(({ file }) => !read.has(file));
  if (missing.length > 0) throw new Error(`not compiled: ${missing.map(({ file }) => file).join(', ')}`);
  const bytes = await traceKernel(text, asc, { branches, pausable });
  return new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
}
