import type { Guest } from './qemu.ts';

/** What QEMU says of a migration, of what tests ask for. Times in milliseconds. */
export interface Migration {
  readonly status: string;
  readonly downtime?: number;
  readonly 'total-time'?: number;
  readonly 'error-desc'?: string;
  readonly ram?: { readonly transferred: number; readonly 'dirty-sync-count': number };
}

const status = async (guest: Guest): Promise<string> =>
  ((await guest.monitor('query-status')) as { status: string }).status;

/**
 * Moves a running guest to another QEMU, which was started with `incoming` and the same devices: at the end that one runs
 * and the first one is stopped. Throws what QEMU says when it fails.
 * @param uri where the other one waits, such as `unix:PATH`.
 */
export async function migrate(from: Guest, to: Guest, uri: string, timeoutMs = 60_000): Promise<Migration> {
  // An emulated guest makes pages dirty slowly: a short last step is within reach.
  await from.monitor('migrate-set-parameters', { 'downtime-limit': 200, 'max-bandwidth': 2 ** 26 });
  await from.monitor('migrate', { uri });
  const end = Date.now() + timeoutMs;
  while (true) {
    const migration = (await from.monitor('query-migrate')) as Migration;
    if (migration.status === 'failed' || migration.status === 'cancelled') {
      throw from.program.error(`migration ${migration.status}: ${migration['error-desc'] ?? ''}; ${to.log()}`);
    }
    if (migration.status === 'completed' && (await status(to)) === 'running') return migration;
    if (Date.now() > end) throw from.program.error(`migration is ${migration.status} after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
