// Makes dist/ of build/: what the package holds. Its modules are bundled, libraries too, since `ringway run` spends more
// time on finding and reading some 500 files than on starting. Names and lines are kept, for stacks and profiles.
import { copyFileSync, cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

const COPIED = ['kernel.wasm', 'kernel.debug.wasm', 'ringway.schema.json'];

/** Modules that threads and processes start with. */
function startedOf(build) {
  return readdirSync(build, { recursive: true })
    .filter((path) => path.endsWith('.js'))
    .flatMap((path) => [...readFileSync(join(build, path), 'utf8').matchAll(/\bmoduleUrl\('([^']+)'\)/g)])
    .map(([, path]) => path);
}

/** Modules that others start with: the package's, and those that `moduleUrl` names; by their path in build/ without `.js`. */
function entriesOf(root, build) {
  const { bin, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const named = [...Object.values(bin), ...Object.values(exports)]
    .filter((path) => path.endsWith('.js'))
    .map((path) => path.replace(/^(\.\/)?dist\//, ''));
  return Object.fromEntries(
    [...new Set([...named, ...startedOf(build)])].map((path) => [path.slice(0, -3), join(build, path)]),
  );
}

/** The licences of the libraries in `chunks`, which ask to be passed on. */
function licencesOf(chunks) {
  const folders = chunks
    .flatMap(({ moduleIds }) => moduleIds)
    .flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
  return [...new Set(folders)].map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return `${name} ${version}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
  });
}

export async function bundle(root) {
  const [build, dist] = ['build', 'dist'].map((folder) => join(root, folder));
  const bundled = await rolldown({
    input: entriesOf(root, build),
    external: ['koffi', /^node:/],
    platform: 'node',
    cwd: root,
  });
  const { output } = await bundled.write({
    dir: dist,
    entryFileNames: '[name].js',
    // As deep as `moduleUrl` and the kernels expect.
    chunkFileNames: 'chunks/[name]-[hash].js',
  });
  await bundled.close();
  // Threads of tests start from the bundles, too: in half the time.
  for (const path of startedOf(build)) {
    const bundle = '../'.repeat(path.split('/').length) + join('dist', path);
    const hasDefault = /^export default|\bas default\b/m.test(readFileSync(join(build, path), 'utf8'));
    writeFileSync(
      join(build, path),
      `export * from '${bundle}';\n${hasDefault ? `export { default } from '${bundle}';\n` : ''}`,
    );
  }
  for (const name of COPIED) copyFileSync(join(build, name), join(dist, name));
  cpSync(build, dist, {
    recursive: true,
    filter: (path) => !/\.[a-z]+$/.test(path) || path.endsWith('.d.ts'),
  });
  writeFileSync(join(dist, 'LICENSES.txt'), licencesOf(output.filter(({ type }) => type === 'chunk')).join('\n'));
}
