import type { Command } from 'commander';
import { loadConfig } from '../config/index.ts';
import { processTerminal } from './terminal.ts';

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Adds `ringway check FILE`. */
export function addCheck(program: Command): void {
  program
    .command('check')
    .description('report all that is wrong with a configuration')
    .argument('<file>', 'configuration')
    .option(
      '--set <path=value>',
      'change a value of the file; repeatable',
      (value, all: string[]) => [...all, value],
      [],
    )
    .action((file: string, { set }: { set: string[] }) => {
      const { ports, lcores } = loadConfig(file, { set });
      processTerminal().write(`ok: ${plural(ports.length, 'port')}, ${plural(lcores.length, 'lcore')}\n`);
    });
}
