import { mkdtempSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ControlClient, startControlServer } from '#build/control/index.js';
import { effort } from '../support/effort.ts';
import { FakeTarget } from '../support/target.ts';

const methods = [
  'stats',
  'set',
  'port.add',
  'port.del',
  'steer.add',
  'steer.del',
  'steer.list',
  'trace',
  'prometheus',
  'xdp.attach',
  'xdp.detach',
  'xdp.watch',
  'map.dump',
  'map.update',
  'map.delete',
  'nothing',
];
const request = fc.record(
  {
    id: fc.oneof(fc.nat(), fc.jsonValue({ maxDepth: 1 })),
    method: fc.oneof(fc.constantFrom(...methods), fc.string()),
    params: fc.oneof(
      fc.record(
        {
          path: fc.constantFrom('ports.in.rate', 'switch.ageing', 'x'),
          value: fc.string(),
          name: fc.string(),
          port: fc.constantFrom('in', 'x'),
          limit: fc.nat(),
          id: fc.nat(),
          program: fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 2 })),
          map: fc.constantFrom('denied', 'x'),
          key: fc.jsonValue({ maxDepth: 2 }),
          rule: fc.jsonValue({ maxDepth: 2 }),
          config: fc.jsonValue({ maxDepth: 2 }),
        },
        { requiredKeys: [] },
      ),
      fc.jsonValue({ maxDepth: 2 }),
    ),
  },
  { requiredKeys: [] },
);
const line = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }).map((value) => Buffer.from(`${JSON.stringify(value)}\n`)),
  { arbitrary: request.map((value) => Buffer.from(`${JSON.stringify(value)}\n`)), weight: 4 },
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc.nat({ max: 70_000 }).map((length) => Buffer.alloc(length, '[')),
);
const ending = fc.constantFrom('end', 'destroy');

/** Sends the lines in pieces, reads or not, and goes away in one of several ways. */
function misbehave(path: string, lines: Buffer[], reads: boolean, cut: number, how: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    if (reads) socket.resume();
    const bytes = Buffer.concat(lines);
    for (let at = 0; at < bytes.length; at += cut) socket.write(bytes.subarray(at, at + cut));
    setTimeout(() => {
      socket.resume();
      if (how === 'end') socket.end();
      else socket.destroy();
    }, 5);
  });
}

test('no client disturbs another', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'ringway-')), 'control');
  const target = new FakeTarget();
  const server = await startControlServer(target, { directory });
  const witness = await ControlClient.connect({ directory });
  // fast-check prints the seed and the smallest case when this fails.
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { minLength: 1, maxLength: 8 }),
      fc.boolean(),
      fc.integer({ min: 50, max: 70_000 }),
      ending,
      async (lines, reads, cut, how) => {
        const done = misbehave(server.path, lines, reads, cut, how);
        target.packet('a packet');
        target.report({ kind: 'log', text: 'a report' });
        expect(await witness.request('steer.del', { id: 2 ** 40 }).catch((error) => error.code)).toBe('NOT_FOUND');
        await done;
      },
    ),
    { numRuns: effort(80, 250), interruptAfterTimeLimit: 8000 },
  );
  await expect.poll(() => target.listeners.size + target.watchers.size).toBe(0);
  witness.close();
  await server.close();
});
