import { buildFrame, CaptureWriter, readCapture } from 'ringway/packet';
import { loadXdp, runCapture, type XdpOptions, type XdpProgram } from 'ringway/xdp';
import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { writeObject } from './support/object.ts';

const folder = testFolder();
afterAll(folder.rm);
const text = (source: string, options: XdpOptions = {}): Promise<XdpProgram> =>
  loadXdp(writeObject('main', source), options);
const example = (name: string): string => new URL(`../../examples/xdp/${name}.o`, import.meta.url).pathname;

/** A capture of frames of these lengths, one a second, whose first byte is their number. */
function capture(name: string, lengths: readonly number[], linkType = 1): string {
  const writer = new CaptureWriter(folder.path(name), { linkTypes: [linkType] });
  for (const [index, length] of lengths.entries()) {
    writer.write(new Uint8Array(length).fill(index + 1, 0, 1), { seconds: 100 + index, nanoseconds: index });
  }
  writer.close();
  return folder.path(name);
}

const BOUNDS = 'ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 2\njgt %r4, %r3, out\n';

test('each frame runs at its time, and verdicts, faults, records and lines are counted', async () => {
  const path = capture('each.pcap', [14, 60, 13, 1500, 60]);
  // The verdict is the second, modulo 5: 100 is ABORTED, 104 REDIRECT.
  const clock = await text('call ktime_get_ns\ndiv %r0, 1000000000\nmod %r0, 5\nexit');
  const run = runCapture(clock, path);
  expect(run).toEqual({
    packets: 4,
    skipped: 1,
    actions: { ABORTED: 1, DROP: 1, PASS: 0, TX: 1, REDIRECT: 1 },
    faults: new Map(),
    log: [],
    events: new Map(),
  });
  const wild = await text(`${BOUNDS}ldxb %r5, [%r2+0]\njgt %r5, 2, out\nldxb %r0, [%r2+9000]\nout: exit`);
  expect([...runCapture(wild, path).faults]).toEqual([
    ['reaches memory that is not in its packet, stack or maps, at main, instruction 8', 2],
  ]);
  const divert = await loadXdp(new URL('../bpf/object/fixtures/maps.o', import.meta.url).pathname, { prog: 'divert' });
  expect([...runCapture(divert, path).events]).toEqual([['events', 4]]);
  const say = await text(
    'mov %r1, 0x61\nstxdw [%r10-8], %r1\nmov %r1, %r10\nadd %r1, -8\nmov %r2, 2\ncall trace_printk\nmov %r0, 2\nexit',
  );
  expect(runCapture(say, capture('many.pcap', Array(1500).fill(14))).log).toEqual(Array(1000).fill('a'));
});

test('what goes on is written as it left, with its time, in the format of the name', async () => {
  const path = capture('in.pcap', [60, 60, 60]);
  // Drops the second one, and writes 9 to the others.
  const program = await text(
    `${BOUNDS}ldxb %r5, [%r2+0]\nmov %r0, 1\njeq %r5, 2, out\nstb [%r2+1], 9\nmov %r0, 3\nout: exit`,
  );
  for (const name of ['out.pcap', 'out.pcapng']) {
    const output = folder.path(name);
    expect(runCapture(program, path, { output }).actions).toMatchObject({ TX: 2, DROP: 1 });
    const frames = Array.from(readCapture(output), ({ frame, seconds, nanoseconds }) => [
      frame[0],
      frame[1],
      seconds,
      nanoseconds,
    ]);
    expect(frames).toEqual([
      [1, 9, 100, 0],
      [3, 9, 102, 2],
    ]);
  }
});

test('frames of other networks are left out, and a capture that breaks says so', async () => {
  const pass = await text('mov %r0, 2\nexit');
  // LINKTYPE_RAW: IP without Ethernet.
  expect(runCapture(pass, capture('raw.pcap', [60, 60], 101))).toMatchObject({ packets: 0, skipped: 2 });
  expect(() => runCapture(pass, folder.path('none.pcap'))).toThrow(expect.objectContaining({ code: 'SYSTEM' }));
  expect(() => runCapture(pass, Uint8Array.of(1, 2, 3, 4, 5))).toThrow(
    expect.objectContaining({ code: 'BAD_CAPTURE' }),
  );
  expect(() => runCapture(pass, capture('fine.pcap', [60]), { output: '/nowhere/at/all/x.pcap' })).toThrow();
  expect(folder.open()).toEqual([]);
});

test('where packets come from is what the caller says', async () => {
  const queue = await text('ldxw %r0, [%r1+16]\nexit');
  expect(runCapture(queue, capture('queue.pcap', [60]), { context: { rxQueue: 3 } }).actions.TX).toBe(1);
});

test('maps fill over a capture as over packets', async () => {
  const writer = new CaptureWriter(folder.path('udp.pcap'));
  for (let host = 0; host < 20; host++) {
    const frame = buildFrame({
      ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
      ipv4: { source: `10.0.${host % 2}.1`, destination: '10.9.9.9' },
      udp: { sourcePort: 1, destinationPort: 2 },
      payload: new Uint8Array(20),
    });
    writer.write(frame, { seconds: host, nanoseconds: 0 });
  }
  writer.close();
  const program = await loadXdp(example('drop-list'));
  program.maps.denied?.set({ prefixlen: 24, addr: Uint8Array.of(10, 0, 1, 0) }, 0n);
  expect(runCapture(program, folder.path('udp.pcap')).actions).toMatchObject({ PASS: 10, DROP: 10 });
  expect(program.maps.packets?.get(1)).toEqual([10n]);
});
