// A process of the memory bench, which needs its garbage collector exposed: runs as many packets as it is told to.

import { moduleUrl } from '../util/module-url.ts';
import { runPorts } from './run-ports.ts';

const [packets, warmUp] = process.argv.slice(2).map(Number) as [number, number];
await runPorts({
  lcores: 1,
  ports: {
    load: { type: 'generator', limit: packets },
    out: { type: 'module', module: moduleUrl('lab/heap-sink.js').href, options: { warmUp } },
  },
  to: 'out',
  packets,
});
