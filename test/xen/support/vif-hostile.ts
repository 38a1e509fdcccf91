import type { NetfrontOptions } from 'ringway/xen';
import { Random } from '#build/util/random.js';
import { DATARING_OUT } from '#build/xen/data-ring-layout.js';
import { VIFQ_DATA } from '#build/xen/queue-layout.js';
import { frameOf, makeVif, type Served, settle } from './vif-rig.ts';

/** What bytes get across by, one after the other. */
export const PATHS: readonly NonNullable<NetfrontOptions['path']>[] = [
  { kind: 'copy' },
  { kind: 'staging', tx: 256, rx: 256 },
  { kind: 'persistent' },
  { kind: 'staging', tx: 4096, rx: 65_536 },
  { kind: 'control' },
  { kind: 'data-ring', order: 2 },
];

/**
 * Runs a device whose one end is attacked: somebody writes into the ring pages, the grant entries and the frontend's pages between any
 * two calls, and both ends go on. Returns what the ends were latched for. Whatever happens, both ends close, no buffer and no
 * grant is lost, and nothing beside the shared pages was written.
 */
export async function runVifHostile(mode: 'mapped' | 'plain', seed: number, steps: number): Promise<string[]> {
  const random = new Random(seed);
  const path = PATHS[seed % PATHS.length] ?? { kind: 'copy' };
  const rig = await makeVif({ mode, path });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  const { netback, netfront, arena, burst, make, free, receive, driver, guest } = rig;
  await netback.start();
  await netfront.start();
  await settle();
  const [back, front] = [netback.queues[0], netfront.queues[0]];
  if (back === undefined || front === undefined) throw new Error('not connected');
  const { u8, u16, u32 } = arena;
  const srings = [front.tx, front.rx].map((ring) => u32[ring.address >>> 2] ?? 0) as [number, number];
  const half = netfront.bus.queues[0]?.txQueue ?? 0;
  const indexes = path.kind === 'data-ring' ? (u32[(half + VIFQ_DATA) >>> 2] ?? 0) - DATARING_OUT : 0;
  // How likely what is: some peers break rings at once, and others only entries and bytes.
  const attacksRings = seed % 2 === 0;
  const attacksEntries = seed % 3 !== 0;

  const poke = (): void => {
    const [tx, rx] = srings;
    const slot = random.below(256);
    const roll = random.below(attacksRings ? 8 : 2);
    // Indexes of the data ring, and headers of frames.
    if (indexes > 0 && random.below(attacksRings ? 4 : 64) === 0) {
      const word = random.below(2) === 0 ? random.below(2) * 64 + random.below(3) * 4 : 4096 + random.below(1024) * 16;
      u32[(indexes + word) >>> 2] = random.below(2) === 0 ? random.next() : random.below(70_000);
      return;
    }
    if (roll === 0 && attacksEntries) {
      const entry = guest.grants.address + (8 + random.below(560)) * 8;
      const what = random.below(3);
      if (what === 0) u16[entry >>> 1] = random.below(32);
      else if (what === 1) u16[(entry + 2) >>> 1] = random.below(4);
      else u32[(entry + 4) >>> 2] = random.next();
    } else if (roll === 1) u8[guest.memory + 8192 + random.below(560 * 4096)] = random.next();
    else if (roll === 2) u32[((random.below(2) === 0 ? tx : rx) + random.below(4) * 4) >>> 2] = random.next();
    else if (roll === 3) u32[((random.below(2) === 0 ? tx : rx) + random.below(4) * 4) >>> 2] = random.below(300);
    else if (roll === 4) u32[(tx + 64 + slot * 12) >>> 2] = random.below(600);
    else if (roll === 5) u16[(tx + 64 + slot * 12 + 4 + random.below(4) * 2) >>> 1] = random.below(6000);
    else if (roll > 5) u16[(rx + 64 + slot * 8 + random.below(4) * 2) >>> 1] = random.below(5000);
  };

  for (let step = 0; step < steps; step++) {
    for (let i = random.below(4); i > 0; i--) poke();
    const [from, to]: [Served, Served] = random.below(2) === 0 ? [front, back] : [back, front];
    const count = 1 + random.below(8);
    make(
      Array.from({ length: count }, (_, i) =>
        frameOf(step + i, 14 + random.below(random.below(4) === 0 ? 20000 : 300)),
      ),
    );
    const sent = from.send(burst, count);
    free(sent, count - sent);
    poke();
    // At times what has just been received is sent back, out of where it lay.
    if (to === front && random.below(3) === 0) {
      const n = front.receive(burst, 32);
      const returned = front.send(burst, n);
      free(returned, n - returned);
    }
    for (const frame of receive(to))
      if (frame.length < 14) throw new Error(`seed ${seed}: a frame of ${frame.length} bytes`);
    if (rig.held() !== 0) throw new Error(`seed ${seed}, step ${step}: ${rig.held()} buffers are held`);
  }
  const faults = [back.fault(), front.fault()].filter((fault) => fault !== undefined);
  const damaged = arena.damaged();
  if (damaged.length > 0) throw new Error(`seed ${seed}: ${damaged.join(', ')}`);
  await netfront.close();
  await settle();
  await netback.close();
  const { maps, unmaps } = driver.costs();
  if (maps !== unmaps) throw new Error(`seed ${seed}: ${maps} maps, ${unmaps} unmaps`);
  if (guest.grants.inUse !== netfront.bus.lost) throw new Error(`seed ${seed}: ${guest.grants.inUse} grants in use`);
  for (const stop of stops) stop();
  // Nothing of it is pinned: its number is free again at once.
  rig.xen.destroyDomain(1);
  rig.xen.createDomain(1, { pages: 1 });
  return faults;
}
