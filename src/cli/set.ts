import type { Command } from 'commander';
import { parseSetting, settablePaths } from '../config/index.ts';
import { RingwayError } from '../util/errors.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';

/** Adds `ringway set PATH=VALUE`. */
export function addSet(program: Command): void {
  const paths = settablePaths.map(({ pattern, description }) => `  ${pattern.padEnd(28)}${description}`);
  withName(program.command('set'))
    .description('change a value of a running dataplane')
    .argument('<path=value>', 'such as ports.load.rate=500kpps')
    .addHelpText('after', `\nPaths:\n${paths.join('\n')}`)
    .action((assignment: string, flags: RemoteFlags) => {
      const equals = assignment.indexOf('=');
      if (equals < 1) {
        const message = `${JSON.stringify(assignment)} is not PATH=VALUE; write it like ports.load.rate=500kpps`;
        throw new RingwayError('BAD_ARGUMENT', message);
      }
      const [path, value] = [assignment.slice(0, equals), assignment.slice(equals + 1)];
      // Here as well as there, so that a slip is found even when nothing runs.
      parseSetting(path, value);
      return withClient(flags, (client) => client.request('set', { path, value }));
    });
}
