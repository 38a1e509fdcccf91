import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Moves } from '#build/xdp/step/moves.js';
import type { Moment } from '#build/xdp/step/recording.js';

const program = {} as Moment['program'];

/** A run as text: `1a 1a 1b 2c`: the depth, and the line. */
function run(text: string): Moment[] {
  return text.split(' ').map((part, pc) => {
    const depth = Number(part[0]);
    const line = { pc, file: 'a.c', line: part.charCodeAt(1), column: 1, text: '' };
    return { program, pc, depth, line };
  });
}

//            0  1  2  3  4  5  6  7  8  9  10 11
const TEXT = '0a 0a 0b 1x 1x 1y 2p 1y 0b 0c 0c 0a';
const moves = new Moves(run(TEXT));

test.each([
  ['step', [2, 2, 3, 5, 5, 6, 7, 8, 9, 11, 11, 12]],
  ['next', [2, 2, 9, 5, 5, 8, 7, 8, 9, 11, 11, 12]],
  ['finish', [12, 12, 12, 8, 8, 8, 7, 8, 12, 12, 12, 12]],
  ['stepBack', [0, 0, 0, 2, 3, 3, 5, 6, 7, 8, 9, 9]],
  ['nextBack', [0, 0, 0, 2, 3, 3, 5, 5, 2, 2, 9, 9]],
  ['finishBack', [0, 0, 0, 2, 2, 2, 5, 2, 0, 0, 0, 0]],
] as const)('%s', (name, expected) => {
  expect(expected.map((_, at) => moves[name](at))).toEqual(expected);
});

test('moves go forward or back, never stand still but at the ends, and reach them', () => {
  const part = fc
    .tuple(fc.integer({ min: 0, max: 3 }), fc.constantFrom('a', 'b', 'c'))
    .map(([depth, line]) => `${depth}${line}`);
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 40 }), (parts) => {
      const random = new Moves(run(parts.join(' ')));
      for (let at = 0; at < random.end; at++) {
        for (const name of ['step', 'next', 'finish'] as const) expect(random[name](at)).toBeGreaterThan(at);
        for (const name of ['stepBack', 'nextBack', 'finishBack'] as const) {
          if (at > 0) expect(random[name](at)).toBeLessThan(at);
        }
      }
      // Where one step leads to, one back leads from.
      for (let at = 0; random.isLineStart(at); at = random.step(at)) {
        const to = random.step(at);
        if (to < random.end) expect(random.stepBack(to)).toBe(at);
      }
    }),
  );
});
