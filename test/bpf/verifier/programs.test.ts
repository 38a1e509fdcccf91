import { expect, test } from 'vitest';
import { verifyProgram } from '#build/bpf/verifier/verify-program.js';
import { CONFORMANCE, DEBIAN, EXAMPLES } from './programs.ts';

if (DEBIAN.length === 0) console.warn('programs.test.ts runs in part: xdp-tools is not installed');
if (CONFORMANCE.length === 0) console.warn('programs.test.ts runs in part: there is no conformance suite');

test.each([...EXAMPLES, ...DEBIAN])('%s is accepted', (_, program) => {
  const verdict = verifyProgram(program);
  expect(verdict.accepted ? '' : verdict.rejection.text).toBe('');
});

test.skipIf(CONFORMANCE.length === 0)('conformance programs are accepted, but for a call by a number', () => {
  const rejected = CONFORMANCE.flatMap(([name, program]) => {
    const verdict = verifyProgram(program);
    return verdict.accepted ? [] : [`${name}: ${verdict.rejection.reason}`];
  });
  expect(rejected).toEqual(['callx: call']);
});
