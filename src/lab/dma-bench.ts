import { createDmaDevice, type DmaDevice } from '../dma/device.ts';
import type { DmaEngine } from '../dma/engines.ts';
import type { DmaKernels } from '../dma/kernels.ts';
import { VCHAN_SUBMITTED } from '../dma/layout.ts';
import { attachVchan, createVchan, openVchan, type Vchan } from '../dma/vchan.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { DSA } from './dsa.ts';
import { measure } from './measure.ts';
import type { PeerFigure, Peers } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import { firstCpu, twoCpus } from './two-cores.ts';

const BURST = 32;
const DESCRIPTORS = 1024;
/** Operations that the worker has at most before more are given to it. */
const IN_FLIGHT = 256;
/** A full Ethernet frame, and a jumbo one. */
const SIZES = [1518, 9216];
/** Buffers on each side, and bytes between them: both sides together are more than L1 and about what fits L2. */
const BUFFERS = 64;
const STRIDE = 12_288;
const UNIT = 'ns/op';

interface World {
  readonly arena: Arena;
  readonly source: number;
  readonly target: number;
}

/** A device with one channel, started. */
async function start({ arena }: World, engine: DmaEngine): Promise<{ device: DmaDevice; vchan: Vchan }> {
  const device = await createDmaDevice(arena, { name: 'bench', engine });
  device.configure({ vchans: 1 });
  device.vchanSetup(0, { descriptors: DESCRIPTORS });
  await device.start();
  return { device, vchan: device.vchan(0) };
}

/**
 * What enqueues and submits a burst of copies of `bytes` bytes, the next buffers in turn, and then collects until no more
 * than `left` are in flight; `wait` is called before each look.
 */
function turnOf(vchan: Vchan, { source, target }: World, bytes: number, left: number, wait: () => void): () => void {
  let next = 0;
  let flying = 0;
  return () => {
    for (let i = 0; i < BURST; i++) {
      vchan.copy(target + next * STRIDE, source + next * STRIDE, bytes);
      next = (next + 1) % BUFFERS;
    }
    vchan.submit();
    flying += BURST;
    do {
      wait();
      flying -= vchan.completed(DESCRIPTORS);
    } while (flying > left);
  };
}

async function end(device: DmaDevice): Promise<void> {
  await device.stop();
  device.close();
}

/** A burst through the engine cpu: all that a channel costs and the copies. */
async function oneCore(world: World, bytes: number, peer: PeerFigure | null): Promise<Row> {
  const { device, vchan } = await start(world, { kind: 'cpu' });
  const measured = measure(
    BURST,
    turnOf(vchan, world, bytes, 0, () => {}),
  );
  await end(device);
  return rowOf({ name: `dma cpu, ${bytes} B`, unit: UNIT, ...measured, state: 'one core' }, peer && named(peer));
}

const named = (peer: PeerFigure): PeerFigure & { name: string } => ({ name: 'libc memcpy', ...peer });

/** What a worker does for a burst, and nothing else: the same descriptors are submitted again and again. */
function engineAlone({ arena, source, target }: World, bytes: number, peer: PeerFigure): Row {
  const setup = { name: 'alone', descriptors: BUFFERS, priority: 0, cpu: false, silent: false };
  const limits = { min: BUFFERS, max: BUFFERS };
  const address = createVchan(arena, { ...setup, capabilities: { sg: false, fill: false } }, limits);
  openVchan(arena, address, 0);
  const vchan = attachVchan(arena, address);
  for (let i = 0; i < BUFFERS; i++) vchan.copy(target + i * STRIDE, source + i * STRIDE, bytes);
  const { dmaRunEngine } = arena.kernels<DmaKernels>();
  const submitted = (address + VCHAN_SUBMITTED) >>> 2;
  const measured = measure(BURST, () => {
    Atomics.add(arena.u32, submitted, BURST);
    dmaRunEngine(address, BURST);
  });
  arena.release('alone');
  return rowOf({ name: `dma engine, ${bytes} B`, unit: UNIT, ...measured, state: 'one core' }, named(peer));
}

/** A channel that is kept full, its engine on another core. */
async function worker(world: World, bytes: number): Promise<Row> {
  const name = `dma worker, ${bytes} B`;
  const cpus = twoCpus();
  if (typeof cpus === 'string') {
    const nothing = { value: null, p50: null, p99: null, p999: null };
    return rowOf({ name, unit: UNIT, ...nothing, state: 'not measured', note: cpus }, null);
  }
  const { device, vchan } = await start(world, { kind: 'worker', cpu: cpus[1] });
  const measured = measure(
    BURST,
    turnOf(vchan, world, bytes, IN_FLIGHT, () => {}),
  );
  await end(device);
  return rowOf({ name, unit: UNIT, ...measured, state: 'several cores' }, null);
}

/** What the model itself costs, and, in the note, what it says that the hardware would take. */
async function model(world: World, bytes: number): Promise<Row> {
  const { device, vchan } = await start(world, { kind: 'model', model: DSA });
  const { model: hardware } = device;
  const wait = (): void => {
    hardware.advance(hardware.now);
    if (hardware.nextNs !== Number.POSITIVE_INFINITY) hardware.advance(hardware.nextNs);
  };
  const turn = turnOf(vchan, world, bytes, IN_FLIGHT, wait);
  const measured = measure(BURST, turn);
  const virtual = hardware.now / device.stats(0).completed;
  await end(device);
  const note = [measured.note, `${virtual.toFixed(1)} ns in virtual time`].filter((text) => text !== '').join('; ');
  return rowOf({ name: `dma model, ${bytes} B`, unit: UNIT, ...measured, note, state: 'one core' }, null);
}

/**
 * DMA channels: copies in bursts of 32. What a worker does for them, beside as many calls of libc's memcpy in C over buffers
 * that lie in the same way; the engine cpu, with all that a channel costs, which is the row of 0 bytes; the engine worker on a
 * core of its own; and what the model costs in real time. Samples are a burst.
 */
export async function benchDma(peers: Peers): Promise<Row[]> {
  const arena = createArena({ bytes: 4 << 20 });
  const [source = 0, target = 0] = ['source', 'target'].map((name) => arena.allocate(name, BUFFERS * STRIDE, 4096));
  arena.u8.fill(1, source, source + BUFFERS * STRIDE);
  const world = { arena, source, target };
  const rows = [await oneCore(world, 0, null)];
  for (const bytes of SIZES) {
    const peer = await peers.run('memcpy', [firstCpu()], [`${bytes}`, `${BUFFERS}`, `${STRIDE}`]);
    rows.push(engineAlone(world, bytes, peer), await oneCore(world, bytes, peer), await worker(world, bytes));
  }
  rows.push(await model(world, SIZES[0] as number));
  return rows;
}
