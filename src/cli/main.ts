#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { registerBench } from './bench.ts';
import { addCheck } from './check.ts';
import { addConformance } from './conformance.ts';
import { describeError, EXIT_DONE } from './exit.ts';
import { addMap } from './map.ts';
import { addPort } from './port.ts';
import { addRun } from './run.ts';
import { addSet } from './set.ts';
import { addStats } from './stats.ts';
import { addSteer } from './steer.ts';
import { addTop } from './top.ts';
import { addTrace } from './trace.ts';
import { addVhost } from './vhost.ts';
import { addXdp } from './xdp.ts';

/** The commands, in the order of the help. A command is a file that adds itself to the program. */
const COMMANDS: readonly ((program: Command) => void)[] = [
  addRun,
  addCheck,
  addStats,
  addTop,
  addSet,
  addPort,
  addSteer,
  addXdp,
  addMap,
  addTrace,
  addVhost,
  registerBench,
  addConformance,
];

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
for (const add of COMMANDS) add(program);
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
