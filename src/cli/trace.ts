import type { Command } from 'commander';
import { RingwayError } from '../util/errors.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';
import { processTerminal } from './terminal.ts';

interface Flags extends RemoteFlags {
  readonly limit?: string;
  readonly filter?: string;
}

function readLimit(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new RingwayError('BAD_ARGUMENT', `--limit: ${JSON.stringify(text)} is not a number of packets; use 1 or more`);
}

/** Text of a packet without what a terminal would obey: a packet's bytes are anybody's. */
function printable(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed.
  return line.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '.');
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
        const interrupted = new Promise<undefined>((resolve) => {
          process.once('SIGINT', () => resolve(undefined));
          process.once('SIGTERM', () => resolve(undefined));
        });
        const print = (event: unknown): void => {
          const { line } = event as { line?: unknown };
          if (typeof line === 'string') terminal.write(`${printable(line)}\n`);
        };
        const stream = client.stream<{ dropped: number }>('trace', { port, ...limit, ...filter }, print);
        // Closing the client rejects it, after everybody stopped waiting.
        stream.catch(() => {});
        const result = await Promise.race([stream, interrupted]);
        if (result !== undefined && result.dropped > 0) {
          terminal.note(`ringway: ${result.dropped} more packets passed while the output was full\n`);
        }
      });
    });
}
