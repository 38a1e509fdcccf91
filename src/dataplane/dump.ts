import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Snapshot } from '../telemetry/snapshot.ts';
import type { Machine } from './machine.ts';

/**
 * Writes what is known of a dataplane that broke: its counters, the arena's regions, those that were written past
 * their end, and the words of each lcore. Returns the path of the file, for the owner's eyes only.
 */
export function writeDump(machine: Machine, snapshot: Snapshot): string {
  const { arena, lcores } = machine;
  const words = lcores.map((address) => Array.from(arena.u32.subarray(address >>> 2, (address >>> 2) + 96)));
  const dump = { snapshot, regions: arena.regions(), damaged: arena.damaged(), lcores: words };
  const path = join(mkdtempSync(join(tmpdir(), `ringway-${snapshot.name}-`)), 'dump.json');
  writeFileSync(path, JSON.stringify(dump, null, 2), { mode: 0o600 });
  return path;
}
