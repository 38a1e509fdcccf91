import { execFileSync } from 'node:child_process';
import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { CHECKS, type CheckResult, checkBackend, formatResult } from '#build/vhost/conformance/run.js';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms, Program } from '../support/program.ts';
import { startTestpmd } from '../support/testpmd.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const SIZED = ['set-features', 'set-protocol-features', 'set-vring-addr', 'set-vring-base', 'get-vring-base'];
const MORE_SIZED = [
  'set-vring-kick',
  'set-vring-call',
  'set-vring-err',
  'set-vring-enable',
  'send-rarp',
  'net-set-mtu',
];

/** What DPDK's vhost 22.11 fails, and why. */
const DPDK: Readonly<Record<string, readonly string[]>> = {
  'answers a need_reply that was not agreed on': ['reply-without-feature'],
  'keeps no used half of a packed base, which is the same as the other one for a driver of its own': [
    'packed-base',
    'packed-base-receive',
  ],
  'forgets the rings': ['reset-owner'],
  'looks at neither version nor reply flag': ['version-0', 'version-2', 'version-3', 'reply-unasked-for'],
  'reads as much payload as comes, up to the longest, and leaves what is missing as it was': [
    ...[...SIZED, ...MORE_SIZED, 'set-status'].flatMap((name) => [`short-${name}`, `long-${name}`]),
    ...['set-vring-num', 'set-owner', 'get-status'].map((name) => `long-${name}`),
  ],
  'says yes to addresses, and then does not start the ring': [
    ...['descriptors-outside', 'available-outside', 'used-outside', 'wraps', 'across-the-end'].map(
      (name) => `ring-${name}`,
    ),
  ],
  'starts misaligned rings, as processors may': [
    ...['descriptors', 'available', 'used'].map((name) => `ring-${name}-misaligned`),
  ],
  'has 256 rings, however many queues it offers': ['index-set-vring-kick', 'index-set-vring-call'],
  'maps what is said, and does not look at the file or at other regions': [
    ...['overlap', 'wraps-guest', 'wraps-user', 'beyond-file', 'offset-beyond-file'].map((name) => `memory-${name}`),
    'log-beyond-file',
  ],
};

/** What libvhost-user in QEMU's storage daemon fails of the checks that break no rule. */
const QEMU: Readonly<Record<string, readonly string[]>> = {
  'serves a ring when it is kicked': ['split-polled'],
  'calls a descriptor that there is not, and gives up': ['split-uncalled'],
};

/** A report is whole: each check once, in order, and whatever failed says why. */
function expectWellFormed(results: readonly CheckResult[], checks: readonly { name: string }[]): void {
  expect(results.map(({ name }) => name)).toEqual(checks.map(({ name }) => name));
  for (const result of results) {
    const { status, expected, came, missing } = result;
    expect([status, expected !== undefined, came !== undefined, missing !== undefined], result.name).toEqual([
      status,
      status === 'FAIL',
      status === 'FAIL',
      status === 'SKIP',
    ]);
    expect(formatResult(result)).toMatch(new RegExp(`^${status} {2}${result.name}`));
  }
}

/** Names of those that failed, in the order of the report. */
const failed = (results: readonly CheckResult[]): string[] =>
  results.filter(({ status }) => status === 'FAIL').map(({ name }) => name);

/** Recorded names, in the order of the checks. */
function recorded(reasons: Readonly<Record<string, readonly string[]>>): string[] {
  const names = new Set(Object.values(reasons).flat());
  return CHECKS.map(({ name }) => name).filter((name) => names.has(name));
}

const noTestpmd = missingPrograms('dpdk-testpmd', 'nice', 'stdbuf');
if (noTestpmd.length > 0) console.warn(`DPDK's backend is not checked: no ${noTestpmd.join(', ')}`);

test.skipIf(noTestpmd.length > 0)(
  'DPDK fails what it is known to fail, and lives through all of it',
  async () => {
    const socket = folder.path('dpdk.sock');
    const testpmd = await startTestpmd({
      name: 'checked',
      mode: 'rxonly',
      ports: [{ kind: 'vhost', socket, queues: 2 }],
    });
    const results = await checkBackend({ socket, type: 'net' });
    expectWellFormed(results, CHECKS);
    expect(failed(results)).toEqual(recorded(DPDK));
    expect(testpmd.program.alive).toBe(true);
    await testpmd.stop();
  },
  120_000,
);

const noDaemon = missingPrograms('qemu-storage-daemon');
if (noDaemon.length > 0) console.warn("QEMU's backend is not checked: no qemu-storage-daemon");

test.skipIf(noDaemon.length > 0)(
  'a block device of QEMU fails what it is known to fail, and its disk is not written',
  async () => {
    const [socket, disk] = [folder.path('block.sock'), folder.path('disk')];
    writeFileSync(disk, '');
    truncateSync(disk, 1 << 20);
    const before = execFileSync('sha256sum', [disk], { encoding: 'utf8' });
    const drive = `driver=file,node-name=disk,filename=${disk}`;
    const server = `type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path=${socket}`;
    const daemon = new Program('storage daemon', 'qemu-storage-daemon', ['--blockdev', drive, '--export', server]);
    const only = [
      'features*',
      'protocol*',
      'queue-num',
      'split-*',
      'memory-again',
      'memory-offset',
      'config',
      'block-*',
    ];
    await daemon.until('socket', 10_000, () => existsSync(socket) || undefined);
    const results = await checkBackend({ socket, type: 'block', only });
    expect(failed(results)).toEqual(recorded(QEMU));
    expect(results.filter(({ name, status }) => name.startsWith('block-') && status === 'PASS').length).toBe(3);
    expect(execFileSync('sha256sum', [disk], { encoding: 'utf8' })).toBe(before);
    await daemon.kill();
  },
  120_000,
);
