import type { Command } from 'commander';
import { RingwayError } from '../util/errors.ts';
import { type RemoteFlags, untilInterrupted, withClient, withName } from './remote.ts';
import { printable, processTerminal } from './terminal.ts';

interface Flags extends RemoteFlags {
  readonly limit?: string;
  readonly filter?: string;
}

function readLimit(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new RingwayError('BAD_ARGUMENT', `--limit: ${JSON.stringify(text)} is not a number of packets; use 1 or more`);
}

/** Adds `ringway trace PORT`. */
export function addTrace(program: Command): void {
  withName(program.command('trace'))
    .description('print packets that pass a port; end with Ctrl-C')
    .argument('<port>', 'name of the port')
    .option('--limit <packets>', 'end after so many')
    .option('--filter <text>', 'only lines that contain this')
    .action((port: string, flags: Flags) => {
      const limit = flags.limit === undefined ? {} : { limit: readLimit(flags.limit) };
      const filter = flags.filter === undefined ? {} : { filter: flags.filter };
      return withClient(flags, async (client) => {
        const terminal = processTerminal();
        const print = (event: unknown): void => {
          const { line } = event as { line?: unknown };
          if (typeof line === 'string') terminal.write(`${printable(line)}\n`);
        };
        const stream = client.stream<{ dropped: number }>('trace', { port, ...limit, ...filter }, print);
        const result = await untilInterrupted(stream);
        if (result !== undefined && result.dropped > 0) {
          terminal.note(`ringway: ${result.dropped} more packets passed while the output was full\n`);
        }
      });
    });
}
