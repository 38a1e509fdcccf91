import * as layout from '#build/eventdev/layout.js';
import { MPSC_RUNS, MPSC_SIZE } from '#build/ring/layout.js';
import { testArena } from '../../support/arena.ts';
import { EventPipeline } from '../../support/event-pipeline.ts';
import { PausableArena } from '../../support/pausable.ts';

export interface InterleavedOptions {
  readonly ports: number;
  readonly flows: number;
  readonly events: number;
}

/**
 * A pipeline whose ports may be stopped in the middle of their kernels, before any access to what several of them write:
 * the words of the rings and of the ordered queue, its places, the tables, and the lists of moving flows.
 */
export function interleavedPipeline(options: InterleavedOptions, module: WebAssembly.Module): EventPipeline {
  const arenas: PausableArena[] = [];
  const bench = new EventPipeline({
    ...options,
    arena: testArena(),
    caller: (arena, id) => {
      const pausable = new PausableArena(arena, module, `port ${id}`);
      arenas.push(pausable);
      return (name, ...args) => pausable.call(name, ...args);
    },
  });
  const { arena, device } = bench;
  const word = (address: number): number => arena.u32[address >>> 2] as number;
  const region = (name: string): [number, number] => {
    const { address, bytes } = arena.region(name);
    return [address, address + bytes];
  };
  const windows: (readonly [number, number])[] = [region('pipeline tables'), region('pipeline ordered')];
  for (let id = 0; id < device.ports; id++) {
    const port = device.portAddress(id);
    windows.push([port + layout.EVPORT_MOVING_FLOWS, port + layout.EVPORT_MESSAGE]);
    for (const ring of [word(port + layout.EVPORT_RING), word(port + layout.EVPORT_CONTROL)]) {
      windows.push([ring, ring + MPSC_RUNS + word(ring + MPSC_SIZE) * 4]);
    }
  }
  // Slots are written between the claim and the publication of their run, before each of which there is a stop.
  for (const pausable of arenas) {
    pausable.stopsAt = (address) => windows.some(([from, to]) => address >= from && address < to);
  }
  return bench;
}
