#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { prepareDataplane } from '../dataplane/prepare.ts';
import { describeError, EXIT_DONE } from './exit.ts';

type Add = (program: Command) => void;

/** The commands, in the order of the help, and the file of each, which adds it to the program. */
const COMMANDS: Readonly<Record<string, () => Promise<Add>>> = {
  run: async () => {
    prepareDataplane();
    return (await import('./run.ts')).addRun;
  },
  check: async () => (await import('./check.ts')).addCheck,
  stats: async () => (await import('./stats.ts')).addStats,
  top: async () => (await import('./top.ts')).addTop,
  set: async () => (await import('./set.ts')).addSet,
  port: async () => (await import('./port.ts')).addPort,
  steer: async () => (await import('./steer.ts')).addSteer,
  xdp: async () => (await import('./xdp.ts')).addXdp,
  map: async () => (await import('./map.ts')).addMap,
  trace: async () => (await import('./trace.ts')).addTrace,
  vhost: async () => (await import('./vhost.ts')).addVhost,
  bench: async () => (await import('./bench.ts')).addBench,
  conformance: async () => (await import('./conformance.ts')).addConformance,
};

/** The file of the command that was asked for: without the others it starts sooner. All, when none was, or none of these. */
async function load(name = ''): Promise<readonly Add[]> {
  const one = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return Promise.all((one === undefined ? Object.values(COMMANDS) : [one]).map((command) => command()));
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Commander looks only at the command that failed, so each must be told. */
function configure(command: Command): void {
  command.exitOverride().showSuggestionAfterError().showHelpAfterError('(see --help)');
  for (const child of command.commands) configure(child);
}

const program = new Command('ringway').description('a user-space packet dataplane').version(version());
for (const add of await load(process.argv[2])) add(program);
configure(program);

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever read our output has enough (`ringway trace in | head`). `run` listens too, to stop cleanly first.
  if (error.code !== 'EPIPE') throw error;
  if (process.stdout.listenerCount('error') === 1) process.exit(EXIT_DONE);
});

// Then there is nobody left to tell.
process.stderr.on('error', () => {});

try {
  await program.parseAsync();
} catch (error) {
  const { exitCode, text } = describeError(error);
  process.stderr.write(text);
  process.exitCode = exitCode;
}
