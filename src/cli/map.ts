import type { Command } from 'commander';
import { parseValue } from '../config/index.ts';
import type { MapSummary } from '../control/target.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';
import { renderTable } from './table.ts';
import { processTerminal, styleOf } from './terminal.ts';

interface MapEntry {
  readonly key: unknown;
  readonly value: unknown;
}

const flow = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** The lines of `map list`. */
export function renderMaps(maps: readonly MapSummary[], columns: number, hasColor: boolean): string[] {
  if (maps.length === 0) return ['no maps'];
  const titles = [
    { title: 'MAP', align: 'left', rank: 0 },
    { title: 'KIND', align: 'left', rank: 3 },
    { title: 'KEY', align: 'right', rank: 1 },
    { title: 'VALUE', align: 'right', rank: 1 },
    { title: 'ENTRIES', align: 'right', rank: 2 },
  ] as const;
  const rows = maps.map(({ name, kind, keyBytes, valueBytes, maxEntries }) =>
    [name, kind, keyBytes, valueBytes, maxEntries].map(String),
  );
  return renderTable(titles, rows, columns, styleOf(hasColor));
}

/** The lines of `map dump`: an entry each. */
export function renderEntries(entries: readonly MapEntry[]): string[] {
  return entries.map(({ key, value }) => `${flow(key)}: ${flow(value)}`);
}

/** Adds `ringway map list`, `dump`, `update` and `delete`. */
export function addMap(program: Command): void {
  const map = program.command('map').description("show and change the maps of a running dataplane's XDP programs");
  const print = (lines: readonly string[]): void => processTerminal().write(lines.map((line) => `${line}\n`).join(''));
  withName(map.command('list'))
    .description('list the maps')
    .option('--json', 'as JSON')
    .action((flags: RemoteFlags & { json?: boolean }) =>
      withClient(flags, async (client) => {
        const maps = await client.request<MapSummary[]>('map.list');
        const terminal = processTerminal();
        const columns = terminal.isTty ? terminal.size().columns : 400;
        print(flags.json === true ? [JSON.stringify(maps)] : renderMaps(maps, columns, terminal.hasColor));
      }),
    );
  withName(map.command('dump'))
    .description("print a map's entries")
    .argument('<map>', 'its name; that of its object may be left out when it is the only one')
    .option('--json', 'as JSON')
    .action((name: string, flags: RemoteFlags & { json?: boolean }) =>
      withClient(flags, async (client) => {
        const entries = await client.request<MapEntry[]>('map.dump', { map: name });
        print(flags.json === true ? [JSON.stringify(entries)] : renderEntries(entries));
      }),
    );
  withName(map.command('update'))
    .description('write an entry')
    .argument('<map>', 'the map')
    .argument('<key>', 'a number, an address, port:NAME, hexadecimal bytes, or YAML')
    .argument('<value>', 'the same')
    .action((name: string, key: string, value: string, flags: RemoteFlags) =>
      withClient(flags, (client) =>
        client.request('map.update', { map: name, key: readTyped(key, 'key'), value: readTyped(value, 'value') }),
      ),
    );
  withName(map.command('delete'))
    .description('remove an entry')
    .argument('<map>', 'the map')
    .argument('<key>', 'as `map update` takes it')
    .action((name: string, key: string, flags: RemoteFlags) =>
      withClient(flags, (client) => client.request('map.delete', { map: name, key: readTyped(key, 'key') })),
    );
}

/** YAML where it is a mapping or a list; else text, which the dataplane reads as the map's sizes say. */
function readTyped(text: string, what: string): unknown {
  return /^\s*[{[]/.test(text) ? parseValue(text, what) : text;
}
