import type { Command } from 'commander';
import { type ConformanceResult, conformanceEngines, formatConformance, runConformance } from '../bpf/conformance.ts';
import { RingwayError } from '../util/errors.ts';
import { EXIT_BROKEN } from './exit.ts';

function chosen(engine: string | undefined): string[] {
  const all = Object.keys(conformanceEngines);
  if (engine === undefined) return all;
  if (all.includes(engine)) return [engine];
  throw new RingwayError('BAD_ARGUMENT', `--engine ${engine}: there are ${all.join(', ')}`);
}

/** Adds `ringway conformance bpf DIR [--engine NAME] [--json]`. It exits with 1 when a test fails. */
export function addConformance(program: Command): void {
  program
    .command('conformance')
    .description('run a conformance suite against the engines')
    .command('bpf')
    .description('run the test files of bpf_conformance')
    .argument('<directory>', 'the directory with the files *.data')
    .option('--engine <name>', `one of ${Object.keys(conformanceEngines).join(', ')}; all when none is given`)
    .option('--json', 'print an object with the results by engine')
    .action((directory: string, options: { engine?: string; json?: true }) => {
      const results: Record<string, ConformanceResult[]> = {};
      for (const name of chosen(options.engine)) {
        const engine = conformanceEngines[name]?.();
        if (engine !== undefined) results[name] = runConformance(directory, engine);
      }
      console.log(options.json ? JSON.stringify(results, null, 2) : formatConformance(results));
      const failed = Object.values(results).some((those) => those.some(({ passed }) => !passed));
      if (failed) process.exitCode = EXIT_BROKEN;
    });
}
