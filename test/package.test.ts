import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** A project that depends on ringway, as `npm install ringway` without optional dependencies would leave it. */
const consumer = mkdtempSync(join(tmpdir(), 'ringway-consumer-'));
const modules = join(consumer, 'node_modules');
const installed = join(modules, 'ringway');
afterAll(() => rmSync(consumer, { recursive: true }));

const packageJson = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string>;
  dependencies: Record<string, string>;
};
const entries = Object.entries(packageJson.exports)
  .filter(([, path]) => path.endsWith('.js') && existsSync(path))
  .map(([name]) => name.replace('.', 'ringway'));

function run(command: string, args: string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

beforeAll(() => {
  mkdirSync(installed, { recursive: true });
  // Not a build: dist/ is there, and other tests are reading it.
  const packed = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', consumer], process.cwd());
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
  run('tar', ['xzf', join(consumer, filename), '--strip-components=1', '-C', installed], consumer);
  for (const name of [...Object.keys(packageJson.dependencies), '@types/node', 'undici-types']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(resolve('node_modules', name), join(modules, name));
  }
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }');
});

test('the tarball holds what runs, and nothing else', () => {
  const built = run('find', ['.', '-type', 'f'], installed).trim().split('\n');
  expect(built).toContain('./dist/kernel.wasm');
  expect(built).toContain('./dist/kernel.debug.wasm');
  expect(
    built.filter(
      (path) => !/^\.\/(dist|examples|docs)\/|^\.\/(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(path),
    ),
  ).toEqual([]);
});

test('a consumer type-checks against every public entry, its libraries too, and runs', () => {
  expect(entries).toContain('ringway/memory');
  const imports = entries.map((name, index) => `import * as entry${index} from '${name}';`);
  const uses = entries.map((_, index) => `console.log(Object.keys(entry${index}).length > 0);`);
  const body = `
import { createArena, createPool, type PoolKernels } from 'ringway/memory';
import { createSpscRing } from 'ringway/ring';
import { assemble, createContext, disassemble, interpret, type Program, programOf } from 'ringway/bpf';
import { loadXdp, type RunResult, type XdpProgram } from 'ringway/xdp';
const arena = createArena({ bytes: 1 << 20 });
const pool = createPool(arena, { buffers: 64, caches: 1 });
const ring = createSpscRing(arena, { name: 'work', slots: 64 });
const burst: number = arena.allocate('burst', 32 * 16);
const { poolAlloc } = arena.kernels<PoolKernels>();
console.log(ring.push(burst, poolAlloc(pool.caches[0] ?? 0, burst, 32)));
const xdp: XdpProgram = await loadXdp('node_modules/ringway/examples/xdp/drop-list.o', { cpus: 2 });
xdp.maps.denied?.set({ prefixlen: 0, addr: new Uint8Array(4) }, 0n);
const packet = Uint8Array.of(...new Uint8Array(12), 8, 0, 0x45, ...new Uint8Array(40));
const result: RunResult = xdp.run(packet, { cpu: 1 });
console.log(result.action, result.redirect?.map ?? 'nowhere');
const program: Program = programOf(assemble('mov %r0, 1\\nexit'));
const [first = ''] = disassemble(program, { source: true });
console.log(first.length > 0, interpret({ arena, program, maps: [], context: createContext(arena) }).r0);
`;
  writeFileSync(join(consumer, 'main.ts'), [...imports, body, ...uses].join('\n'));
  const options = {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    types: ['node'],
  };
  const lib = ['es2023', 'dom'];
  writeFileSync(
    join(consumer, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...options, lib }, files: ['main.ts'] }),
  );
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', consumer], { cwd: consumer, encoding: 'utf8' });
  expect(stdout).toBe('');
  const output = run(process.execPath, ['main.js'], consumer).trim().split('\n');
  expect(output).toEqual(['32', 'DROP nowhere', 'true 1n', ...entries.map(() => 'true')]);
});
