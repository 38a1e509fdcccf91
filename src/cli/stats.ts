import type { Command } from 'commander';
import type { Snapshot } from '../telemetry/snapshot.ts';
import { renderLive } from './live.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';
import { processTerminal, styleOf } from './terminal.ts';

interface Flags extends RemoteFlags {
  readonly json?: boolean;
  readonly prometheus?: boolean;
}

/** Adds `ringway stats`. */
export function addStats(program: Command): void {
  withName(program.command('stats'))
    .description('print counters; rates are since the start')
    .option('--json', 'as JSON')
    .option('--prometheus', "in Prometheus' text format")
    .action((flags: Flags) =>
      withClient(flags, async (client) => {
        const terminal = processTerminal();
        if (flags.prometheus === true) {
          terminal.write(await client.request<string>('prometheus'));
          return;
        }
        const now = await client.request<Snapshot>('stats');
        if (flags.json === true) {
          terminal.write(`${JSON.stringify(now)}\n`);
          return;
        }
        const columns = terminal.isTty ? terminal.size().columns : 160;
        terminal.write(`${renderLive({ now, columns, style: styleOf(terminal.hasColor) }).join('\n')}\n`);
      }),
    );
}
