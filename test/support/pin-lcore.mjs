// Starts an lcore on the processor it is given, and answers what became of it.

import { allocateLcore, startLcore } from '#build/lcore/lcore.js';
import { createArena } from '#build/memory/index.js';

const arena = createArena({ bytes: 1 << 20 });
const address = allocateLcore(arena, 0, 0, 0);
const words = arena.allocate('words', 64);
const module = new URL('./lcore-task.mjs', import.meta.url);
const options = {
  index: 0,
  module,
  data: { words },
  idle: 'park',
  cpu: Number(process.argv[2]),
};
try {
  const lcore = await startLcore(arena, address, options);
  console.log(JSON.stringify({ stopped: await lcore.stop() }));
} catch ({ name, code, message }) {
  console.log(JSON.stringify({ name, code, message }));
}
