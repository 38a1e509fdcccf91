import { AsyncLcore } from '../async/lcore.ts';
import { asyncQueueBuffers, asyncQueueBytes, RING_SLOTS } from '../async/queue.ts';
import { type Integration, Transmit } from '../async/transmit.ts';
import { WorkRing } from '../async/work-ring.ts';
import { BUFFER_SHIFT } from '../memory/layout.ts';
import { mpscRingBytes } from '../ring/ring.ts';
import { QUEUE_SIZE } from './async-world.ts';
import { type Row, rowOf } from './row.ts';

/** What is an integration's own: classes whole, and methods of others. What all have (queue, track, send) is left out. */
const OWN: Readonly<Record<Integration, readonly (readonly [type: { toString(): string }, methods?: string[]])[]>> = {
  defer: [[WorkRing], [AsyncLcore, ['run', '#settleWork']]],
  v3: [[Transmit, ['poll', 'settle']]],
  v4: [[Transmit, ['poll', 'settle', '#push', '#pass', '#waiting', 'abandon']]],
  vq: [[Transmit, ['poll', 'settle']]],
};

const isCode = (line: string): boolean => !/^\s*($|\/\/|\/\*|\*)/.test(line);

/** Lines of code of a class as it was compiled, or of some of its methods; comments and empty lines do not count. */
export function linesOf(type: { toString(): string }, methods?: readonly string[]): number {
  const text = type.toString();
  const parts =
    methods === undefined
      ? [text]
      : methods.map((name) => {
          // A method begins in the class's own column, and ends with the next brace there.
          const [found] = text.match(new RegExp(`^(\\s+)${name}\\([^]*?^\\1}`, 'm')) ?? [];
          if (found === undefined) throw new Error(`bench async: no method ${name} to count`);
          return found;
        });
  return parts.flatMap((part) => part.split('\n')).filter(isCode).length;
}

/** What each integration needs beside time: memory for a queue that sends, places where packets may be lost, code. */
export function costRows(): Row[] {
  const rest = { p50: null, p99: null, p999: null, state: 'one core' } as const;
  const ring = mpscRingBytes(RING_SLOTS);
  return (Object.keys(OWN) as Integration[]).flatMap((way) => {
    const isRing = way === 'v4';
    const bytes = asyncQueueBytes(QUEUE_SIZE) - (isRing ? 0 : ring);
    const buffers = asyncQueueBuffers(QUEUE_SIZE) - (isRing ? 0 : asyncQueueBuffers(0));
    const held = `and up to ${buffers} buffers of ${1 << BUFFER_SHIFT} B`;
    const drops = isRing ? 'ring full, when it is to drop' : 'none';
    const lines = OWN[way].reduce((sum, [type, methods]) => sum + linesOf(type, methods), 0);
    return [
      rowOf({ ...rest, name: `async ${way}, memory a txq`, unit: 'B', value: bytes, note: held }, null),
      rowOf({ ...rest, name: `async ${way}, drop points`, unit: 'places', value: isRing ? 1 : 0, note: drops }, null),
      rowOf(
        { ...rest, name: `async ${way}, code`, unit: 'lines', value: lines, note: 'compiled, beside the common' },
        null,
      ),
    ];
  });
}
