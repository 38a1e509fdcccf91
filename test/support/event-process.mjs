// Another process's port of a running device: sends what it gets from queue 0 on to queue 1, until it is killed.
import { attachEventPort, EVENT_OP, readEvent, writeEvent } from '#build/eventdev/index.js';
import { openArena } from '#build/memory/index.js';

const [path, address, slots] = process.argv.slice(2);
const arena = openArena(path, { debug: true });
const port = attachEventPort(arena, Number(address));
const at = Number(slots);
console.log('attached');
for (;;) {
  const n = port.dequeue(at, 32, 100);
  for (let i = 0; i < n; i++) {
    writeEvent(arena, at + i * 16, { ...readEvent(arena, at + i * 16), queue: 1, op: EVENT_OP.FORWARD });
  }
  if (n > 0) port.enqueue(at, n);
}
