import type { Command } from 'commander';
import { parsePortArguments } from '../config/index.ts';
import { type RemoteFlags, withClient, withName } from './remote.ts';

/** Adds `ringway port add` and `ringway port del`. */
export function addPort(program: Command): void {
  const port = program.command('port').description('add or remove ports');
  withName(port.command('add'))
    .description('add a port')
    .argument('<name>', 'its name')
    .argument('<key=value...>', 'its configuration, such as type=capture write=out.pcap vlan.access=10')
    .action((name: string, pairs: string[], flags: RemoteFlags) => {
      // Parsed here, since relative paths are relative to where we are, not to where the dataplane is.
      const { name: _, ...config } = parsePortArguments(name, pairs);
      return withClient(flags, (client) => client.request('port.add', { name, config }));
    });
  withName(port.command('del'))
    .description('remove a port')
    .argument('<name>', 'its name')
    .action((name: string, flags: RemoteFlags) => withClient(flags, (client) => client.request('port.del', { name })));
}
