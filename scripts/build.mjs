// Builds build/: the TypeScript with tsc, the kernels with asc, and checks what asc made; of it dist/, the package. Does
// nothing when dist/ is newer than all sources. `node scripts/build.mjs --force` builds anyway.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkKernel } from './check-kernel.mjs';
import { inlineKernel } from './inline-kernel.mjs';
import { traceKernel } from './trace-kernel.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'dist/.built');

/** Arguments of asc that both kernels share; ARCHITECTURE.md says why each is there. */
export const ASC_ARGUMENTS = [
  '-O3',
  '--converge',
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

/** Runs a development tool with this Node, so that the build uses the Node that started it. */
function run(script, args) {
  execFileSync(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
}

/**
 * Runs asc. It optimises until nothing changes, and says so when the last round gained nothing: that is no news to
 * whoever builds.
 */
function runAsc(asc, args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [asc, ...args], { cwd: root, encoding: 'utf8' });
  const said = `${stdout}${stderr}`.replace('Last converge was suboptimal.\n', '');
  if (said.trim() !== '') console.error(said);
  if (status !== 0) throw new Error(`asc ended with ${status}`);
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

/** Builds what is missing or old. Returns false when the development dependencies are not installed. */
export async function build({ force = false } = {}) {
  if (!force && isFresh()) return true;
  const tools = toolPaths();
  if (tools === undefined) return false;
  for (const folder of ['build', 'dist']) {
    rmSync(join(root, folder), { recursive: true, force: true });
    mkdirSync(join(root, folder));
  }
  run(tools.tsc, ['-p', 'tsconfig.json']);
  run('scripts/write-schema.mjs', []);
  runAsc(tools.asc, ['src/kernel.ts', '-o', 'build/kernel.wasm', '--noAssert', ...ASC_ARGUMENTS]);
  const kernel = join(root, 'build/kernel.wasm');
  writeFileSync(kernel, await inlineKernel(readFileSync(kernel), tools.asc));
  runAsc(tools.asc, [
    'src/kernel.ts',
    'src/kernel.debug.ts',
    '-o',
    'build/kernel.debug.wasm',
    '--use',
    'abort=',
    ...ASC_ARGUMENTS,
  ]);
  for (const [file, entries] of [
    ['kernel.wasm', ['kernel.ts']],
    ['kernel.debug.wasm', ['kernel.ts', 'kernel.debug.ts']],
  ]) {
    const sources = entries.map((entry) => readFileSync(join(root, 'src', entry), 'utf8'));
    const problems = checkKernel(readFileSync(join(root, 'build', file)), sources);
    if (problems.length > 0) throw new Error(`build/${file}: ${problems.join('; ')}`);
  }
  const debug = readFileSync(join(root, 'build/kernel.debug.wasm'));
  writeFileSync(join(root, 'build/kernel.traced.wasm'), await traceKernel(debug, tools.asc));
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
