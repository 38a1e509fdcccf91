import { writeFileSync } from 'node:fs';
import { buildFrame } from 'ringway/packet';
import { loadXdp, type RunResult, type XdpOptions, type XdpProgram } from 'ringway/xdp';
import { afterAll, describe, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { WHAT } from '../support/xdp-scenario.ts';
import { writeObject } from './support/object.ts';

const folder = testFolder();
afterAll(folder.rm);
const fixture = (name: string): string => new URL(`../bpf/object/fixtures/${name}.o`, import.meta.url).pathname;
const example = (name: string): string => new URL(`../../examples/xdp/${name}.o`, import.meta.url).pathname;
const text = (source: string, options: XdpOptions = {}): Promise<XdpProgram> =>
  loadXdp(writeObject('main', source), options);
const packet = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, index) => index & 255);
const UDP = buildFrame({
  ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
  ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
  udp: { sourcePort: 1000, destinationPort: 9 },
  payload: new Uint8Array(18),
});

/** A program of `verdicts.c` that does one thing with all packets. */
async function verdict(what: number, argument: number, options: XdpOptions = {}): Promise<XdpProgram> {
  const program = await loadXdp(fixture('verdicts'), { prog: 'one', ...options });
  for (let key = 0; key < 48; key++) program.maps.choices?.set(key, { what, argument });
  return program;
}

describe.each(['jit', 'interpreter'] as const)('in the engine %s', (engine) => {
  test('a program is chosen by name, and there must be one', async () => {
    expect((await loadXdp(example('vlan'), { prog: 'xdp_vlan_pop', engine })).name).toBe('xdp_vlan_pop');
    expect((await loadXdp(example('drop-list'), { engine })).name).toBe('xdp_drop_list');
    await expect(loadXdp(example('vlan'), { engine })).rejects.toThrow(/has 2 XDP programs: .*; name one/);
    await expect(loadXdp(example('vlan'), { prog: 'x', engine })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(loadXdp('/nowhere.o')).rejects.toThrow(/\/nowhere\.o: cannot be read: ENOENT/);
    await expect(loadXdp(new Uint8Array(10))).rejects.toMatchObject({ code: 'BAD_OBJECT' });
  });

  test('variables have the values that they are given', async () => {
    const at9 = await loadXdp(example('to-socket'), { engine });
    const at10 = await loadXdp(example('to-socket'), { engine, variables: { port: 10 } });
    for (const { maps } of [at9, at10]) maps.sockets?.set(0, 5);
    expect(at9.run(UDP)).toMatchObject({ action: 'REDIRECT', redirect: { to: 'socket', target: 5 } });
    expect(at10.run(UDP).action).toBe('PASS');
    await expect(loadXdp(example('to-socket'), { variables: { prt: 1 } })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(loadXdp(example('to-socket'), { variables: { port: 2 ** 16 } })).rejects.toThrow(/takes 0 to 65535/);
  });

  test('programs of other objects run in the place of functions', async () => {
    const pass = writeObject('main', 'mov %r0, 2\nexit');
    const drop = writeObject('main', 'mov %r0, 1\nexit');
    const run = async (count: number, slots: (Uint8Array | string)[]): Promise<RunResult> => {
      const replace = Object.fromEntries(
        slots.map((object, index) => [
          `slot${index}`,
          typeof object === 'string' ? { object, prog: 'one', variables: {} } : { object },
        ]),
      );
      const variables = { conf: { count, proceed: [4, 4, 4] } };
      const program = await loadXdp(fixture('dispatcher'), { engine, replace, variables });
      if (program.maps.choices !== undefined) program.maps.choices.set(0, { what: WHAT.back, argument: 0 });
      for (let key = 0; key < 48; key++) program.maps.choices?.set(key, { what: WHAT.back, argument: 0 });
      return program.run(UDP);
    };
    expect((await run(0, [])).action).toBe('PASS');
    // 31 is no action, and no bit of those that go on.
    expect(await run(1, [])).toMatchObject({ action: 'ABORTED', returned: 31 });
    expect((await run(2, [pass, drop])).action).toBe('DROP');
    expect((await run(1, [pass, drop])).action).toBe('PASS');
    expect((await run(3, [pass, pass, pass])).action).toBe('PASS');
    // With maps of its own.
    expect((await run(2, [pass, fixture('verdicts')])).action).toBe('TX');
  });

  test('the clock stands where it is set, and random numbers are those of the seed', async () => {
    const clock = await text('mov %r6, %r1\ncall ktime_get_ns\ndiv %r0, 1000000000\nexit', {
      engine,
      nowNs: 7_000_000_000,
    });
    expect([clock.run(UDP).returned, clock.run(UDP).returned]).toEqual([7, 7]);
    clock.setTime(9_999_999_999n);
    expect(clock.run(UDP).returned).toBe(9);
    const random = async (seed?: number): Promise<number[]> => {
      const program = await text('call get_prandom_u32\nexit', { engine, ...(seed === undefined ? {} : { seed }) });
      return program.runBatch([UDP, UDP, UDP]).map(({ returned }) => returned);
    };
    expect(await random(5)).toEqual(await random(5));
    expect(await random()).toEqual(await random(1));
    expect(await random(5)).not.toEqual(await random(6));
    expect(new Set(await random(5)).size).toBe(3);
  });

  test('values by CPU are those of the CPU that a packet runs on', async () => {
    const program = await loadXdp(example('drop-list'), { engine, cpus: 3 });
    for (const cpu of [0, 2, 2]) program.run(UDP, { cpu });
    expect(program.maps.packets?.get(0)).toEqual([1n, 0n, 2n]);
    const cpu = await text('call get_smp_processor_id\nexit', { engine, cpus: 3 });
    expect([0, 1, 2].map((index) => cpu.run(UDP, { cpu: index }).returned)).toEqual([0, 1, 2]);
    for (const wrong of [3, -1, 0.5, Number.NaN])
      expect(() => program.run(UDP, { cpu: wrong })).toThrow(/raise the option cpus/);
  });

  test('the context says where a packet came from', async () => {
    const words = (offset: number): Promise<XdpProgram> => text(`ldxw %r0, [%r1+${offset}]\nexit`, { engine });
    const from = { ifindex: 7, rxQueue: 3, egressIfindex: 9 };
    expect((await words(12)).run(UDP, from).returned).toBe(7);
    expect((await words(16)).run(UDP, from).returned).toBe(3);
    expect((await words(20)).run(UDP, from).returned).toBe(9);
    expect((await words(12)).run(UDP).returned).toBe(1);
  });

  test('packets have 14 to 65,600 bytes', async () => {
    const length = await text('call xdp_get_buff_len\nexit', { engine });
    for (const bytes of [14, 1500, 9000, 65_600]) {
      const result = length.run(packet(bytes));
      expect(result.returned).toBe(bytes);
      expect(Buffer.compare(result.packet, packet(bytes))).toBe(0);
    }
    for (const bytes of [0, 13, 65_601]) expect(() => length.run(packet(bytes))).toThrow(`packet of ${bytes} bytes`);
  });

  test('the packet is as it left, with its metadata', async () => {
    const before = await verdict(WHAT.head, -20, { engine });
    const longer = before.run(packet(60));
    expect(longer.packet.length).toBe(80);
    expect(Buffer.compare(longer.packet.subarray(20), packet(60))).toBe(0);
    const shorter = (await verdict(WHAT.head, 14, { engine })).run(packet(60));
    expect(Buffer.compare(shorter.packet, packet(60).subarray(14))).toBe(0);
    const cut = (await verdict(WHAT.tail, -10, { engine })).run(packet(60));
    expect([cut.action, cut.packet.length]).toEqual(['TX', 50]);
    // A page, less what the kernel keeps before and behind: 4096 - 256 - 320.
    const fits = (await verdict(WHAT.tail, 3520 - 60, { engine })).run(packet(60));
    expect([fits.action, fits.packet.length]).toEqual(['TX', 3520]);
    expect((await verdict(WHAT.tail, 3520 - 59, { engine })).run(packet(60)).action).toBe('DROP');
    expect((await verdict(WHAT.head, -257, { engine })).run(packet(60)).action).toBe('DROP');
    const given = packet(60);
    (await verdict(WHAT.write, 99, { engine })).run(given);
    expect(given[0]).toBe(0);
    const source = `
      mov %r6, %r1
      mov %r2, -4
      call xdp_adjust_meta
      jne %r0, 0, out
      ldxw %r1, [%r6+8]
      ldxw %r2, [%r6+0]
      mov %r3, %r1
      add %r3, 4
      jgt %r3, %r2, out
      stw [%r1+0], 0x04030201
      mov %r0, 2
      exit
    out:
      mov %r0, 0
      exit`;
    const meta = (await text(source, { engine })).run(packet(60));
    expect([...meta.meta]).toEqual([1, 2, 3, 4]);
    expect(meta.packet.length).toBe(60);
  });

  test('where a packet is redirected to is said with the map and its key', async () => {
    const run = async (what: number, argument: number): Promise<RunResult> => {
      const program = await verdict(what, argument, { engine });
      program.maps.devices?.set(3, { ifindex: 8, program: 0 });
      program.maps.devices_hash?.set(500, 9);
      program.maps.cpus?.set(1, { qsize: 192, program: program.programNumber('at_cpu') });
      program.maps.sockets?.set(0, 4);
      return program.run(UDP);
    };
    expect((await run(WHAT.toIndex, 6)).redirect).toEqual({ to: 'interface', target: 6 });
    expect((await run(WHAT.toDevice, 3)).redirect).toEqual({ to: 'interface', target: 8, map: 'devices', key: 3 });
    expect((await run(WHAT.toDeviceHash, 500)).redirect).toEqual({
      to: 'interface',
      target: 9,
      map: 'devices_hash',
      key: 500,
    });
    expect((await run(WHAT.toCpu, 1)).redirect).toEqual({ to: 'cpu', target: 1, map: 'cpus', key: 1 });
    expect((await run(WHAT.toSocket, 0)).redirect).toEqual({ to: 'socket', target: 4, map: 'sockets', key: 0 });
    // What the flags say when the entry is missing.
    const missing = [run(WHAT.toDevice, 4), run(WHAT.toDeviceHash, 4), run(WHAT.toCpu, 4), run(WHAT.toSocket, 4)];
    const results = await Promise.all(missing);
    expect(results.map(({ action }) => action)).toEqual(['PASS', 'DROP', 'PASS', 'TX']);
    for (const result of results) expect(result).not.toHaveProperty('redirect');
  });

  test('tail calls reach programs by what their map holds', async () => {
    const program = await verdict(WHAT.call, 2, { engine });
    expect(program.run(UDP).action).toBe('PASS');
    program.maps.calls?.set(2, program.programFor('several', program.maps.calls));
    // It calls itself until there are no more calls.
    expect(program.run(UDP).action).toBe('PASS');
    expect(program.maps.done?.get(WHAT.call)).toEqual([1n + 34n]);
    const parser = await loadXdp(example('parser'), { prog: 'xdp_parser', engine });
    expect(parser.run(UDP).action).toBe('PASS');
    expect(parser.maps.seen?.get(3)).toEqual([1n]);
  });

  test('records of rings and lines that it says come with the packet that they are of', async () => {
    const divert = await loadXdp(fixture('maps'), { prog: 'divert', engine, nowNs: 77 });
    const [first, second] = [divert.run(UDP, { rxQueue: 5 }), divert.run(UDP, { rxQueue: 6 })];
    expect(first.events.map(({ map }) => map)).toEqual(['events']);
    const view = (data: Uint8Array): bigint[] => [...new BigUint64Array(Uint8Array.from(data).buffer)];
    expect(view(first.events[0]?.data ?? new Uint8Array())).toEqual([5n, 77n]);
    expect(view(second.events[0]?.data ?? new Uint8Array())).toEqual([6n, 77n]);
    const say = await text(
      `mov %r1, 0x6425
       stxdw [%r10-8], %r1
       mov %r1, %r10
       add %r1, -8
       mov %r2, 3
       mov %r3, 42
       call trace_printk
       mov %r0, 2
       exit`,
      { engine },
    );
    expect(say.runBatch([UDP, UDP]).map(({ log }) => log)).toEqual([['42'], ['42']]);
  });

  test('what breaks a rule is ended with the reason and the place', async () => {
    const wild = await text('mov %r1, 4096\nldxdw %r0, [%r1+0]\nexit', { engine });
    expect(wild.run(UDP)).toMatchObject({
      action: 'ABORTED',
      returned: 0,
      fault: {
        reason: 'reaches memory that is not in its packet, stack or maps',
        place: 'main, instruction 1',
        address: 4096n,
      },
    });
    const endless = await text('again: mov %r0, 2\nja again\nexit', { engine, fuel: 1000 });
    expect(endless.run(UDP).fault).toMatchObject({ reason: 'runs too long' });
    // The next packet begins anew.
    const odd = await text(
      'ldxw %r2, [%r1+0]\nldxb %r3, [%r2+0]\njeq %r3, 0, +2\nldxb %r0, [%r2+5000]\nexit\nmov %r0, 2\nexit',
      { engine },
    );
    expect(odd.run(packet(60).fill(1))).toMatchObject({ action: 'ABORTED', fault: { place: 'main, instruction 3' } });
    const next = odd.run(packet(60));
    expect(next.action).toBe('PASS');
    expect(next).not.toHaveProperty('fault');
    // Not an error of the program: it may return what it likes.
    expect(await (await text('mov %r0, 77\nexit', { engine })).run(UDP)).toMatchObject({
      action: 'ABORTED',
      returned: 77,
    });
  });

  test('a trusted program does the same', async () => {
    const trusted = await loadXdp(example('drop-list'), { engine, trusted: true });
    trusted.maps.denied?.set({ prefixlen: 8, addr: Uint8Array.of(10, 0, 0, 0) }, 0n);
    expect(trusted.run(UDP).action).toBe('DROP');
  });
});

test('both engines do the same with the same packets', async () => {
  const choices = [...Object.values(WHAT)].map((what, index) => ({ what, argument: [3, -8, 40, 1][index % 4] ?? 0 }));
  const run = async (engine: 'jit' | 'interpreter'): Promise<unknown> => {
    const program = await loadXdp(fixture('verdicts'), { prog: 'several', engine, seed: 99 });
    for (let key = 0; key < 16; key++) program.maps.choices?.set(key, choices[key % choices.length]);
    program.maps.devices?.set(3, 2);
    program.maps.cpus?.set(1, 192);
    const packets = Array.from({ length: 500 }, (_, index) => packet(14 + index * 3));
    const results = program.runBatch(packets).map(({ maps, ...result }) => result);
    return { results, done: [...(program.maps.done ?? [])] };
  };
  expect(await run('jit')).toEqual(await run('interpreter'));
});

test('an object that cannot run says so with its place, when it is wanted', async () => {
  writeFileSync(folder.path('bad.o'), writeObject('main', 'mov %r0, %r1\ncall 26\nexit'));
  await expect(loadXdp(folder.path('bad.o'))).rejects.toThrow(
    /main, instruction 1.*skb_load_bytes|skb_load_bytes.*instruction 1/s,
  );
  // Programs of other sections are no reason to refuse those of section xdp.
  const plain = await loadXdp(fixture('sections'), { prog: 'plain' });
  expect(plain.run(UDP).action).toBe('PASS');
  expect((await loadXdp(fixture('sections'), { prog: 'devmap' })).run(UDP).action).toBe('DROP');
  await expect(loadXdp(fixture('sections'), { prog: 'classify' })).rejects.toThrow(/classify/);
});

test('the interpreter calls onStep before each instruction; compiled code has none to call it for', async () => {
  const seen: [number, bigint][] = [];
  const onStep: NonNullable<XdpOptions['onStep']> = ({ pc, registers }) => seen.push([pc, registers[0] ?? 0n]);
  const program = await text('mov %r0, 1\nadd %r0, 1\nexit', { engine: 'interpreter', onStep });
  expect(program.run(packet(60)).action).toBe('PASS');
  expect(seen).toEqual([
    [0, 0n],
    [1, 1n],
    [2, 2n],
  ]);
  expect(program.programs.map(({ name }) => name)).toEqual(['main']);
  await expect(text('mov %r0, 1\nexit', { onStep })).rejects.toThrow(/engine jit has no steps .*; use the interpreter/);
});
