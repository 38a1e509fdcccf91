// A process with one end of a vhost-user connection: `node vhost-child.js SOCKET OPTIONS`. It ends with its input.
import { startSide, type VhostSideOptions } from './vhost-side.ts';

const [, , socket = '', options = '{}'] = process.argv;
const side = await startSide(socket, JSON.parse(options) as VhostSideOptions);
process.stdout.write('ready\n');
process.stdin.resume();
process.stdin.once('end', () => void side.close().then(() => process.exit(0)));
