import { existsSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Command } from 'commander';
import { loadXdpSpec } from '../config/index.ts';
import { RingwayError } from '../util/errors.ts';
import { runSpec, type SpecResult } from '../xdp/spec/run-spec.ts';
import type { XdpSpec } from '../xdp/spec/spec.ts';
import { describeError, EXIT_BROKEN } from './exit.ts';
import { processTerminal, styleOf } from './terminal.ts';
import { type ProgramFlags, print, programOptions } from './xdp-common.ts';
import { REPORTERS } from './xdp-report.ts';

interface TestFlags extends Pick<ProgramFlags, 'engine' | 'trusted'> {
  readonly reporter: string;
  readonly watch?: true;
}

/** Runs the tests of specs and reports them. Returns how many failed. */
async function runTests(specs: readonly XdpSpec[], flags: TestFlags): Promise<number> {
  const make = Object.hasOwn(REPORTERS, flags.reporter) ? REPORTERS[flags.reporter] : undefined;
  if (make === undefined) {
    const names = Object.keys(REPORTERS).join(', ');
    throw new RingwayError('BAD_ARGUMENT', `--reporter: ${JSON.stringify(flags.reporter)} is none; use ${names}`);
  }
  const reporter = make(styleOf(processTerminal().hasColor));
  const results: SpecResult[] = [];
  for (const spec of specs) {
    for await (const result of runSpec(spec, { load: programOptions(flags) })) {
      results.push(result);
      print(reporter.result(result));
    }
  }
  print(reporter.end(results));
  return results.filter(({ failures }) => failures.length > 0).length;
}

/** Files that a spec's results depend on. */
function filesOf(spec: XdpSpec): string[] {
  const packets = spec.tests.flatMap((test) => test.packets);
  const captures = packets.flatMap(({ in: source, out }) =>
    [source, out].flatMap((one) => (typeof one === 'object' && 'capture' in one ? [one.capture] : [])),
  );
  return [spec.object, ...captures];
}

/** How long to wait for more after a file has changed: compilers and editors write in several steps. */
const SETTLE_MS = 50;

/** Resolves when one of the files has changed. Their folders are watched: who writes a file may put a new one in its place. */
function untilChanged(files: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    let isChanged = false;
    const folders = new Set(files.map((file) => dirname(file)).filter((folder) => existsSync(folder)));
    const watchers = [...folders].map((folder) =>
      watch(folder, (_event, changed) => {
        const isOurs = files.some((file) => dirname(file) === folder && basename(file) === changed);
        if (isChanged || (changed !== null && !isOurs)) return;
        isChanged = true;
        setTimeout(() => {
          for (const watcher of watchers) watcher.close();
          resolve();
        }, SETTLE_MS);
      }),
    );
  });
}

/** Runs tests again and again, whenever a file has changed. */
async function watchTests(files: readonly string[], flags: TestFlags): Promise<never> {
  while (true) {
    let changed: Promise<void> | undefined;
    try {
      const specs = files.map(loadXdpSpec);
      changed = untilChanged([...files, ...specs.flatMap(filesOf)]);
      await runTests(specs, flags);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      // Half a file is what an editor leaves for a moment: the next change brings the rest.
      processTerminal().note(describeError(error).text);
    }
    await (changed ?? untilChanged(files));
  }
}

/** Adds `ringway xdp test`. */
export function addTest(xdp: Command): void {
  xdp
    .command('test')
    .description('run tests of programs that files describe: packets in, what must come of them')
    .argument('<spec...>', 'YAML files of tests')
    .option('--reporter <name>', `how results are written: ${Object.keys(REPORTERS).join(', ')}`, 'readable')
    .option('--watch', 'run again whenever a spec, object or capture has changed; end with Ctrl-C')
    .option('--trusted', 'run programs without checks')
    .option('--engine <name>', 'jit or interpreter', 'jit')
    .action(async (files: string[], flags: TestFlags) => {
      if (flags.watch === true) await watchTests(files, flags);
      if ((await runTests(files.map(loadXdpSpec), flags)) > 0) process.exitCode = EXIT_BROKEN;
    });
}
