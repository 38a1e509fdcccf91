// A process of the memory bench: runs a configuration until its inputs are used up, and prints the highest resident set
// that it ever had, in bytes; 0 when the system does not say. Arguments: the file, then settings.
import { existsSync, readFileSync } from 'node:fs';
import { loadConfig } from '../config/index.ts';
import { startDataplane } from '../dataplane/dataplane.ts';

const STATUS = '/proc/self/status';

const [file = '', ...set] = process.argv.slice(2);
const dataplane = await startDataplane(loadConfig(file, { set }));
await dataplane.finished;
await dataplane.stop();
// proc(5): VmHWM, in units of 1024 bytes.
const peak = existsSync(STATUS) ? /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(STATUS, 'utf8'))?.[1] : undefined;
console.log(Number(peak ?? 0) * 1024);
