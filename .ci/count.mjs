// Adds up what the steps of .ci/run came to. Arguments: the file of allowed skips, the folder with `steps` (a line
// `NAME<TAB>EXIT CODE` each) and the vitest reports, and the names of the steps that must have a report.
// Exits with 1 when a test or a step failed, or a test was skipped that may not be.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [allowedFile, folder, ...reporting] = process.argv.slice(2);
const lines = (path) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));

/** Full names of tests that may be skipped; each line says why behind a tab. */
const allowed = new Set(lines(allowedFile).map((line) => line.split('\t', 1)[0]));
const total = { passed: 0, failed: 0, skipped: 0 };
let refused = 0;

function fail(what) {
  total.failed++;
  console.log(`failed: ${what}`);
}

/** Counts a report's tests. */
function count(name, report) {
  for (const file of report.testResults) {
    // A file that could not be loaded has no tests, and counts as one that failed.
    if (file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed')) {
      fail(`${name}: ${file.name}: ${file.message}`);
    }
    for (const { status, fullName } of file.assertionResults) {
      if (status === 'passed') total.passed++;
      else if (status === 'failed') fail(`${name}: ${fullName}`);
      else {
        total.skipped++;
        if (allowed.has(fullName)) continue;
        refused++;
        console.log(`skipped, and not in ${allowedFile}: ${name}: ${fullName}`);
      }
    }
  }
}

for (const line of lines(join(folder, 'steps'))) {
  const [name, code] = line.split('\t');
  const path = join(folder, `${name}.json`);
  const before = total.failed;
  if (existsSync(path)) count(name, JSON.parse(readFileSync(path, 'utf8')));
  else if (reporting.includes(name)) fail(`step ${name} left no report`);
  if (code !== '0' && total.failed === before) fail(`step ${name} exited with ${code}`);
}

console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || refused > 0 ? 1 : 0);
