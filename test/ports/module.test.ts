import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { modulePort } from '#build/ports/module.js';
import type { Port } from '#build/ports/port.js';
import { PortBench, testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

/** Attaches the port that a module with `source` makes. */
async function attach(name: string, source: string, options: Record<string, unknown> = {}): Promise<Port> {
  writeFileSync(folder.path(name), source);
  const bench = new PortBench();
  const module = pathToFileURL(folder.path(name)).href;
  const share = bench.create(modulePort, { name: 'own', module, options });
  expect(share).toMatchObject({ rxQueues: 1, pausable: false, finite: false });
  return modulePort.attach(bench.context, share.data);
}

test('a module gets its context and the options as they stand, and its port is used as it is', async () => {
  const port = await attach(
    'fine.mjs',
    `export default {
       async attach({ arena, index, queue, cache }, options) {
         return { options, index, queue, bytes: arena.bytes, cache, rxBurst: () => 0, txBurst: () => 0, info: () => ({ done: true }), close() {} };
       },
     };`,
    { a: [1, { b: null }] },
  );
  expect(port).toMatchObject({ options: { a: [1, { b: null }] }, index: 0, queue: 0 });
  expect(port.info()).toEqual({ done: true });
});

test.each([
  ['missing.mjs', undefined, /ports\.own\.module: file:.*missing\.mjs cannot be imported: .*Cannot find module/],
  ['syntax.mjs', 'export default {', /ports\.own\.module: file:.*syntax\.mjs cannot be imported: /],
  ['throws.mjs', 'throw new Error("not today");', /throws\.mjs cannot be imported: Error: not today/],
  ['nothing.mjs', '', /nothing\.mjs must export by default an object with attach\(context, options\)/],
  ['named.mjs', 'export const attach = () => {};', /must export by default/],
  ['wrong.mjs', 'export default { attach: 7 };', /must export by default/],
  ['null.mjs', 'export default null;', /must export by default/],
  [
    'empty.mjs',
    'export default { attach: () => undefined };',
    /empty\.mjs made a port without rxBurst, txBurst, info, close/,
  ],
  [
    'half.mjs',
    'export default { attach: () => ({ rxBurst() {} }) };',
    /half\.mjs made a port without txBurst, info, close/,
  ],
])('%s is refused by name', async (name, source, reason) => {
  const refusal = source === undefined ? attachMissing(name) : attach(name, source);
  await expect(refusal).rejects.toMatchObject({ code: 'BAD_CONFIG', message: expect.stringMatching(reason) });
});

async function attachMissing(name: string): Promise<Port> {
  const module = pathToFileURL(folder.path(name)).href;
  return modulePort.attach(new PortBench().context, { name: 'own', url: module, options: {} });
}

test('what attach throws is passed on with the place', async () => {
  const source = 'export default { attach() { throw new RangeError("no such device"); } };';
  await expect(attach('device.mjs', source)).rejects.toMatchObject({
    code: 'SYSTEM',
    message: expect.stringMatching(
      /^ports\.own\.module: attach of file:.*device\.mjs failed: RangeError: no such device$/,
    ),
  });
});
