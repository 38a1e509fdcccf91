import type { Command } from 'commander';
import { BENCH_NAMES } from '../lab/names.ts';
import { formatRows } from '../lab/row.ts';

/** Adds `ringway bench [NAME]… [--json] [--peers]`. */
export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure kernels on this machine, one core and two')
    .argument('[name...]', `what to measure: ${BENCH_NAMES.join(', ')}; all when none is given`)
    .option('--json', 'print an array of rows')
    .option('--peers', "compile and run the peers in bench/ beside each figure (needs gcc and DPDK's libraries)")
    .action(async (names: string[], options: { json?: true; peers?: true }) => {
      // Only here: the other commands start sooner without.
      const { runBenches } = await import('../lab/bench.ts');
      const rows = await runBenches(names, { peers: options.peers ?? false });
      console.log(options.json ? JSON.stringify(rows, null, 2) : formatRows(rows));
    });
}
