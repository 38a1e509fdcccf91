// `npm start`: builds what is missing, then runs the example.
import { spawnSync } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
let built = false;
try {
  built = await build();
} catch (error) {
  console.error(`ringway: the build failed: ${error.message}`);
  process.exit(1);
}
if (!built) {
  console.error('ringway: its dependencies are missing; run `npm ci` first.');
  process.exit(1);
}
const { status } = spawnSync(
  process.execPath,
  [join(root, 'dist/cli/main.js'), 'run', join(root, 'examples/edge.yaml'), ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
process.exit(status ?? 1);
