import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Kinds of the descriptors of this process that a connection to a guest needs, sorted. */
export function descriptors(): string[] {
  const kinds = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The descriptor that listed the folder is gone.
      return [];
    }
  });
  return kinds.flatMap((kind) => /eventfd|memfd|socket:|rtemap|dpdk/.exec(kind)?.[0] ?? []).sort();
}

/** Files without a name, or that are gone, that this process has mapped. */
export function mappings(): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.filter((line) => /memfd:|\(deleted\)/.test(line)).length;
}
