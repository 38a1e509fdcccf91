import { readdirSync } from 'node:fs';
import type { RunningDataplane } from 'ringway';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addVhost } from '#build/cli/vhost.js';
import { requireSockets, requireSys, sysAvailable } from '#build/sys/index.js';
import { CHECKS, type CheckResult, checkBackend, formatResult, formatTotals } from '#build/vhost/conformance/run.js';
import { CONFIG, INFLIGHT, REQUEST, U64, VRING_STATE } from '#build/vhost/protocol.js';
import { CommandLine } from '../support/command.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';
import { type Faults, FaultyBackend } from '../support/vhost-faults.ts';

const available = sysAvailable();
const folder = testFolder();
const socket = folder.path('good.sock');
const eager = folder.path('eager.sock');
let dataplane: RunningDataplane;

beforeAll(async () => {
  if (!available) return;
  const port = { type: 'vhost-user', queues: 2 };
  dataplane = await start({
    version: 1,
    name: 'conformance',
    lcores: [{ idle: 'park' }, { idle: 'park' }],
    ports: {
      vm: { ...port, socket, lcore: 0 },
      eager: { ...port, socket: eager, lcore: 1, notify: 'interrupt' },
    },
  });
});
afterAll(async () => {
  if (available) expect(problemsOf(await dataplane.stop())).toEqual([]);
  folder.rm();
});

const failuresOf = (results: readonly CheckResult[]): string[] =>
  results.filter(({ status }) => status === 'FAIL').map(formatResult);
const openFiles = (): number => readdirSync('/proc/self/fd').length;

test('every check has a name of its own, and a section', () => {
  expect(new Set(CHECKS.map(({ name }) => name)).size).toBe(CHECKS.length);
  expect(CHECKS.filter(({ name, section }) => !/^[a-z0-9-]+$/.test(name) || section === '')).toEqual([]);
});

test.skipIf(!available)('ringway passes all checks for its device', async () => {
  const before = openFiles();
  const told: CheckResult[] = [];
  const results = await checkBackend({ socket, type: 'net', onResult: (result) => told.push(result) });
  expect(failuresOf(results)).toEqual([]);
  expect(results.filter(({ status }) => status === 'SKIP').map(({ name }) => name)).toEqual([
    'block-read',
    'block-id',
    'block-range',
  ]);
  expect(told).toEqual(results);
  await expect.poll(openFiles).toBeLessThanOrEqual(before);
});

test.skipIf(!available)('an lcore that sleeps at once serves rings, and does so soon', async () => {
  const since = performance.now();
  const only = ['split-burst', 'packed-burst', 'split-kick*', 'packed-kick*', '*-polled'].filter(
    (name) => name[0] !== '*',
  );
  const results = await checkBackend({ socket: eager, type: 'net', only: [...only, 'split-polled', 'packed-polled'] });
  expect(failuresOf(results)).toEqual([]);
  // Chains that came back with the tenth kick after theirs took as long as the others together.
  expect(performance.now() - since).toBeLessThan(5000);
});

/** Requests that a backend forgets. */
const swallow = (request: number): Faults => ({ request: (message) => message.request !== request });
/** Replies that are written anew. */
const reply = (request: number, change: (payload: Uint8Array, client: number) => Uint8Array): Faults => ({
  reply(message, client) {
    if (message.request === request) message.payload = change(message.payload, client);
    return true;
  },
});
/** Descriptors that go nowhere. */
const lose = (request: number, make: () => number): Faults => ({
  request(message) {
    if (message.request === request && message.fds.length === 1) {
      requireSys('a test').closeFd(message.fds[0] as number);
      message.fds = [make()];
    }
    return true;
  },
});
const accept: Faults = {
  reply(message) {
    if (message.payload.length === 8 && U64.read(message.payload) === 1n) message.payload = U64.write(0n);
    return true;
  },
};

/** Answers that do not come are not waited for as long as usual. */
const ANSWER_MS = 300;

const FAULTS: readonly (readonly [what: string, check: string, faults: Faults, came: RegExp])[] = [
  [
    'features that change',
    'features-same',
    reply(REQUEST.GET_FEATURES, (payload, client) => U64.write(U64.read(payload) ^ BigInt(client & 1))),
    /^0x/,
  ],
  ['a request without an answer', 'queue-num', swallow(REQUEST.GET_QUEUE_NUM), /^nothing in 300 ms$/],
  ['no queues', 'queue-num', reply(REQUEST.GET_QUEUE_NUM, () => U64.write(0n)), /^0$/],
  ['a short reply', 'status', reply(REQUEST.GET_STATUS, (payload) => payload.subarray(0, 4)), /^4 bytes$/],
  ['a status that is forgotten', 'status', reply(REQUEST.GET_STATUS, () => U64.write(0n)), /^0x0$/],
  [
    'a base that is one too far',
    'split-base',
    reply(REQUEST.GET_VRING_BASE, (payload) => {
      const { index, value } = VRING_STATE.read(payload);
      return VRING_STATE.write(index, value + 1);
    }),
    /^0x71$/,
  ],
  [
    'a packed base without its used half',
    'packed-base',
    reply(REQUEST.GET_VRING_BASE, (payload) => {
      const { index, value } = VRING_STATE.read(payload);
      return VRING_STATE.write(index, value & 0xffff);
    }),
    /^0x30$/,
  ],
  ['the base of another ring', 'split-base', reply(REQUEST.GET_VRING_BASE, () => VRING_STATE.write(7, 0)), /queue 7/],
  [
    'a base that is not used',
    'split-start-elsewhere',
    {
      request(message) {
        if (message.request === REQUEST.SET_VRING_BASE) message.payload = VRING_STATE.write(1, 0);
        return true;
      },
    },
    /./,
  ],
  [
    'calls that reach nobody',
    'split-call',
    lose(REQUEST.SET_VRING_CALL, () => requireSockets('a test').eventfd()),
    /^none$/,
  ],
  [
    'a log that is not written',
    'dirty-log',
    lose(REQUEST.SET_LOG_BASE, () => requireSys('a test').memfdCreate('lost', 1 << 20, { seal: true })),
    /^no mark$/,
  ],
  [
    'an inflight area for fewer queues',
    'split-inflight',
    reply(REQUEST.GET_INFLIGHT_FD, (payload) => INFLIGHT.write({ ...INFLIGHT.read(payload), queues: 1 })),
    /^0x1$/,
  ],
  [
    'a configuration that goes on behind its end',
    'config-bounds',
    reply(REQUEST.GET_CONFIG, (payload) => CONFIG.write(250, 0, new Uint8Array(payload.length + 51).fill(7))),
    /bytes$/,
  ],
  ['a size that is not refused', 'ring-size-0', accept, /^accepted$/],
  ['memory that overlaps', 'memory-overlap', accept, /^accepted$/],
  ['an end with a bad message', 'version-2', { clients: 2 }, /^nothing in 300 ms$/],
];

test.skipIf(!available).each(FAULTS)('%s: %s fails', async (_, check, faults, came) => {
  const path = folder.path('faulty.sock');
  const faulty = new FaultyBackend(path, socket, faults);
  const [result] = await checkBackend({ socket: path, type: 'net', only: [check], answerMs: ANSWER_MS }).finally(() =>
    faulty.close(),
  );
  expect(result).toMatchObject({ name: check, status: 'FAIL', came: expect.stringMatching(came) });
  expect(formatResult(result as CheckResult)).toMatch(/^FAIL {2}\S+\n {6}.+\n {6}expected .+\n {6}came {5}.+$/);
  // Without the fault it passes.
  const [good] = await checkBackend({ socket, type: 'net', only: [check] });
  expect(good?.status).toBe('PASS');
});

test.skipIf(!available)('what a backend did not survive is the last that is checked', async () => {
  const path = folder.path('faulty.sock');
  const faulty = new FaultyBackend(path, socket, { clients: 2 });
  const results = await checkBackend({ socket: path, type: 'net', only: ['version-*'], answerMs: ANSWER_MS });
  faulty.close();
  expect(results.map(({ status }) => status)).toEqual(['FAIL', 'SKIP', 'SKIP']);
  expect(formatResult(results[2] as CheckResult)).toBe(
    'SKIP  version-3: needs a backend that answers; this one does not since version-0',
  );
});

test.skipIf(!available)('the command prints a report, and exits with 1 when a check failed', async () => {
  const command = new CommandLine();
  const ringway = (...args: string[]) => command.call(addVhost, 'vhost', 'conformance', ...args);
  const good = await ringway(socket, '--only', 'queue-num', 'block-id');
  expect(good).toEqual({
    code: 0,
    err: '',
    out: 'PASS  queue-num\nSKIP  block-id: needs a block device\n1 passed, 0 failed, 1 skipped\n',
  });
  const json = await ringway(socket, '--only', 'queue-num', '--json');
  const section = 'Multiple queue support; GET_QUEUE_NUM';
  expect(JSON.parse(json.out)).toEqual([{ name: 'queue-num', section, status: 'PASS' }]);
  const faulty = new FaultyBackend(folder.path('faulty.sock'), socket, accept);
  const bad = await ringway(folder.path('faulty.sock'), '--only', 'ring-size-0');
  faulty.close();
  expect(bad.code).toBe(1);
  expect(bad.out).toContain('came     accepted\n0 passed, 1 failed, 0 skipped\n');
  expect(await ringway(folder.path('none.sock'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('nobody listens'),
  });
  expect(await ringway(socket, '--only', 'speed')).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--only speed: there is no such check; there are features-same, /),
  });
  expect(formatTotals([])).toBe('0 passed, 0 failed, 0 skipped');
});
