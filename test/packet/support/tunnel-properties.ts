import fc from 'fast-check';
import { expect } from 'vitest';
import { CHANGES, EXTENSIONS, Sender } from './gro-model.ts';
import type { GroRig } from './gro-properties.ts';
import { carriesEthernet, KINDS, OTHER_FLOWS, OUTER_CHANGES, type Tunnel, wrap } from './tunnels.ts';

/** What a stack does not keep in order: packets that are of no flow, or of another one. */
const LOOSE = ['a fragment', 'several buffers', 'others hold it', ...Object.keys(OTHER_FLOWS)];
const OUTSIDE = { ...OUTER_CHANGES, ...OTHER_FLOWS };

const tunnel: fc.Arbitrary<Tunnel> = fc.record({
  kind: fc.constantFrom(...KINDS),
  family: fc.constantFrom<(4 | 6)[]>(4, 6),
  step: fc.constantFrom<(0 | 1)[]>(0, 1),
  hasSum: fc.boolean(),
  hasLimit: fc.boolean(),
  number: fc.nat(20),
});

const kind = (names: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight: 14, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom(...names) });

const traffic = fc.record({
  flows: fc.uniqueArray(
    fc.record({
      tunnel,
      family: fc.constantFrom<(4 | 6)[]>(4, 6),
      seed: fc.nat(0xffff),
      size: fc.constantFrom(8, 40, 1300),
      tags: fc.array(fc.nat(0xffff), { maxLength: 2 }),
      extensions: fc.array(fc.constantFrom(...EXTENSIONS), { maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 4, selector: ({ seed }) => seed },
  ),
  steps: fc.array(
    fc.record({
      flow: fc.nat(3),
      inside: kind([...Object.keys(CHANGES), 'loss', 'again', 'short', 'push', 'empty', 'options']),
      outside: kind(Object.keys(OUTSIDE)),
    }),
    { minLength: 20, maxLength: 120 },
  ),
  bursts: fc.array(fc.integer({ min: 0, max: 32 }), { minLength: 1, maxLength: 20 }),
});

/** Traffic in tunnels comes out as it went in, when it is cut again: all of it, and each flow in its order. */
export function checkTunnels(rig: GroRig, numRuns: number): void {
  fc.assert(
    fc.property(traffic, ({ flows, steps, bursts }) => {
      const senders = flows.map(({ tunnel: through, tags, ...flow }) => ({
        sender: new Sender({
          ...flow,
          tags: carriesEthernet(through) ? tags : [],
          options: 2,
          sequence: 70_000,
          identification: 5,
        }),
        sent: 0,
      }));
      const arrivals = steps.map(({ flow, inside, outside }) => {
        const which = flow % flows.length;
        const state = senders[which] as (typeof senders)[0];
        const { tunnel: through } = flows[which] as (typeof flows)[0];
        const parts = wrap(state.sender.next(inside).frame, through, state.sent++);
        const frame = OUTSIDE[outside]?.(parts, through) ?? parts.frame;
        return { which, frame, isLoose: LOOSE.includes(inside) || LOOSE.includes(outside) };
      });
      const out: string[] = [];
      for (let done = 0, i = 0; done < arrivals.length; i++) {
        const n = i < bursts.length ? (bursts[i] ?? 0) : 32;
        out.push(...rig.burst(arrivals.slice(done, done + n)).flat());
        done += n;
      }
      out.push(...rig.burst([], 1000).flat());
      const texts = arrivals.map(({ frame }) => Buffer.from(frame).toString('base64'));
      expect(out.toSorted()).toEqual(texts.toSorted());
      for (const which of flows.keys()) {
        const own = new Set(texts.filter((_, index) => arrivals[index]?.which === which && !arrivals[index]?.isLoose));
        expect(out.filter((one) => own.has(one))).toEqual(texts.filter((one) => own.has(one)));
      }
      expect(rig.leftovers()).toEqual([]);
    }),
    { numRuns },
  );
}
