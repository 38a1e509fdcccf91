import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatBitRate,
  formatCount,
  formatDrops,
  formatPacketRate,
  formatPercent,
  formatSeconds,
} from '#build/cli/format.js';
import { progressOf, renderLive } from '#build/cli/live.js';
import { renderEntries, renderMaps } from '#build/cli/map.js';
import { renderRules } from '#build/cli/steer.js';
import { renderSummary, summarise } from '#build/cli/summary.js';
import { clip, renderBar, renderTable, widthOf } from '#build/cli/table.js';
import { Screen, styleOf } from '#build/cli/terminal.js';
import { renderAttachments, renderRun } from '#build/cli/xdp.js';
import type { Snapshot, XdpSnapshot } from '#build/telemetry/snapshot.js';
import { testAsync, testEventdev, testSnapshot, testXdp } from '../support/target.ts';

const plain = styleOf(false);

test('numbers are short and have their unit', () => {
  expect([0, 0.5, 9.97, 999, 999.6, 1000, 12_345, 1_234_567, 99.99e6].map(formatPacketRate)).toEqual([
    '0 pps',
    '0.5 pps',
    '10 pps',
    '999 pps',
    '1.00 kpps',
    '1.00 kpps',
    '12.3 kpps',
    '1.23 Mpps',
    '100 Mpps',
  ]);
  expect(formatBitRate(1.25e9)).toBe('10.0 Gbit/s');
  expect([formatCount(1234567), formatCount(0), formatCount(Number.NaN)]).toEqual(['1,234,567', '0', '-']);
  expect([0, 0.004, 0.42, 1].map(formatPercent)).toEqual(['0 %', '0.4 %', '42 %', '100 %']);
  expect([0.25, 12.34, 59.96, 185, 3723, Number.NaN].map(formatSeconds)).toEqual([
    '0.25 s',
    '12.3 s',
    '60.0 s',
    '3:05',
    '1:02:03',
    '-',
  ]);
  expect(formatDrops({ a: 0, b: 3, c: 1200 })).toBe('c 1,200, b 3');
});

test('a table is never wider than the terminal, and loses its least columns first', () => {
  const columns = [
    { title: 'A', align: 'left', rank: 0 },
    { title: 'B', align: 'right', rank: 1 },
    { title: 'C', align: 'right', rank: 2 },
    { title: 'NEVER', align: 'left', rank: 3 },
  ] as const;
  const rows = [
    ['aaaa', '1', '22', ''],
    ['b', '333', '4', ''],
  ];
  expect(renderTable(columns, rows, 80, plain)).toEqual(['A       B   C', 'aaaa    1  22', 'b     333   4']);
  expect(renderTable(columns, rows, 12, plain)).toEqual(['A      C', 'aaaa  22', 'b      4']);
  expect(renderTable(columns, rows, 3, plain)).toEqual(['A', 'aa…', 'b']);
});

test('bars are as wide as asked', () => {
  expect([0, 0.5, 1, 7, -1].map((part) => renderBar(part, 4))).toEqual(['░░░░', '██░░', '████', '████', '░░░░']);
  expect(renderBar(1 / 32, 4)).toBe('▏░░░');
  expect(clip('äöü€', 3)).toBe('äö…');
});

test('the live table shows rates between two snapshots, and fits any width', () => {
  const view = { before: testSnapshot(1), now: testSnapshot(3), columns: 100, style: plain };
  const text = renderLive(view).join('\n');
  expect(text).toMatch(/in +capture +1\.00 kpps +512 kbit\/s +0 pps +0 bit\/s +0 +1\.2 % +30 %/);
  expect(text).toMatch(/out +capture +0 pps +0 bit\/s +990 pps +507 kbit\/s +30/);
  expect(text).toMatch(/0 +1 +████████▍░+ +42 %/);
  expect(text).toContain('drops   tx-full 30');
  expect(text).toMatch(/30 % {2}7\.00 s left/);
  fc.assert(
    fc.property(fc.integer({ min: 10, max: 200 }), fc.boolean(), (columns, hasColor) => {
      for (const line of renderLive({ ...view, columns, style: styleOf(hasColor) })) {
        expect(widthOf(line)).toBeLessThanOrEqual(columns);
      }
    }),
  );
});

test('the live table has a line for each queue that engines copy for, each engine, and deferred work', () => {
  const at = (tick: number) => ({ ...testSnapshot(tick), async: testAsync(tick) });
  const text = renderLive({ before: at(1), now: at(3), columns: 160, style: plain }).join('\n');
  expect(text).toMatch(/\nin 0 send +0 +0 +1\.00 kpps +0 pps +3\n/);
  expect(text).toMatch(/\nin 0 receive +0 +none +1\.00 kpps +0 pps +3 +4 +5 +6\n/);
  expect(text).toContain('async   defer, assigned by vring, from 128 bytes on');
  expect(text).toContain('engine  0: 9 copies, shared, 12 waits\n');
  expect(text).toContain('engine  1: 9 copies, 2 by the CPU in its place, fault: it hangs\n');
  expect(text).toContain('work    lcore 0: 50 deferred, 40 done, 7 in progress, 0 full\n');
  expect(text).not.toContain('lcore 1:');
});

test('the live table has a line for each event port, and the flows that moved last', () => {
  const at = (tick: number) => ({ ...testSnapshot(tick), eventdev: testEventdev(tick) });
  const lines = renderLive({ before: at(1), now: at(3), columns: 160, style: plain });
  const text = lines.join('\n');
  expect(text).toMatch(/EVENT PORT +SERVES +LOAD +IN +OUT +FLOWS +MOVED IN +MOVED OUT +MOVE TAKES +STATE/);
  expect(text).toMatch(/\n0 +ports +░+ +0 % +1\.00 kpps +1\.00 kpps\n/);
  expect(text).toMatch(
    /\n1 +stages +█+░+ +50 % +1\.00 kpps +1\.00 kpps +5,000 3,192 +30 10\/s +30 10\/s +2\.50 ms +pausing 3 flows for 0\.80 s, waits for 2\n/,
  );
  expect(text).toMatch(/\n2 .* 3,192 5,000 .* unattended for 2\.50 s\n/);
  expect(text).toContain('stages  count.mjs → switch, 25 % of 4,096 credits on loan');
  const moved = lines.filter((line) => line.includes('ago'));
  expect(moved).toEqual([
    expect.stringMatching(/^ *0\.25 s ago {2}count\.mjs {2}1 → 2 {2}b a$/),
    expect.stringMatching(/^ *1\.25 s ago {2}count\.mjs {2}2 → 1 {2}1234$/),
  ]);
  for (const columns of [20, 60, 100]) {
    for (const line of renderLive({ now: at(3), columns, style: plain })) {
      expect(widthOf(line)).toBeLessThanOrEqual(columns);
    }
  }
});

/** A snapshot whose first port runs an XDP program. */
function withXdp(tick: number, xdp: Partial<XdpSnapshot> = {}): Snapshot {
  const snapshot = testSnapshot(tick);
  const ports = snapshot.ports.map((port, index) =>
    index === 0 ? { ...port, xdp: { ...testXdp(tick), ...xdp } } : port,
  );
  return { ...snapshot, ports };
}

test('the live table has a line for each port with an XDP program, with rates by verdict', () => {
  const view = { before: withXdp(1), now: withXdp(3), columns: 160, style: plain };
  const text = renderLive(view).join('\n');
  expect(text).toMatch(/\nXDP +PROGRAM +PASS +DROP +TX +REDIRECT +ABORTED\n/);
  expect(text).toMatch(/\nin +filter\/main +500 pps +400 pps +30 pps +60 pps +10 pps\n\n/);
  expect(renderLive({ ...view, before: testSnapshot(1), now: testSnapshot(3) }).join('\n')).not.toContain('XDP');
  for (const columns of [10, 20, 40, 80]) {
    for (const hasColor of [false, true]) {
      for (const line of renderLive({ ...view, columns, style: styleOf(hasColor) })) {
        expect(widthOf(line)).toBeLessThanOrEqual(columns);
      }
    }
  }
  // Packets that are aborted now are red; those of the past are not.
  const red = (now: Snapshot): boolean =>
    renderLive({ ...view, now, style: styleOf(true) })
      .join('\n')
      .includes('\u001b[31m10 pps');
  expect(red(withXdp(3))).toBe(true);
  expect(red(withXdp(3, { aborted: 10 }))).toBe(false);
});

test('maps and their entries are listed', () => {
  const map = { name: 'filter/denied', kind: 'LPM_TRIE', keyBytes: 8, valueBytes: 16, maxEntries: 1024 };
  expect(renderMaps([map, { ...map, name: 'shared' }], 80, false)).toEqual([
    'MAP            KIND      KEY  VALUE  ENTRIES',
    'filter/denied  LPM_TRIE    8     16     1024',
    'shared         LPM_TRIE    8     16     1024',
  ]);
  expect(renderMaps([map], 14, false)).toEqual(['MAP', 'filter/denied']);
  expect(renderMaps([], 80, false)).toEqual(['no maps']);
  expect(
    renderEntries([
      { key: 1, value: [2, '18446744073709551615'] },
      { key: 'de ad', value: { a: 1, b: 'ff' } },
      { key: null, value: true },
    ]),
  ).toEqual(['1: [2,"18446744073709551615"]', 'de ad: {"a":1,"b":"ff"}', 'null: true']);
});

test('ports with programs are listed', () => {
  const one = { port: 'in', object: 'filter', program: 'main', attach: 'ringway', checked: true } as const;
  expect(renderAttachments([one, { ...one, port: 'uplink', attach: 'kernel', checked: false }], 80, false)).toEqual([
    'PORT    OBJECT  PROGRAM  ATTACH   CHECKED',
    'in      filter  main     ringway  yes',
    'uplink  filter  main     kernel   no',
  ]);
  expect(renderAttachments([], 80, false)).toEqual(['no port runs an XDP program']);
});

test('what a program did on a capture is said in lines', () => {
  const actions = { ABORTED: 2, DROP: 1200, PASS: 0, TX: 1, REDIRECT: 0 };
  const run = {
    packets: 1203,
    skipped: 0,
    actions,
    faults: new Map([['runs too long, at main', 2]]),
    log: ['hello'],
    events: new Map([['ring', 1]]),
  };
  const entries = Array.from({ length: 34 }, (_, key) => ({ key, value: 'ff' }));
  const lines = renderRun(run, { big: entries });
  expect(lines.slice(0, 9)).toEqual([
    '1,203 packets',
    '  ABORTED  2',
    '  DROP     1,200',
    '  TX       1',
    '  2 aborted: runs too long, at main',
    '  1 record in ring',
    '  said: hello',
    'map big',
    '  0: "ff"',
  ]);
  expect(lines).toHaveLength(41);
  expect(lines.at(-1)).toBe('  and 2 more');
});

test('progress is of all finite inputs, and there is none when one is endless', () => {
  const snapshot = testSnapshot(5);
  const [input, output] = snapshot.ports;
  expect(progressOf(snapshot)).toBe(0.5);
  expect(progressOf({ ...snapshot, ports: output === undefined ? [] : [output] })).toBeUndefined();
  const generator = { ...output, name: 'g', type: 'generator' } as (typeof snapshot.ports)[number];
  expect(progressOf({ ...snapshot, ports: [...(input === undefined ? [] : [input]), generator] })).toBeUndefined();
});

test('the summary ends with the equation of packets', () => {
  const summary = summarise(testSnapshot(2));
  expect(summary).toMatchObject({ seconds: 2, received: 2000, sent: 1980, dropped: 20, missing: 0 });
  const lines = renderSummary(summary, 120, plain);
  expect(lines).toContain('received 2,000 = sent 1,980 + dropped 20');
  expect(lines.join('\n')).toMatch(/out +capture +0 +0 pps +0 bit\/s +1,980 +990 pps +507 kbit\/s +tx-full 20/);
  const { totals } = testSnapshot(2);
  const lost = summarise({ ...testSnapshot(2), totals: { ...totals, dropped: 0 } });
  expect(renderSummary(lost, 120, plain)).toContain('received 2,000 ≠ sent 1,980 + dropped 0: 20 not accounted for');
  const copied = { ...testSnapshot(2), totals: { ...totals, copied: 5 } };
  expect(renderSummary(summarise(copied), 120, plain).join('\n')).toContain('received 2,000 + copied 5 ≠');
});

test('a rule is listed as it can be added again', () => {
  const rules = [
    {
      id: 1,
      hits: 1234,
      rule: { match: { 'src-ip': '::1/128', vlan: 3, u32: [{ value: 1, mask: 1, at: 0 }] }, action: { drop: true } },
    },
  ];
  expect(renderRules(rules, 200, false)).toEqual([
    'ID   HITS  RULE',
    ' 1  1,234  { match: { src-ip: "::1/128", vlan: 3, u32: [{ value: 1, mask: 1, at: 0 }] }, action: { drop: true } }',
  ]);
  expect(renderRules([], 80, false)).toEqual(['no rules']);
});

test('a screen is redrawn in place and no higher than the terminal', () => {
  let written = '';
  const screen = new Screen({
    isTty: true,
    hasColor: false,
    size: () => ({ columns: 80, rows: 3 }),
    write: (text) => {
      written += text;
    },
    note: () => {},
  });
  screen.draw(['a', 'b', 'c']);
  screen.draw(['d']);
  screen.clear();
  screen.clear();
  expect(written).toBe('\u001b[?25la\nb\n\u001b[2A\r\u001b[Jd\n\u001b[1A\r\u001b[J\u001b[?25h');
});
