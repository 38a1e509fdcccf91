import { expect, test } from 'vitest';
import { prometheusText } from '#build/telemetry/prometheus.js';
import { testAsync, testEventdev, testSnapshot, testXdp } from '../support/target.ts';

test('every sample belongs to a family with HELP and TYPE, and counters end in _total', () => {
  const snapshot = testSnapshot();
  const ports = snapshot.ports.map((port, index) => (index === 0 ? { ...port, xdp: testXdp() } : port));
  const lines = prometheusText({ ...snapshot, ports, eventdev: testEventdev(), async: testAsync() }).split('\n');
  expect(lines.at(-1)).toBe('');
  const types = new Map<string, string>();
  for (const line of lines.slice(0, -1)) {
    const comment = /^# (HELP|TYPE) (ringway_[a-z_]+) (.+)$/.exec(line);
    if (comment !== null) {
      if (comment[1] === 'TYPE') types.set(comment[2] ?? '', comment[3] ?? '');
      continue;
    }
    const sample = /^(ringway_[a-z_]+)\{dataplane="edge"(,[a-z]+="[^"\n]*")*\} \S+$/.exec(line);
    expect(sample, line).not.toBeNull();
    const name = sample?.[1] ?? '';
    expect(types.get(name), name).toBe(name.endsWith('_total') ? 'counter' : 'gauge');
  }
  expect(lines).toContain('ringway_port_rx_packets_total{dataplane="edge",port="in"} 1000');
  expect(lines).toContain('ringway_port_drops_total{dataplane="edge",port="out",reason="tx-full"} 10');
  expect(lines).toContain('ringway_lcore_load_ratio{dataplane="edge",lcore="0"} 0.42');
  expect(lines).toContain('ringway_eventdev_flows{dataplane="edge",lcore="1",queue="0",stage="count.mjs"} 5000');
  expect(lines).toContain('ringway_eventdev_dequeued_total{dataplane="edge",lcore="0",queue="2",stage="tx 0"} 1000');
  expect(lines).toContain('ringway_eventdev_unattended{dataplane="edge",lcore="2"} 1');
  expect(lines.filter((line) => line.startsWith('ringway_port_xdp_packets_total{'))).toEqual(
    ['pass"} 500', 'drop"} 400', 'tx"} 30', 'redirect"} 60', 'aborted"} 10'].map(
      (sample) => `ringway_port_xdp_packets_total{dataplane="edge",port="in",action="${sample}`,
    ),
  );
  expect(lines).toContain('ringway_async_engine_up{dataplane="edge",engine="1"} 0');
  expect(lines).toContain('ringway_async_work_deferred_total{dataplane="edge",lcore="0"} 50');
  const queue = 'dataplane="edge",port="in",pair="0",direction=';
  expect(lines).toContain(`ringway_async_ring_offloaded_total{${queue}"send"} 1000`);
  expect(lines).toContain(`ringway_async_ring_dropped_total{${queue}"receive"} 6`);
  // Neither what a port does not serve, nor queues that have one owner.
  expect(lines.filter((line) => line.startsWith('ringway_eventdev_flows{'))).toHaveLength(4);
  expect(new Set(types.keys()).size).toBe(lines.filter((line) => line.startsWith('# TYPE')).length);
});

test('labels are escaped and odd numbers are printed as the format has them', () => {
  const snapshot = { ...testSnapshot(1, 'a"b\\c\nd'), uptimeSeconds: Number.POSITIVE_INFINITY };
  expect(prometheusText(snapshot)).toContain('ringway_uptime_seconds{dataplane="a\\"b\\\\c\\nd"} +Inf\n');
});
