import fc from 'fast-check';
import { DMA_FLAG, DMA_STATUS } from 'ringway/dma';
import { expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { BASES, testArena } from '../support/arena.ts';
import { DATA_BYTES, makeChannel, STATUSES_MAX } from './support/channel.ts';
import { apply, draw, enqueue, type Operation } from './support/operations.ts';

const SIZE = 32;

const command = fc.record({
  what: fc.constantFrom('enqueue', 'enqueue', 'enqueue', 'enqueue', 'submit', 'run', 'completed', 'status', 'rollback'),
  count: fc.integer({ min: 0, max: 12 }),
});

/** Positions at which a channel begins: 0, where the index wraps, and where the position does. */
const STARTS = [0, 65_500, 2 ** 32 - 20];
const CASES = BASES.flatMap((base) => STARTS.map((start) => [base, start] as const));

test.each(CASES)(
  'at base %i from position %i: any sequence of calls does what a list of operations does',
  (base, start) => {
    fc.assert(
      fc.property(
        fc.array(command, { minLength: 100, maxLength: 200, size: 'max' }),
        fc.integer({ min: 0, max: 2 ** 31 }),
        (commands, seed) => {
          const random = new Random(seed);
          const rig = makeChannel({ arena: testArena(1 << 20, base), descriptors: SIZE, start });
          const { arena, kernels, vchan, target, statuses } = rig;
          const memory = arena.u8.slice(base);
          // Operations by position from `start`; how far each step has come.
          const list: Operation[] = [];
          let [returned, completed, submitted] = [0, 0, 0];
          const indexOf = (i: number): number => (start + i) & 0xffff;
          for (const { what, count } of commands) {
            if (what === 'enqueue') {
              const operation = draw(random, rig, 6);
              const submits = count % 8 === 0;
              const index = enqueue(
                vchan,
                rig,
                operation,
                submits ? DMA_FLAG.SUBMIT : count % 3 === 0 ? DMA_FLAG.FENCE : 0,
              );
              if (list.length - returned === SIZE) expect(index).toBe(-1);
              else {
                expect(index).toBe(indexOf(list.length));
                list.push(operation);
                if (submits) submitted = list.length;
              }
            } else if (what === 'submit') {
              vchan.submit();
              submitted = list.length;
            } else if (what === 'run') {
              const n = Math.min(count, submitted - completed);
              expect(kernels.dmaRunEngine(rig.address, count)).toBe(n);
              for (const operation of list.slice(completed, completed + n)) apply(memory, base, operation);
              completed += n;
            } else if (what === 'completed') {
              const ready = list.slice(returned, Math.min(completed, returned + count));
              const failed = ready.findIndex(({ status }) => status !== DMA_STATUS.SUCCESSFUL);
              const n = failed < 0 ? ready.length : failed;
              expect(vchan.completed(count)).toBe(n);
              expect(vchan.hasError).toBe(failed >= 0);
              returned += n;
              expect(vchan.lastIndex).toBe(indexOf(returned - 1));
            } else if (what === 'status') {
              const ready = list.slice(returned, Math.min(completed, returned + count));
              arena.u8.fill(0xee, statuses, statuses + STATUSES_MAX);
              expect(vchan.completedStatus(count, statuses)).toBe(ready.length);
              const got = Array.from(arena.u8.subarray(statuses, statuses + ready.length + 1));
              expect(got).toEqual([...ready.map(({ status }) => status), 0xee]);
              returned += ready.length;
              expect(vchan.lastIndex).toBe(indexOf(returned - 1));
            } else {
              const back = list.length - count;
              const n = count <= list.length - submitted ? count : 0;
              expect(vchan.rollback(indexOf(back))).toBe(n);
              list.length -= n;
            }
            expect(vchan.burstCapacity()).toBe(SIZE - (list.length - returned));
            expect([vchan.pending(), vchan.inFlight()]).toEqual([list.length - submitted, submitted - completed]);
          }
          const failures = list.slice(0, completed).filter(({ status }) => status !== DMA_STATUS.SUCCESSFUL).length;
          expect(vchan.stats()).toEqual({ submitted, completed, errors: failures });
          const at = target - base;
          expect(arena.u8.subarray(target, target + DATA_BYTES)).toEqual(memory.subarray(at, at + DATA_BYTES));
          expect(arena.damaged()).toEqual([]);
        },
      ),
      { numRuns: 15 },
    );
  },
);

test('an operation of the engine cpu is done when submit returns', () => {
  const { arena, vchan, source, target } = makeChannel({ cpu: true });
  expect(vchan.copy(target, source, 4096)).toBe(0);
  expect(arena.u8[target + 1]).toBe(0);
  expect(vchan.completed(8)).toBe(0);
  expect(vchan.copy(target + 4096, source + 4096, 100, DMA_FLAG.SUBMIT)).toBe(1);
  expect(arena.u8.slice(target, target + 4196)).toEqual(arena.u8.slice(source, source + 4196));
  expect([vchan.completed(8), vchan.lastIndex, vchan.hasError]).toEqual([2, 1, false]);
});

test('a ring index that was given up is given again, and one that is submitted cannot be', () => {
  const { arena, vchan, source, target } = makeChannel({ cpu: true });
  expect(vchan.copy(target, source, 8)).toBe(0);
  vchan.submit();
  expect([1, 2, 3].map((n) => vchan.copy(target + n * 8, source, 8))).toEqual([1, 2, 3]);
  expect([vchan.rollback(0), vchan.rollback(9), vchan.rollback(4), vchan.rollback(2)]).toEqual([0, 0, 0, 2]);
  expect(vchan.copy(target + 32, source, 8, DMA_FLAG.SUBMIT)).toBe(2);
  expect(vchan.completed(8)).toBe(3);
  const first = Array.from({ length: 5 }, (_, n) => arena.u8[target + n * 8 + 1] !== 0);
  expect(first).toEqual([true, true, false, false, true]);
});

test('SG lists are refused when they are empty or too long, and all that an engine does not do', () => {
  const { vchan, lists, target } = makeChannel();
  for (const [targets, sources] of [
    [0, 1],
    [1, 0],
    [17, 1],
    [1, 17],
  ] as const) {
    expect(vchan.copySg(lists, targets, lists, sources)).toBe(-2);
  }
  expect(vchan.copySg(lists, 16, lists + 128, 16)).toBe(0);
  const bare = makeChannel({ bare: true });
  expect([bare.vchan.copySg(lists, 1, lists, 1), bare.vchan.fill(target, 0, 0, 1)]).toEqual([-2, -2]);
  expect(bare.vchan.copy(target, target, 0)).toBe(0);
});

test('a silent channel is never full as long as its engine works', () => {
  const { kernels, vchan, address, source, target } = makeChannel({ silent: true });
  for (let i = 0; i < 32; i++) expect(vchan.copy(target + i * 8, source, 8)).toBe(i);
  expect([vchan.copy(target, source, 8), vchan.burstCapacity()]).toEqual([-1, 0]);
  vchan.submit();
  kernels.dmaRunEngine(address, 20);
  expect(vchan.burstCapacity()).toBe(20);
  for (let i = 0; i < 20; i++) expect(vchan.copy(target + i * 8, source, 8)).toBe(32 + i);
  expect(vchan.copy(target, source, 8)).toBe(-1);
});

test.each([33, 16, 16384, 0, 1.5, Number.NaN])('%d descriptors are refused', (descriptors) => {
  expect(() => makeChannel({ descriptors })).toThrow(/channel: descriptors=.*power of two from 32 to 8192/);
});
