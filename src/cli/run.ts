import type { Command } from 'commander';
import { type Config, loadConfig } from '../config/index.ts';
import {
  type ControlServer,
  type MetricsServer,
  refuseRunning,
  startControlServer,
  startMetricsServer,
} from '../control/index.ts';
import type { RunningDataplane, StartDataplane } from '../dataplane/running.ts';
import type { Snapshot } from '../telemetry/snapshot.ts';
import { RingwayError } from '../util/errors.ts';
import { parseDuration } from '../util/units.ts';
import { EXIT_BROKEN, EXIT_DONE } from './exit.ts';
import { renderLive } from './live.ts';
import { renderSummary, summarise } from './summary.ts';
import { processTerminal, Screen, styleOf, type Terminal } from './terminal.ts';

/** How a run is shown, and when it ends before its inputs do. */
export interface RunOptions {
  readonly json?: boolean;
  /** Seconds. */
  readonly duration?: number;
  /** Where the control socket is; the user's own directory by default. */
  readonly directory?: string;
  /** Resolves when somebody wants the run to end. */
  readonly interrupted: Promise<void>;
}

const JSON_EVERY_MS = 1000;
const DRAW_EVERY_MS = 500;

/** Shows a run while it lasts. Returns what stops showing it. */
function watch(dataplane: RunningDataplane, options: RunOptions, terminal: Terminal): () => void {
  if (options.json === true) {
    const print = (): void =>
      terminal.write(`${JSON.stringify({ event: 'snapshot', snapshot: dataplane.snapshot() })}\n`);
    const timer = setInterval(print, JSON_EVERY_MS);
    return () => clearInterval(timer);
  }
  if (!terminal.isTty) return () => {};
  const screen = new Screen(terminal);
  const style = styleOf(terminal.hasColor);
  // Rates over the last second: two frames, so that they move but do not flicker.
  const seen: Snapshot[] = [];
  const draw = (): void => {
    const now = dataplane.snapshot();
    const before = seen.length >= 2 ? seen.shift() : seen[0];
    seen.push(now);
    const view = { now, columns: terminal.size().columns, style };
    screen.draw(renderLive(before === undefined ? view : { ...view, before }));
  };
  draw();
  const timer = setInterval(draw, DRAW_EVERY_MS);
  return () => {
    clearInterval(timer);
    screen.clear();
  };
}

/** Resolves when the run should end. Rejects when the dataplane broke. */
async function untilEnd(dataplane: RunningDataplane, { duration, interrupted }: RunOptions): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<void>((resolve) => {
    if (duration !== undefined) timer = setTimeout(resolve, duration * 1000);
  });
  try {
    await Promise.race([dataplane.finished, interrupted, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}

async function watchUntilEnd(dataplane: RunningDataplane, options: RunOptions, terminal: Terminal): Promise<void> {
  const unwatch = watch(dataplane, options, terminal);
  try {
    await untilEnd(dataplane, options);
  } finally {
    unwatch();
  }
}

/** Without a control socket a run is as good; that nobody can reach it is worth a note. */
async function openControl(dataplane: RunningDataplane, options: RunOptions, terminal: Terminal) {
  const { directory } = options;
  try {
    return await startControlServer(dataplane, directory === undefined ? {} : { directory });
  } catch (error) {
    if (!(error instanceof RingwayError) || error.code !== 'SYSTEM') throw error;
    terminal.note(`ringway: no control socket, so stats and set will not find this run: ${error.message}\n`);
    return undefined;
  }
}

function printEnd(snapshot: Snapshot, options: RunOptions, terminal: Terminal): void {
  const summary = summarise(snapshot);
  if (options.json === true) {
    terminal.write(`${JSON.stringify({ event: 'summary', summary })}\n`);
  } else {
    const columns = terminal.isTty ? terminal.size().columns : 160;
    terminal.write(`${renderSummary(summary, columns, styleOf(terminal.hasColor)).join('\n')}\n`);
  }
}

/**
 * Starts a dataplane, shows it until its inputs are drained, `duration` is over or somebody interrupts, stops it and
 * prints the summary. Returns the exit code: 1 when a port was latched off by a fault.
 * @throws RingwayError `BUSY` when one of that name runs already, and whatever broke the dataplane.
 */
export async function runDataplane(
  start: StartDataplane,
  config: Config,
  options: RunOptions,
  terminal: Terminal,
): Promise<number> {
  // Before anything starts: a second run of the same file would cut the captures that the first writes.
  await refuseRunning(config.name, options.directory);
  const dataplane = await start(config);
  // Looked at below; until then a rejection must not end the process.
  dataplane.finished.catch(() => {});
  let control: ControlServer | undefined;
  let metrics: MetricsServer | undefined;
  let failure: unknown;
  let last: Snapshot;
  try {
    try {
      control = await openControl(dataplane, options, terminal);
      if (config.metrics !== undefined) metrics = await startMetricsServer(dataplane, config.metrics);
      await watchUntilEnd(dataplane, options, terminal);
    } catch (error) {
      failure = error;
    }
    last = await dataplane.stop().catch((error) => {
      // What broke first is the cause.
      throw failure ?? error;
    });
  } finally {
    await Promise.all([control?.close(), metrics?.close()]);
  }
  printEnd(last, options, terminal);
  if (failure !== undefined) throw failure;
  const faults = last.ports.filter(({ fault }) => fault !== undefined);
  for (const { name, fault } of faults) terminal.note(`ringway: port ${name}: ${fault}\n`);
  return faults.length > 0 ? EXIT_BROKEN : EXIT_DONE;
}

/** Resolves on the first SIGINT or SIGTERM, or when nobody reads the output any more; a second signal exits at once. */
function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    const onSignal = (): void => {
      if (++count > 1) process.exit(EXIT_BROKEN);
      resolve();
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
    process.stdout.on('error', () => resolve());
  });
}

interface Flags {
  readonly json?: boolean;
  readonly duration?: string;
  readonly name?: string;
  readonly set: readonly string[];
}

function readDuration(text: string): number {
  const seconds = parseDuration(text);
  if (seconds !== undefined && seconds > 0 && seconds <= 2_000_000) return seconds;
  throw new RingwayError(
    'BAD_ARGUMENT',
    `--duration: ${JSON.stringify(text)} is not a time; use one such as 10s or 5m`,
  );
}

/** Adds `ringway run FILE`. */
export function addRun(program: Command): void {
  program
    .command('run')
    .description('run a dataplane until its inputs are drained')
    .argument('<file>', 'configuration')
    .option('--json', 'print a line of JSON a second, and a summary at the end')
    .option('--duration <time>', 'stop after this time, such as 10s')
    .option('--name <name>', 'name of the dataplane, instead of the one in the file')
    .option(
      '--set <path=value>',
      'change a value of the file; repeatable',
      (value, all: string[]) => [...all, value],
      [],
    )
    .action(async (file: string, flags: Flags) => {
      const set = flags.name === undefined ? flags.set : [...flags.set, `name=${flags.name}`];
      const duration = flags.duration === undefined ? {} : { duration: readDuration(flags.duration) };
      const config = loadConfig(file, { set });
      const { startDataplane } = await import('../dataplane/index.ts');
      const options = { json: flags.json === true, ...duration, interrupted: untilInterrupted() };
      process.exitCode = await runDataplane(startDataplane, config, options, processTerminal());
    });
}
