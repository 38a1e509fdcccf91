import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RingwayError } from 'ringway/memory';
import { expect, test } from 'vitest';
import { runDataplane } from '#build/cli/run.js';
import type { Terminal } from '#build/cli/terminal.js';
import { parseConfig } from '#build/config/index.js';
import { ControlClient, listDataplanes } from '#build/control/index.js';
import type { RunningDataplane } from '#build/dataplane/running.js';
import type { Snapshot } from '#build/telemetry/snapshot.js';
import { FakeTarget, testSnapshot } from '../support/target.ts';

const config = parseConfig('version: 1\nname: edge\nports: {in: {type: null}}\nmetrics: {listen: 0}', {
  file: 't.yaml',
});
const never = new Promise<void>(() => {});

class FakeDataplane extends FakeTarget implements RunningDataplane {
  readonly finished: Promise<void>;
  end: () => void = () => {};
  break: (error: Error) => void = () => {};
  stops = 0;
  fault: string | undefined;

  constructor() {
    super();
    this.finished = new Promise((resolve, reject) => {
      this.end = resolve;
      this.break = reject;
    });
  }

  override requestStop(): void {
    this.end();
  }

  async stop(): Promise<Snapshot> {
    this.stops++;
    const last = { ...testSnapshot(10), state: 'stopped' as const };
    if (this.fault === undefined) return last;
    return { ...last, ports: last.ports.map((port) => ({ ...port, fault: this.fault ?? '' })) };
  }
}

function testTerminal(isTty = false): Terminal & { out: string; err: string } {
  return {
    out: '',
    err: '',
    isTty,
    hasColor: false,
    size: () => ({ columns: 100, rows: 40 }),
    write(text) {
      this.out += text;
    },
    note(text) {
      this.err += text;
    },
  };
}

function newDirectory(): string {
  return join(mkdtempSync(join(tmpdir(), 'ringway-')), 'control');
}

test('a run ends when its inputs are drained, and prints one summary', async () => {
  const dataplane = new FakeDataplane();
  const terminal = testTerminal();
  const directory = newDirectory();
  const run = runDataplane(async () => dataplane, config, { directory, interrupted: never }, terminal);
  await expect.poll(() => listDataplanes(directory)).toEqual(['edge']);
  await expect(
    runDataplane(async () => dataplane, config, { directory, interrupted: never }, testTerminal()),
  ).rejects.toMatchObject({ code: 'BUSY' });
  dataplane.end();
  expect(await run).toBe(0);
  expect(dataplane.stops).toBe(1);
  expect(terminal.out).toMatch(/^edge {2}10\.0 s\n/);
  expect(terminal.out).toContain('received 10,000 = sent 9,900 + dropped 100\n');
  expect(terminal.err).toBe('');
});

test('a run ends by duration, by interruption and by the control socket', async () => {
  const options = { directory: newDirectory(), interrupted: never };
  expect(
    await runDataplane(async () => new FakeDataplane(), config, { ...options, duration: 0.05 }, testTerminal()),
  ).toBe(0);
  expect(
    await runDataplane(
      async () => new FakeDataplane(),
      config,
      { ...options, interrupted: Promise.resolve() },
      testTerminal(),
    ),
  ).toBe(0);
  const run = runDataplane(async () => new FakeDataplane(), config, options, testTerminal());
  await expect.poll(() => listDataplanes(options.directory)).toEqual(['edge']);
  const client = await ControlClient.connect(options);
  await client.request('stop');
  expect(await run).toBe(0);
  client.close();
});

test('with --json there is a line a second and a summary', async () => {
  const terminal = testTerminal();
  const options = { directory: newDirectory(), interrupted: never, json: true, duration: 1.2 };
  await runDataplane(async () => new FakeDataplane(), config, options, terminal);
  const lines = terminal.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { event: 'snapshot', snapshot: { version: 1 } },
    { event: 'summary', summary: { received: 10000, missing: 0 } },
  ]);
});

test('on a terminal a table is drawn in place and removed at the end', async () => {
  const terminal = testTerminal(true);
  await runDataplane(
    async () => new FakeDataplane(),
    config,
    { directory: newDirectory(), interrupted: never, duration: 0.7 },
    terminal,
  );
  expect(terminal.out).toContain('\u001b[?25l');
  expect(terminal.out).toContain('s left');
  expect(terminal.out).toContain('\u001b[?25hedge  10.0 s\n');
});

test('a port with a fault makes the run exit with 1', async () => {
  const dataplane = new FakeDataplane();
  dataplane.fault = 'in.pcap: cut in packet 3';
  const terminal = testTerminal();
  const options = { directory: newDirectory(), interrupted: Promise.resolve() };
  expect(await runDataplane(async () => dataplane, config, options, terminal)).toBe(1);
  expect(terminal.err).toContain('ringway: port in: in.pcap: cut in packet 3\n');
});

test('a dataplane that breaks is stopped, and the run rejects with why', async () => {
  const dataplane = new FakeDataplane();
  const terminal = testTerminal();
  dataplane.break(new RingwayError('LCORE_DIED', 'lcore 1 died'));
  const run = runDataplane(async () => dataplane, config, { directory: newDirectory(), interrupted: never }, terminal);
  await expect(run).rejects.toMatchObject({ code: 'LCORE_DIED' });
  expect(dataplane.stops).toBe(1);
  expect(terminal.out).toContain('received');
});
