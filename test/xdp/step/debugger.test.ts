import { loadXdp, RingwayError } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { XdpDebugger } from '#build/xdp/step/debugger.js';
import { Recording, StepTap } from '#build/xdp/step/recording.js';
import { writeObject } from '../support/object.ts';

const fixture = (name: string): string => new URL(`../../bpf/object/fixtures/${name}.o`, import.meta.url).pathname;

async function debug(source: string | Uint8Array, prog?: string): Promise<XdpDebugger> {
  const tap = new StepTap();
  const options = { engine: 'interpreter', onStep: tap.onStep, ...(prog === undefined ? {} : { prog }) } as const;
  const program = await loadXdp(source, options);
  return new XdpDebugger(new Recording(program, tap, new Uint8Array(60)), typeof source === 'string' ? source : 'a.o');
}

const first = (lines: readonly string[]): string => lines[0] ?? '';

test('functions: stepping in, out, over and back, and the way to them', async () => {
  const run = await debug(fixture('calls'), 'first');
  expect(first(run.where())).toMatch(/calls\.c:\d+ in first, instruction 1 of \d+$/);
  run.do('break deepest');
  expect(first(run.do('continue'))).toMatch(/ in deepest, /);
  const trace = run.do('bt').map((line) => line.replace(/^.* in /, ''));
  expect(trace).toEqual(['deepest', 'middle', 'global_one', 'first']);
  expect(run.do('finish')[0]).toMatch(/ in middle, /);
  expect(run.do('reverse-finish')[0]).toMatch(/ in global_one, /);
  expect(run.do('step')[0]).toMatch(/ in middle, /);
  expect(run.do('rs')[0]).toMatch(/ in global_one, /);
  // Its one line ends where it returns; what was called lies between.
  expect(run.do('next')[0]).toMatch(/ in first, /);
  expect(run.do('reverse-next')[0]).toMatch(/ in first, instruction 2 of /);
  run.do('delete 1');
  expect(first(run.do('c'))).toMatch(/^the end, after \d+ instructions: (PASS|DROP)$/);
  expect(() => run.do('registers')).toThrow(/the run is at its end; go back first/);
  expect(first(run.do('reverse-continue'))).toMatch(/ in first, instruction 1 of /);
});

test('without lines of a source there are instructions', async () => {
  const run = await debug(
    writeObject('main', 'mov %r2, 7\nstxdw [%r10-16], %r2\nmov %r0, %r10\nadd %r0, -16\nmov %r0, 2\nexit'),
  );
  expect(run.where()).toEqual(['in main, instruction 1 of 6', '        0: r2 = 7']);
  expect(run.do('stack')).toEqual(['all 0']);
  run.do('break *2');
  expect(run.do('c')).toEqual(['in main, instruction 3 of 6', '        2: r0 = r10']);
  expect(run.do('stack')).toEqual(['r10  -16  07 00 00 00 00 00 00 00']);
  run.do('step 2');
  const registers = run.do('registers');
  expect(registers[0]).toMatch(/^r0 {2}0x[0-9a-f]+ +\d+ {2}stack - 16$/);
  expect(registers[1]).toMatch(/ {2}context$/);
  expect(registers[2]).toMatch(/^r2 {2}0x7 +7$/);
  expect(run.do('reverse-stepi 3')).toEqual(['in main, instruction 2 of 6', '        1: *(u64 *)(r10 - 16) = r2']);
  expect(run.do('stack')).toEqual(['all 0']);
  expect(run.do('list')[1]).toBe('>    1: *(u64 *)(r10 - 16) = r2');
});

test('packets as they are at each moment', async () => {
  const source =
    'ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 2\njgt %r4, %r3, +1\nstb [%r2+0], 66\nexit';
  const run = await debug(writeObject('main', source));
  expect(run.do('packet')[1]).toMatch(/^0000 {2}00 00 /);
  run.do('stepi 7');
  expect(run.do('packet')[1]).toMatch(/^0000 {2}42 00 /);
  expect(run.do('r')[3]).toMatch(/ {2}data_end$/);
  run.do('rsi');
  expect(run.do('packet')[1]).toMatch(/^0000 {2}00 00 /);
});

test('a run that was ended says why', async () => {
  const run = await debug(writeObject('main', 'mov %r1, 4096\nldxdw %r0, [%r1+0]\nexit'));
  expect(run.do('continue')).toEqual([
    'the end, after 2 instructions: ABORTED: it reaches memory that is not in its packet, stack or maps, at main, instruction 1',
  ]);
});

test.each([
  ['stp', /"stp" is no command; did you mean step\?/],
  ['xyzzy', /"xyzzy" is no command; help lists them/],
  ['step 0', /"0" is no number of times, 1 to 1000000/],
  ['step two', /"two" is no number of times/],
  ['break 4000', /break 4000: there is no code of line 4000; the nearest line that has some is \d+/],
  ['break other.c:4', /break other\.c:4: no code is known to be of other\.c/],
  ['break nope', /break nope: is no function, line or \*instruction; functions are .*first/],
  ['break *9999', /break \*9999: first has instructions 0 to \d+/],
  ['delete 1', /delete 1: there is no such breakpoint; break lists them/],
  ['maps nope', /maps: no map "nope"; there are: .*hits/],
])('%s is refused', async (command, message) => {
  const run = await debug(fixture('calls'), 'first');
  try {
    run.do(command);
  } catch (error) {
    expect(error).toBeInstanceOf(RingwayError);
    expect((error as Error).message).toMatch(message);
    return;
  }
  throw new Error('it was taken');
});

test('help has a line for each command', async () => {
  const run = await debug(fixture('calls'), 'first');
  const lines = run.do('help');
  expect(lines.length).toBeGreaterThan(15);
  const shorts = lines.map((line) => /^[\w-]+, (\w+)/.exec(line)?.[1]);
  expect(new Set(shorts).size).toBe(lines.length);
  expect(run.do('')).toEqual([]);
});
