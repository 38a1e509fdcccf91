import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

/** From the lowest up; folders of one line do not import each other, except as EXTRA says. */
const LAYERS = [
  ['util'],
  ['sys'],
  ['memory'],
  ['ring', 'packet', 'telemetry'],
  ['lcore', 'sim'],
  ['eventdev', 'virtio', 'dma', 'bpf', 'xen'],
  ['xdp', 'vhost', 'async', 'netif', 'guest'],
  ['ports'],
  ['switch'],
  ['config'],
  ['control'],
  ['dataplane'],
  ['lab', 'web', 'cli'],
];
/** Commands of the command line start experiments and the page. */
const EXTRA: Record<string, string[]> = { cli: ['lab', 'web'] };
/** Of the layer of slices below them, these import no others. */
const ONLY: Record<string, string[]> = {
  xdp: ['bpf'],
  vhost: ['virtio'],
  async: ['virtio', 'xen', 'dma'],
  guest: ['virtio'],
  netif: ['bpf', 'virtio'],
};
const SLICES = LAYERS[5] as string[];
const LINES_MAX = 600;

function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes('node_modules'));
}

const packageJson = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string>;
  bin: Record<string, string>;
};
/** The source of a file of build/ or dist/, whether it is there or not. */
const sourceOf = (built: string): string =>
  normalize(built)
    .replace(/^(build|dist)/, 'src')
    .replace(/\.js$/, '.ts');
const publicEntries = Object.values(packageJson.exports)
  .filter((path) => path.endsWith('.js'))
  .map(sourceOf);

const sources = filesUnder('src').filter((path) => path.endsWith('.ts'));
const others = ['test', 'scripts', 'bench', 'examples', 'ui']
  .flatMap(filesUnder)
  .filter((path) => /\.(ts|tsx|mjs|js|c)$/.test(path));
const textOf = new Map([...sources, ...others].map((path) => [path, readFileSync(path, 'utf8')]));

/** Sources that the file `path` imports, by static or dynamic import or by the URL of a worker's module. */
function importsOf(path: string): string[] {
  const text = textOf.get(path) ?? '';
  const specifiers = [
    ...text.matchAll(/\b(?:from|import)\s*\(?\s*'([^']+)'/g),
    ...text.matchAll(/new URL\('([^']+)', import\.meta\.url\)/g),
  ].map(([, specifier]) => specifier as string);
  const started = [...text.matchAll(/\bmoduleUrl\('([^']+)'\)/g)].map(([, file]) => sourceOf(`build/${file}`));
  const imported = specifiers.flatMap((specifier) => {
    if (specifier.startsWith('#build/')) return [sourceOf(specifier.slice(1))];
    if (specifier.startsWith('ringway/'))
      return [sourceOf(packageJson.exports[specifier.replace('ringway', '.')] ?? '')];
    if (!specifier.startsWith('.')) return [];
    return [normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts')];
  });
  return [...imported, ...started];
}

const folderOf = (path: string): string => path.split(/[/\\]/)[1] ?? '';
const layerOf = (folder: string): number => LAYERS.findIndex((layer) => layer.includes(folder));

/** Why `from` may not import `to`; undefined when it may. */
function objection(from: string, to: string): string | undefined {
  if (from === to || EXTRA[from]?.includes(to)) return undefined;
  if (layerOf(to) >= layerOf(from)) return `${from} lies below or beside ${to}`;
  if (ONLY[from] !== undefined && SLICES.includes(to) && !ONLY[from].includes(to)) {
    return `${from} imports only ${ONLY[from].join(', ')} of the slices`;
  }
  return undefined;
}

test('imports go down only', () => {
  const entries = new Set(['src/kernel.ts', 'src/kernel.debug.ts', 'src/types.d.ts']);
  const wrong: string[] = [];
  for (const path of sources.filter((source) => !entries.has(source))) {
    const from = folderOf(path);
    if (layerOf(from) < 0) wrong.push(`${path}: no layer has a folder ${from}`);
    for (const target of importsOf(path)) {
      const why = target.startsWith('src') ? objection(from, folderOf(target)) : undefined;
      if (why !== undefined) wrong.push(`${path} imports ${target}: ${why}`);
    }
  }
  expect(wrong).toEqual([]);
});

test.each([
  ['memory', 'ring', true],
  ['ring', 'memory', false],
  ['packet', 'ring', true],
  ['xdp', 'bpf', false],
  ['xdp', 'virtio', true],
  ['virtio', 'dma', true],
  ['cli', 'lab', false],
  ['lab', 'cli', true],
])('from %s to %s is an objection: %s', (from, to, expected) => {
  expect(objection(from, to) !== undefined).toBe(expected);
});

test('every source is imported by another file, or is an entry', () => {
  const entries = [...publicEntries, ...Object.values(packageJson.bin).map(sourceOf)];
  const imported = new Set([...textOf.keys()].flatMap((path) => importsOf(path).filter((target) => target !== path)));
  // The build imports json-schema.ts itself.
  const roots = new Set([
    ...entries,
    'src/kernel.ts',
    'src/kernel.debug.ts',
    'src/types.d.ts',
    'src/config/json-schema.ts',
  ]);
  expect(sources.filter((path) => !imported.has(path) && !roots.has(path))).toEqual([]);
});

test('every import of a file of ours leads to one', () => {
  const missing = [...textOf.keys()].flatMap((path) =>
    importsOf(path)
      .filter((target) => target.startsWith('src') && target.endsWith('.ts') && !existsSync(target))
      .map((target) => `${path}: ${target}`),
  );
  expect(missing).toEqual([]);
});

test(`files are at most ${LINES_MAX} lines and named in kebab-case`, () => {
  const all = [...sources, ...others];
  expect(all.filter((path) => (textOf.get(path) ?? '').split('\n').length > LINES_MAX)).toEqual([]);
  expect(
    all.filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)+$/.test(path.split(/[/\\]/).at(-1) ?? '')),
  ).toEqual([]);
});

test('every folder with an index or a layout has a README', () => {
  const folders = new Set(sources.filter((path) => /(index|layout)\.ts$/.test(path)).map((path) => dirname(path)));
  expect([...folders].filter((folder) => !existsSync(join(folder, 'README.md')))).toEqual([]);
});

/** Names that a public entry re-exports, with the file that each comes from. */
function publicNames(entry: string): { name: string; path: string }[] {
  const text = textOf.get(entry) ?? '';
  return [...text.matchAll(/export \{([^}]*)\} from '([^']+)'/g)].flatMap(([, list, from]) =>
    (list ?? '')
      .split(',')
      .map(
        (name) =>
          name
            .replace(/\btype\b/, '')
            .split(' as ')[0]
            ?.trim() ?? '',
      )
      .filter((name) => name !== '')
      .map((name) => ({ name, path: normalize(join(dirname(entry), from ?? '')) })),
  );
}

test('every public name has a doc comment, and every public entry an example', () => {
  const entries = publicEntries.filter((path) => existsSync(dirname(path)));
  expect(entries.filter((path) => !/@example[\s\S]*@module/.test(textOf.get(path) ?? ''))).toEqual([]);
  const bare = entries.flatMap(publicNames).filter(({ name, path }) => {
    const declaration = `export (?:declare )?(?:abstract )?(?:async )?(?:class|interface|function\\*?|const|type|enum) ${name}\\b`;
    return !new RegExp(`\\*/\\n${declaration}`).test(textOf.get(path) ?? '');
  });
  expect(bare.map(({ name, path }) => `${path}: ${name}`)).toEqual([]);
});

test('nothing is left to be done later, and no test runs alone', () => {
  const marker = new RegExp(`\\b(${['TO', 'FIX'].map((word) => word + (word === 'TO' ? 'DO' : 'ME')).join('|')})\\b`);
  const alone = /\b(test|describe|it)\.only\(/;
  expect([...textOf].filter(([, text]) => marker.test(text)).map(([path]) => path)).toEqual([]);
  expect(others.filter((path) => alone.test(textOf.get(path) ?? ''))).toEqual([]);
});
