import { VERDICT_ACTION, XDP_PASS } from '../bpf/layout.ts';
import { LCORE_SECONDS } from '../lcore/layout.ts';
import type { LcoreContext } from '../lcore/lcore.ts';
import type { Arena } from '../memory/arena.ts';
import { SLOT_EVENT, SLOT_FLAG_CHAINED, SLOT_FLAGS, SLOT_PORT, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { Port } from '../ports/port.ts';
import { addCounter, portCounters } from '../telemetry/counters.ts';
import { COUNTER_DROPS, DROP_XDP, DROP_XDP_FRAGS, DROP_XDP_REDIRECT } from '../telemetry/layout.ts';
import {
  HOOK_BYTES,
  HOOK_CACHE,
  HOOK_COUNTERS,
  HOOK_CROSSING,
  HOOK_CROSSING_COUNT,
  HOOK_LCORE,
  HOOK_LCORES,
  HOOK_LEAVING,
  HOOK_LEAVING_COUNT,
  HOOK_LEAVING_PROGRAMS,
  HOOK_PORT,
  HOOK_PORTS,
  HOOK_VERDICTS,
  SORTED_CROSSING,
  SORTED_LEAVING,
  SORTED_PASS_MASK,
  SORTED_PROGRAMS,
} from '../xdp/layout.ts';
import { ProgramThread, type ThreadProgram } from '../xdp/thread.ts';
import type { PipelineData, PortWire } from './wire.ts';

interface XdpKernels {
  xdpPrepare(hook: number, slots: number, count: number, frags: number): number;
  xdpSort(hook: number, slots: number, count: number): number;
  switchRedirect(path: number, slots: number, count: number): void;
  switchCross(path: number, slots: number, count: number, self: number): number;
  switchArrived(slots: number, count: number, target: number): number;
  switchForward(path: number, slots: number, count: number, fresh: number): void;
}

/** The numbers that Linux gives interfaces begin with 1. */
const ifindexOf = (port: number): number => port + 1;

/** Where a program runs on what one receive queue of a port gives. */
class QueueHook {
  readonly port: number;
  readonly #queue: number;
  readonly #hook: number;
  readonly #lcore: XdpLcore;
  #program: ThreadProgram | undefined;

  constructor(lcore: XdpLcore, port: number, queue: number, hook: number) {
    this.#lcore = lcore;
    this.port = port;
    this.#queue = queue;
    this.#hook = hook;
  }

  set program(program: ThreadProgram | undefined) {
    this.#program = program;
  }

  /** Runs the program on a burst. Returns how many of its packets go on, at the front. */
  run(slots: number, count: number): number {
    if (this.#program === undefined) return count;
    return this.#lcore.run(this.#program, this.#hook, slots, count, this.port, this.#queue);
  }
}

/** The XDP programs of one lcore: on what its queues receive, on what other lcores send here, on what leaves. */
export class XdpLcore {
  /** Packets that programs kept from the switch since somebody asked last: work that was done all the same. */
  kept = 0;
  /** Some program may send packets from lcore to lcore. */
  isUsed = false;
  readonly #arena: Arena;
  readonly #data: PipelineData;
  readonly #index: number;
  readonly #kernels: XdpKernels & PoolKernels;
  readonly #thread: ProgramThread;
  readonly #hooks: QueueHook[] = [];
  #hasSent = false;
  /** By port, the number of the program that its queues run; queues may be attached later. */
  readonly #attached = new Map<number, number>();

  constructor({ arena, index, address }: LcoreContext, data: PipelineData) {
    const { context, hook, routes, log, seed } = data.xdp;
    this.#arena = arena;
    this.#data = data;
    this.#index = index;
    this.#kernels = arena.kernels<XdpKernels & PoolKernels>();
    this.#thread = new ProgramThread(arena, context, {
      cpu: index,
      clock: address + LCORE_SECONDS,
      seed,
      cache: data.cache,
      routes,
      log,
    });
    this.#initHook(hook, 0);
  }

  #initHook(hook: number, port: number): void {
    const { ports, lcores, cache, counters, events } = this.#data;
    this.#set(hook + HOOK_PORT, port);
    this.#set(hook + HOOK_PORTS, ports);
    this.#set(hook + HOOK_LCORE, this.#index);
    // An event device chooses the lcores itself.
    this.#set(hook + HOOK_LCORES, events === undefined ? lcores.length : 0);
    this.#set(hook + HOOK_CACHE, cache);
    this.#set(hook + HOOK_COUNTERS, portCounters(counters, port));
  }

  #set(address: number, value: number): void {
    this.#arena.u32[address >>> 2] = value;
  }

  #get(address: number): number {
    return this.#arena.u32[address >>> 2] ?? 0;
  }

  /** Puts a hook around the receive side of a port's queue. */
  hooked(port: Port, wire: PortWire, queue: number): Port {
    const address = wire.hooks + queue * HOOK_BYTES;
    this.#initHook(address, wire.index);
    const hook = new QueueHook(this, wire.index, queue, address);
    hook.program = this.#thread.get(this.#attached.get(wire.index) ?? 0);
    this.#hooks.push(hook);
    return {
      ...port,
      rxBurst(slots, max) {
        const n = port.rxBurst(slots, max);
        return n === 0 ? 0 : hook.run(slots, n);
      },
    };
  }

  /** True when programs sent packets since somebody asked last: they wait in outputs, which must be flushed. */
  takeSent(): boolean {
    const hasSent = this.#hasSent;
    this.#hasSent = false;
    return hasSent;
  }

  load(program: Parameters<ProgramThread['add']>[0]): void {
    this.#thread.add(program);
    this.isUsed = true;
  }

  unload(program: number): void {
    this.#thread.delete(program);
  }

  /** Gives the queues of port `index` another program; 0: none. */
  attach(index: number, program: number): void {
    this.#attached.set(index, program);
    for (const hook of this.#hooks) if (hook.port === index) hook.program = this.#thread.get(program);
  }

  /** Forgets a port that is gone. */
  forget(index: number): void {
    this.#attached.delete(index);
    for (let at = this.#hooks.length - 1; at >= 0; at--) if (this.#hooks[at]?.port === index) this.#hooks.splice(at, 1);
  }

  /** Runs `program` on a burst, and does what it says. Returns how many packets go on, at the front. */
  run(program: ThreadProgram, hook: number, slots: number, count: number, port: number, queue: number): number {
    const { wire, instance } = program;
    const n = this.#kernels.xdpPrepare(hook, slots, count, wire.frags ? 1 : 0);
    if (n === 0) {
      this.kept += count;
      return 0;
    }
    this.#thread.prepare(wire, ifindexOf(port), queue);
    instance.burst(this.#thread.context, slots, n, hook + HOOK_VERDICTS);
    const sorted = this.#kernels.xdpSort(hook, slots, n);
    const passed = sorted & SORTED_PASS_MASK;
    this.kept += count - passed;
    if (sorted !== passed) this.#dispatch(hook, sorted);
    return passed;
  }

  /** Sends what `sort` put into a hook's lists on its way. */
  #dispatch(hook: number, sorted: number): void {
    const { path } = this.#data;
    this.#hasSent = true;
    if (sorted & SORTED_LEAVING) {
      this.#leave(hook, sorted);
    }
    if (sorted & SORTED_CROSSING) {
      const crossing = hook + HOOK_CROSSING;
      const own = this.#kernels.switchCross(path, crossing, this.#get(hook + HOOK_CROSSING_COUNT), this.#index);
      if (own > 0) this.#arrive(crossing, own);
    }
  }

  /** Sends what a hook has for ports. */
  #leave(hook: number, sorted: number): void {
    const slots = hook + HOOK_LEAVING;
    const count = this.#get(hook + HOOK_LEAVING_COUNT);
    const left = sorted & SORTED_PROGRAMS ? this.#runLeaving(hook, slots, count) : count;
    this.#kernels.switchRedirect(this.#data.path, slots, left);
  }

  /** Runs the programs of device maps on what leaves. Returns how many packets are left, at the front. */
  #runLeaving(hook: number, slots: number, count: number): number {
    const { u8, u16 } = this.#arena;
    const verdict = this.#data.xdp.hook + HOOK_VERDICTS;
    let left = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots + (i << SLOT_SHIFT);
      const number = this.#get(hook + HOOK_LEAVING_PROGRAMS + i * 4);
      if (number !== 0) {
        const program = this.#second(slot, number);
        if (program === undefined) continue;
        const target = u16[(slot + SLOT_EVENT) >>> 1] ?? 0;
        this.#thread.prepare(program.wire, ifindexOf(u8[slot + SLOT_PORT] ?? 0), 0, ifindexOf(target));
        program.instance.burst(this.#thread.context, slot, 1, verdict);
        if (this.#get(verdict + VERDICT_ACTION) !== XDP_PASS) {
          this.#drop(slot, DROP_XDP);
          continue;
        }
      }
      u8.copyWithin(slots + (left << SLOT_SHIFT), slot, slot + (1 << SLOT_SHIFT));
      left++;
    }
    return left;
  }

  /**
   * The program of a device or CPU map that is to run on a packet. Undefined when it cannot: what was to be looked at goes
   * on nowhere, and is dropped.
   */
  #second(slot: number, number: number): ThreadProgram | undefined {
    const program = this.#thread.get(number);
    const isChained = ((this.#arena.u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_CHAINED) !== 0;
    if (program !== undefined && (program.wire.frags || !isChained)) return program;
    this.#drop(slot, program === undefined ? DROP_XDP_REDIRECT : DROP_XDP_FRAGS);
    return undefined;
  }

  /** Drops a packet, on the account of the port that it came from. */
  #drop(slot: number, reason: number): void {
    const { counters, cache } = this.#data;
    const port = this.#arena.u8[slot + SLOT_PORT] ?? 0;
    addCounter(this.#arena, portCounters(counters, port) + COUNTER_DROPS + reason * 8, 1);
    this.#kernels.poolFree(cache, slot, 1);
  }

  /**
   * Takes what programs sent here out of the `count` packets at `slots` that came from other lcores, and brings it to the
   * switch. Returns how many are left, at the front.
   */
  receive(slots: number, count: number): number {
    if (!this.isUsed) return count;
    const { arrivals } = this.#data.xdp;
    const taken = this.#kernels.switchArrived(slots, count, arrivals);
    if (taken > 0) this.#arrive(arrivals, taken);
    return count - taken;
  }

  /** Runs the programs of CPU maps on packets at their lcore; those that pass go to the switch as if they came in here. */
  #arrive(slots: number, count: number): void {
    const { u8, u16 } = this.#arena;
    const { hook } = this.#data.xdp;
    let left = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots + (i << SLOT_SHIFT);
      const number = u16[(slot + SLOT_EVENT) >>> 1] ?? 0;
      if (number !== 0) {
        const program = this.#second(slot, number);
        if (program === undefined) continue;
        const from = u8[slot + SLOT_PORT] ?? 0;
        this.#set(hook + HOOK_PORT, from);
        this.#set(hook + HOOK_COUNTERS, portCounters(this.#data.counters, from));
        if (this.#runArrived(program, hook, slot, from) === 0) continue;
      }
      u8.copyWithin(slots + (left << SLOT_SHIFT), slot, slot + (1 << SLOT_SHIFT));
      left++;
    }
    if (left > 0) this.#kernels.switchForward(this.#data.path, slots, left, 1);
  }

  /** Runs a CPU map's program on one packet. Returns 1 when it passes. */
  #runArrived(program: ThreadProgram, hook: number, slot: number, from: number): number {
    this.#thread.prepare(program.wire, ifindexOf(from), 0);
    program.instance.burst(this.#thread.context, slot, 1, hook + HOOK_VERDICTS);
    const sorted = this.#kernels.xdpSort(hook, slot, 1);
    // Not on to a third lcore: packets could go round for ever.
    if (sorted & SORTED_LEAVING) this.#leave(hook, sorted);
    else if (sorted & SORTED_CROSSING) this.#drop(hook + HOOK_CROSSING, DROP_XDP_REDIRECT);
    return sorted & SORTED_PASS_MASK;
  }
}
