import { expect, test } from 'vitest';
import type { RejectionReason } from '#build/bpf/verifier/refusal.js';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { CASES } from './cases/index.ts';
import { LOCK_CASES } from './cases/locks.ts';

const ALL = [...CASES, ...LOCK_CASES];

test.each(ALL.map((one) => [one.name, one] as const))('%s', (_, { reason, bad, good }) => {
  const verdict = verifyProgram(bad);
  expect(verdict.accepted ? 'accepted' : verdict.rejection.reason).toBe(reason);
  const mended = verifyProgram(good);
  expect(mended.accepted ? '' : mended.rejection.text).toBe('');
});

test('there are a hundred and more, each with a name of its own, of every reason', () => {
  expect(CASES.length).toBeGreaterThanOrEqual(100);
  expect(new Set(ALL.map(({ name }) => name)).size).toBe(ALL.length);
  const all: Record<RejectionReason, true> = {
    'uninitialised-register': true,
    'not-a-pointer': true,
    'stale-pointer': true,
    'null-pointer': true,
    'packet-bounds': true,
    'map-bounds': true,
    'stack-bounds': true,
    'memory-bounds': true,
    'unbounded-offset': true,
    'context-access': true,
    'access-rights': true,
    alignment: true,
    'pointer-arithmetic': true,
    'partial-pointer': true,
    'stack-escape': true,
    'helper-argument': true,
    'helper-size': true,
    'map-kind': true,
    atomic: true,
    call: true,
    'stack-depth': true,
    'reference-leak': true,
    'spin-lock': true,
    'infinite-loop': true,
    unreachable: true,
    budget: true,
  };
  expect([...new Set(ALL.map(({ reason }) => reason))].sort()).toEqual(Object.keys(all).sort());
});
