import fc from 'fast-check';
import { buildFrame, CaptureWriter } from 'ringway/packet';
import { diffCapture, loadXdp, type MapDifference, type XdpOptions, type XdpProgram } from 'ringway/xdp';
import { afterAll, expect, test } from 'vitest';
import { testFolder } from '../support/port-bench.ts';
import { writeObject } from './support/object.ts';

const folder = testFolder();
afterAll(folder.rm);
const text = (source: string): Promise<XdpProgram> => loadXdp(writeObject('main', source));
const example = (name: string, options: XdpOptions = {}): Promise<XdpProgram> =>
  loadXdp(new URL(`../../examples/xdp/${name}.o`, import.meta.url).pathname, options);

function write(name: string, frames: readonly Uint8Array[]): string {
  const writer = new CaptureWriter(folder.path(name));
  for (const [index, frame] of frames.entries()) writer.write(frame, { seconds: 100 + index, nanoseconds: index });
  writer.close();
  return folder.path(name);
}

const udp = (source: string): Uint8Array =>
  buildFrame({
    ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
    ipv4: { source, destination: '192.0.2.1' },
    udp: { sourcePort: 1, destinationPort: 2 },
  });

const BOUNDS = 'ldxw %r2, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\nmov %r0, 2\njgt %r4, %r3, out\n';

test('frames with which two programs differ have the number that Wireshark gives them', async () => {
  const frames = [60, 10, 60, 60, 60].map((length, index) => new Uint8Array(length).fill(index + 1, 0, 1));
  const path = write('numbers.pcap', frames);
  const pass = await text('mov %r0, 2\nexit');
  const other = await text(
    `${BOUNDS}ldxb %r5, [%r2+0]\njeq %r5, 3, drop\njne %r5, 5, out\nstb [%r2+1], 7\nja out\ndrop: mov %r0, 1\nout: exit`,
  );
  const found = [...diffCapture(pass, other, path)];
  expect(found.map(({ frame, a, b, maps }) => [frame, a.action, b.action, maps])).toEqual([
    [3, 'PASS', 'DROP', []],
    [5, 'PASS', 'PASS', []],
  ]);
  expect(found[1]?.packet[1]).toBe(0);
  expect([found[1]?.a.packet[1], found[1]?.b.packet[1]]).toEqual([0, 7]);
  expect([...diffCapture(pass, await text('mov %r0, 2\nexit'), path)]).toEqual([]);
});

test('a packet that is redirected elsewhere differs', async () => {
  const redirect = (to: number): Promise<XdpProgram> => text(`mov %r1, ${to}\nmov %r2, 0\ncall redirect\nexit`);
  const path = write('redirect.pcap', [udp('10.0.0.1')]);
  expect([...diffCapture(await redirect(2), await redirect(2), path)]).toEqual([]);
  expect([...diffCapture(await redirect(2), await redirect(3), path)]).toHaveLength(1);
});

test('entries of maps are said when they differ, and again only when they do so in another way', async () => {
  const [a, b] = [await example('drop-list'), await example('drop-list')];
  const deny = (program: XdpProgram, last: number): void =>
    void program.maps.denied?.set({ prefixlen: 32, addr: Uint8Array.of(10, 0, 0, last) }, 0n);
  for (const program of [a, b]) deny(program, 1);
  deny(b, 2);
  const path = write('entries.pcap', ['10.0.0.1', '10.0.0.2', '10.0.0.1', '10.0.0.2'].map(udp));
  const key = { prefixlen: 32, addr: '0a 00 00 02' };
  const found = [...diffCapture(a, b, path)].map(({ frame, maps }) => [
    frame,
    [...maps].sort((one, other) => (one.map < other.map ? -1 : 1)),
  ]);
  expect(found).toEqual([
    // What differed before the first frame.
    [1, [{ map: 'denied', key, a: undefined, b: 0 }]],
    [
      2,
      [
        { map: 'denied', key, a: undefined, b: 1 },
        { map: 'packets', key: 0, a: [1], b: [0] },
        { map: 'packets', key: 1, a: [1], b: [2] },
      ],
    ],
    // Both count the third, so by one each as before: in another way.
    [3, [{ map: 'packets', key: 1, a: [2], b: [3] }]],
    [
      4,
      [
        { map: 'denied', key, a: undefined, b: 2 },
        { map: 'packets', key: 0, a: [2], b: [0] },
        { map: 'packets', key: 1, a: [2], b: [4] },
      ],
    ],
  ]);
});

test('the entries that were said last are those that differ at the end', async () => {
  const source = fc.integer({ min: 1, max: 6 });
  const stations = fc.array(fc.tuple(source, fc.integer({ min: 0, max: 1 })), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(source, { minLength: 1, maxLength: 12 }),
      stations,
      stations,
      async (hosts, one, other) => {
        const programs = [await example('drop-list'), await example('drop-list')] as const;
        for (const [index, entries] of [one, other].entries()) {
          for (const [host, hits] of entries) {
            programs[index]?.maps.denied?.set({ prefixlen: 32, addr: Uint8Array.of(10, 0, 0, host) }, BigInt(hits));
          }
        }
        const last = new Map<string, MapDifference>();
        const path = write(
          'model.pcap',
          hosts.map((host) => udp(`10.0.0.${host}`)),
        );
        for (const { maps } of diffCapture(...programs, path)) {
          for (const each of maps) last.set(`${each.map} ${JSON.stringify(each.key)}`, each);
        }
        const [mine, theirs] = programs.map(
          ({ maps }) =>
            new Map([...(maps.denied ?? [])].map(([key, value]) => [(key as { addr: Uint8Array }).addr[3], value])),
        );
        for (let host = 1; host <= 6; host++) {
          const said = last.get(`denied {"prefixlen":32,"addr":"0a 00 00 0${host}"}`);
          const [a, b] = [mine?.get(host), theirs?.get(host)].map((value) =>
            value === undefined ? value : Number(value),
          );
          if (a !== b) expect(said).toMatchObject({ a, b });
        }
      },
    ),
    { numRuns: 15 },
  );
});
