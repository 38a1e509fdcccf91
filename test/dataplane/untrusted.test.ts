import { expect, test } from 'vitest';
import { parseConfig } from '#build/config/index.js';
import { createMachine } from '#build/dataplane/machine.js';
import { Pipeline } from '#build/dataplane/pipeline.js';
import { planDataplane } from '#build/dataplane/plan.js';
import { PortTable } from '#build/dataplane/port-table.js';
import { applySwitchConfig } from '#build/dataplane/rules.js';
import { readPortCounters } from '#build/telemetry/counters.js';

const STUCK = '02:00:00:00:00:01';
const OTHER = '02:00:00:00:00:02';
const LIMIT = 5000;

test('a guest that takes nothing does not hold up for long what goes elsewhere', async () => {
  const load = { type: 'generator', flows: 1, learn: false, limit: LIMIT };
  const source = {
    version: 1,
    ports: {
      // Its thread is never started, so that it never gives a buffer.
      vm: { type: 'guest', mac: STUCK, app: 'sink' },
      flood: { ...load, dstMac: STUCK },
      good: { ...load, dstMac: OTHER },
      sink: { type: 'null' },
    },
    switch: {
      static: [
        { mac: STUCK, port: 'vm' },
        { mac: OTHER, port: 'sink' },
      ],
    },
  };
  const config = parseConfig(JSON.stringify(source), { file: 't.yaml' });
  const machine = createMachine(config, planDataplane(config), { debug: true });
  const ports = new PortTable(machine, config);
  for (const port of config.ports) machine.switch.addPort(ports.add(port).wire.index, port);
  applySwitchConfig(machine, config, ports);
  const pipeline = new Pipeline({
    arena: machine.arena,
    index: 0,
    address: machine.lcores[0] ?? 0,
    data: machine.pipelines[0],
    notify() {},
  });
  for (const { wire } of ports.all()) await pipeline.handle({ kind: 'add', port: wire });
  await pipeline.handle({ kind: 'resume' });
  for (let i = 0; i < 5000; i++) pipeline.poll();

  const of = (name: string) => readPortCounters(machine.arena, machine.counters, ports.get(name).wire.index);
  expect(of('sink').txPackets).toBe(LIMIT);
  expect(of('flood').rxPackets).toBe(LIMIT);
  const vm = of('vm');
  expect([vm.txPackets, vm.drops['tx-full']]).toEqual([0, LIMIT - 128]);
  pipeline.stop();
  for (const { config: port } of ports.all()) ports.release(port.name);
  expect(machine.pool.audit().inFlight).toBe(0);
});
