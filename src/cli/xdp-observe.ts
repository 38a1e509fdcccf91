import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { RingwayError } from '../util/errors.ts';
import { ExecutionCounts } from '../xdp/trace/counts.ts';
import { coverageOf, type FileCoverage, totalOf } from '../xdp/trace/coverage.ts';
import { coveragePage } from '../xdp/trace/coverage-page.ts';
import { flameGraph } from '../xdp/trace/flame.ts';
import { formatLcov } from '../xdp/trace/lcov.ts';
import { foldedStacks, type LineCost, Profiler } from '../xdp/trace/profile.ts';
import { EXIT_BROKEN } from './exit.ts';
import { formatCount } from './format.ts';
import { type Column, renderTable } from './table.ts';
import { printable, processTerminal, styleOf } from './terminal.ts';
import { collect, print } from './xdp-common.ts';
import { type InputFlags, type Watched, watchPrograms } from './xdp-inputs.ts';

/** Columns when nobody looks: enough for any. */
const WIDE = 400;

function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const terminal = processTerminal();
  return renderTable(columns, rows, terminal.isTty ? terminal.size().columns : WIDE, styleOf(terminal.hasColor));
}

function write(path: string | undefined, text: () => string): void {
  if (path === undefined) return;
  try {
    writeFileSync(path, text());
  } catch (cause) {
    throw new RingwayError('SYSTEM', `${path}: cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** Says which tests failed: what ran then is not what was meant to. */
function noteFailures({ failed }: Watched): void {
  for (const { file, name } of failed) processTerminal().note(printable(`${file}: ${name}: failed`).concat('\n'));
  if (failed.length > 0) process.exitCode = EXIT_BROKEN;
}

const percent = (part: number, all: number): string => (all === 0 ? '-' : `${((part / all) * 100).toFixed(1)} %`);

/** `3-5, 9`: the lines of a file that never ran. */
function missedLines({ lines }: FileCoverage): string {
  const runs: [number, number][] = [];
  // Lines that follow each other in the table have no code between them.
  let isOpen = false;
  for (const { line, runs: count } of lines) {
    const last = runs.at(-1);
    if (count > 0) isOpen = false;
    else if (isOpen && last !== undefined) last[1] = line;
    else {
      runs.push([line, line]);
      isOpen = true;
    }
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
}

/** What `xdp cover` prints. */
export function renderCoverage(files: readonly FileCoverage[]): string[] {
  const columns: Column[] = [
    { title: 'FILE', align: 'left', rank: 0 },
    ...['LINES', 'BRANCHES', 'FUNCTIONS'].map((title) => ({ title, align: 'right', rank: 0 }) as const),
    { title: 'LINES THAT NEVER RAN', align: 'left', rank: 1 },
  ];
  const row = (name: string, those: readonly FileCoverage[], missed: string): string[] => {
    const { lines, branches, functions } = totalOf(those);
    return [printable(name), ...[lines, branches, functions].map(([part, all]) => percent(part, all)), missed];
  };
  const rows = files.map((file) => row(file.path, [file], missedLines(file)));
  return table(columns, files.length > 1 ? [...rows, row('all', files, '')] : rows);
}

/** Lines of the source that are shown. */
const LINES_SHOWN = 25;

/** What `xdp profile` prints. */
export function renderProfile(lines: readonly LineCost[], packets: number): string[] {
  const sum = (of: (line: LineCost) => number): number => lines.reduce((total, line) => total + of(line), 0);
  const [instructions, ns] = [sum((line) => line.instructions), sum((line) => line.ns)];
  const columns: Column[] = [
    ...['INSTRUCTIONS', 'SHARE', 'TIME', 'SHARE'].map((title) => ({ title, align: 'right', rank: 0 }) as const),
    { title: 'PLACE', align: 'left', rank: 0 },
    { title: 'LINE', align: 'left', rank: 1 },
  ];
  const rows = lines
    .slice(0, LINES_SHOWN)
    .map((line) => [
      formatCount(line.instructions),
      percent(line.instructions, instructions),
      `${(line.ns / 1000).toFixed(1)} µs`,
      percent(line.ns, ns),
      printable(line.place),
      printable(line.text),
    ]);
  const each = packets === 0 ? '0' : (instructions / packets).toFixed(1);
  const more = lines.length > LINES_SHOWN ? [`and ${lines.length - LINES_SHOWN} more lines`] : [];
  const head = `${formatCount(packets)} packets, ${formatCount(instructions)} instructions, ${each} a packet`;
  return [head, ...table(columns, rows), ...more];
}

function withInputs(command: Command): Command {
  return command
    .argument('<file...>', 'YAML files of tests; with --in an eBPF object file')
    .option('--in <capture>', 'run the program of an object on each frame of this pcap or pcapng file instead')
    .option('--prog <name>', 'with --in: which of its programs; the only one')
    .option('--map <name=entries>', "with --in: fill a map: 'NAME={KEY: VALUE}'; repeatable", collect, []);
}

/** Adds `ringway xdp cover` and `xdp profile`. */
export function addObserve(xdp: Command): void {
  withInputs(xdp.command('cover'))
    .description('say which lines and branches of the source ran, in tests or on a capture')
    .option('--lcov <file>', 'write it for lcov, editors and build servers')
    .option('--html <file>', 'write it as a page with the source')
    .action(async (files: string[], flags: InputFlags & { lcov?: string; html?: string }) => {
      const counts = new ExecutionCounts();
      const watched = await watchPrograms(files, flags, counts);
      const coverage = coverageOf(counts);
      if (coverage.length === 0) {
        throw new RingwayError('NOT_FOUND', `${files.join(', ')}: no lines of a source are known; compile with -g`);
      }
      write(flags.lcov, () => formatLcov(coverage));
      write(flags.html, () => coveragePage(coverage));
      print(renderCoverage(coverage));
      noteFailures(watched);
    });
  withInputs(xdp.command('profile'))
    .description('say which lines of the source take how many instructions, in tests or on a capture')
    .option('--folded <file>', 'write stacks as flame graph tools read them')
    .option('--svg <file>', 'write a flame graph')
    .action(async (files: string[], flags: InputFlags & { folded?: string; svg?: string }) => {
      const profiler = new Profiler();
      const watched = await watchPrograms(files, flags, profiler);
      write(flags.folded, () =>
        foldedStacks(profiler.roots)
          .map((line) => `${line}\n`)
          .join(''),
      );
      write(flags.svg, () => flameGraph(profiler.roots));
      print(renderProfile(profiler.lines(), watched.packets));
      noteFailures(watched);
    });
}
