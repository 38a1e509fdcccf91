import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Snapshot } from '../telemetry/snapshot.ts';
import { renderLive } from './live.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';
import { processTerminal, Screen, styleOf, type Terminal } from './terminal.ts';

const EVERY_MS = 1000;

/** Shows the snapshots that `next` gives, one a second, until `signal` aborts or `next` rejects. */
export async function showTop(next: () => Promise<Snapshot>, signal: AbortSignal, terminal: Terminal): Promise<void> {
  const screen = new Screen(terminal);
  const style = styleOf(terminal.hasColor);
  let before: Snapshot | undefined;
  try {
    while (!signal.aborted) {
      const now = await next();
      const columns = terminal.isTty ? terminal.size().columns : 160;
      const lines = renderLive(before === undefined ? { now, columns, style } : { now, before, columns, style });
      if (terminal.isTty) screen.draw(lines);
      else terminal.write(`${lines.join('\n')}\n\n`);
      before = now;
      await sleep(EVERY_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    screen.clear();
  }
}

/** Adds `ringway top`. */
export function addTop(program: Command): void {
  withName(program.command('top'))
    .description('watch a running dataplane; end with Ctrl-C')
    .action((flags: RemoteFlags) =>
      withClient(flags, async (client) => {
        const abort = new AbortController();
        process.once('SIGINT', () => abort.abort());
        process.once('SIGTERM', () => abort.abort());
        await showTop(() => client.request<Snapshot>('stats'), abort.signal, processTerminal());
      }),
    );
}
