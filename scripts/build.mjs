// Builds build/: the TypeScript with tsc, the kernels with asc, and checks what asc made; of it dist/, the package. Does
// nothing when dist/ is newer than all sources. `node scripts/build.mjs --force` builds anyway.
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkKernel } from './check-kernel.mjs';
import { inlineKernel } from './inline-kernel.mjs';
import { traceKernel } from './trace-kernel.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'dist/.built');

/** Arguments of asc that both kernels share; ARCHITECTURE.md says why each is there. */
export const ASC_ARGUMENTS = [
  '-O3',
  '--debug',
  '--runtime',
  'stub',
  '--importMemory',
  '--sharedMemory',
  '--initialMemory',
  '1',
  '--maximumMemory',
  '65536',
  '--enable',
  'threads',
  '--enable',
  'simd',
  '--enable',
  'bulk-memory',
];

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function isFresh() {
  if (!existsSync(stamp)) return false;
  const built = statSync(stamp).mtimeMs;
  return ['src', 'scripts', 'package.json', 'tsconfig.json'].every((path) => newest(join(root, path)) < built);
}

const execute = promisify(execFile);

/** Runs a development tool with this Node, so that the build uses the Node that started it. */
async function run(script, args) {
  try {
    await execute(process.execPath, [script, ...args], { cwd: root });
  } catch ({ message, stdout }) {
    throw new Error(`${message}${stdout}`);
  }
}

function toolPaths() {
  const require = createRequire(join(root, 'package.json'));
  try {
    return {
      tsc: join(dirname(require.resolve('typescript/package.json')), 'bin/tsc'),
      asc: join(dirname(require.resolve('assemblyscript/package.json')), 'bin/asc.js'),
    };
  } catch {
    return undefined;
  }
}

async function buildScripts({ tsc }) {
  await run(tsc, ['-p', 'tsconfig.json']);
  await run('scripts/write-schema.mjs', []);
}

async function buildKernel({ asc }) {
  const kernel = join(root, 'build/kernel.wasm');
  await run(asc, ['src/kernel.ts', '-o', kernel, '--noAssert', ...ASC_ARGUMENTS]);
  writeFileSync(kernel, await inlineKernel(readFileSync(kernel), asc));
}

async function buildDebugKernel({ asc }) {
  const kernel = join(root, 'build/kernel.debug.wasm');
  await run(asc, ['src/kernel.ts', 'src/kernel.debug.ts', '-o', kernel, '--use', 'abort=', ...ASC_ARGUMENTS]);
  writeFileSync(join(root, 'build/kernel.traced.wasm'), await traceKernel(readFileSync(kernel), asc));
}

/** Builds what is missing or old. Returns false when the development dependencies are not installed. */
export async function build({ force = false } = {}) {
  if (!force && isFresh()) return true;
  const tools = toolPaths();
  if (tools === undefined) return false;
  for (const folder of ['build', 'dist']) {
    rmSync(join(root, folder), { recursive: true, force: true });
    mkdirSync(join(root, folder));
  }
  // Side by side: a kernel is half a build's work, and one core's.
  await Promise.all([buildScripts(tools), buildKernel(tools), buildDebugKernel(tools)]);
  for (const [file, entries] of [
    ['kernel.wasm', ['kernel.ts']],
    ['kernel.debug.wasm', ['kernel.ts', 'kernel.debug.ts']],
  ]) {
    const sources = entries.map((entry) => readFileSync(join(root, 'src', entry), 'utf8'));
    const problems = checkKernel(readFileSync(join(root, 'build', file)), sources);
    if (problems.length > 0) throw new Error(`build/${file}: ${problems.join('; ')}`);
  }
  const { bundle } = await import('./bundle.mjs');
  await bundle(root);
  chmodSync(join(root, 'dist/cli/main.js'), 0o755);
  writeFileSync(stamp, '');
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (!(await build({ force: process.argv.includes('--force') }))) {
      console.error('ringway: the development dependencies are missing; run `npm ci` first.');
      process.exit(1);
    }
  } catch (error) {
    console.error(`build failed: ${error.message}`);
    process.exit(1);
  }
}
