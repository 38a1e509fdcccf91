import { HELPER_REDIRECT, HELPER_REDIRECT_MAP, HELPER_TAIL_CALL } from '#build/bpf/helpers.js';
import { ALU, JMP } from '#build/bpf/instruction.js';
import { HELPER_EACH, HELPER_LOOP } from '#build/bpf/loops.js';
import type { Random } from '#build/util/random.js';
import { type Body, BUFFER, CONTEXT, FRAME, SCALARS } from './body.ts';
import type { Emitter } from './emitter.ts';
import { MAPS } from './fixture.ts';

/** Time, chance, CPU: whose results are not the same in two engines. */
const CHANCY = [5, 7, 8, 42, 118, 125, 160, 208] as const;

/** What a call left: r0 is a scalar that all engines agree on, or nothing. */
function after(b: Body, result: boolean): true {
  b.clobber();
  if (result) b.ready.add(0);
  return true;
}

/** Puts a scalar, or a small number, into an argument. */
function argument(b: Body, register: number, small: readonly number[]): void {
  if (b.chance(70)) b.e.set(register, b.pick(small));
  else b.e.load(4, register, FRAME, SCALARS + 4 * b.random.below(8));
}

export function chancy(b: Body): boolean {
  if (!b.mayCall) return false;
  b.e.call(b.pick(CHANCY));
  return after(b, false);
}

/** A text for printk in the frame. */
function format(b: Body): void {
  b.e.constant(1, b.pick([0x0a78252064252061n, 0x2575257825642520n, 0x0000786c6c25203an]));
  b.e.store(8, FRAME, BUFFER, { register: 1 });
  b.e.store(8, FRAME, BUFFER + 8, { imm: 0 });
  b.frameAddress(1, BUFFER);
}

export function print(b: Body): boolean {
  if (!b.mayCall) return false;
  const isVector = b.chance(50);
  if (isVector) {
    b.frameAddress(3, SCALARS);
    b.e.set(4, 24);
  } else for (const register of [3, 4, 5]) b.e.load(8, register, FRAME, SCALARS + 8 * b.random.below(4));
  format(b);
  b.e.set(2, 16);
  b.e.call(isVector ? 177 : 6);
  return after(b, false);
}

export function redirect(b: Body): boolean {
  if (!b.mayCall) return false;
  if (b.chance(40)) {
    argument(b, 1, [1, 2, 0]);
    argument(b, 2, [0, 0, 1]);
    b.e.call(HELPER_REDIRECT);
    return after(b, true);
  }
  argument(b, 2, [0, 1, 2, 3, 4]);
  argument(b, 3, [0, 1, 2, 3, 4, 8, 16, 24, 32]);
  b.e.map(1, b.pick([MAPS.devices, MAPS.deviceHash, MAPS.cpus, MAPS.sockets]));
  b.e.call(HELPER_REDIRECT_MAP);
  return after(b, true);
}

export function checksum(b: Body): boolean {
  if (!b.mayCall) return false;
  const part = (address: number, size: number): void => {
    if (b.chance(20)) {
      b.e.set(address, 0);
      b.e.set(size, 0);
    } else {
      const bytes = b.pick([0, 4, 4, 8, 12, 16, 1, 6, 11]);
      b.frameAddress(address, SCALARS + 4 * b.random.below(4));
      b.e.set(size, bytes);
    }
  };
  part(1, 2);
  part(3, 4);
  argument(b, 5, [0, 1, 0xffff, -1]);
  b.e.call(28);
  return after(b, true);
}

/** Moves an end of the packet, or of its metadata. */
export function adjust(b: Body): boolean {
  if (!b.mayCall || !b.mayMove || b.holdsPacket) return false;
  const helper = b.pick([44, 54, 65]);
  argument(
    b,
    2,
    helper === 54 ? [-4, -8, -32, 4, 8, 0, -3, -252, -256] : [-4, 4, -14, 14, -1, 20, 0, -60, 60, -300, 3000],
  );
  b.e.move(1, CONTEXT);
  b.e.call(helper);
  return after(b, true);
}

export function bufferLength(b: Body): boolean {
  if (!b.mayCall) return false;
  b.e.move(1, CONTEXT);
  b.e.call(188);
  return after(b, true);
}

/** Copies between packet and frame, by offset. */
export function copyBytes(b: Body): boolean {
  if (!b.mayCall || b.holdsPacket) return false;
  const bytes = b.between(1, 16);
  const load = b.chance(50);
  argument(b, 2, [0, 1, 12, 14, 30, 50, 64, 100, 190]);
  if (load) {
    // It stays as it is when the packet is too short.
    for (const at of [0, 8]) b.e.store(8, FRAME, BUFFER + at, { imm: b.imm() });
    b.frameAddress(3, BUFFER);
  } else b.frameAddress(3, SCALARS + b.random.below(16));
  b.e.move(1, CONTEXT);
  b.e.set(4, bytes);
  b.e.call(load ? 189 : 190);
  after(b, true);
  if (load) b.e.load(8, b.target(), FRAME, BUFFER + 8 * b.random.below(2));
  return true;
}

/** Asks for a route: what comes out depends on the machine, and is not looked at. */
export function route(b: Body): boolean {
  if (!b.mayCall) return false;
  for (let at = 0; at < 64; at += 8) b.e.store(8, FRAME, BUFFER + at, { imm: 0 });
  b.e.store(1, FRAME, BUFFER, { imm: b.pick([2, 10, 3]) });
  b.e.store(4, FRAME, BUFFER + 8, { imm: 1 });
  b.e.move(1, CONTEXT);
  b.frameAddress(2, BUFFER);
  b.e.set(3, 64);
  b.e.set(4, b.pick([0, 1, 2]));
  b.e.call(69);
  return after(b, false);
}

/** Says something to a ring or to a perf event array: whether there is room depends on who reads. */
export function say(b: Body): boolean {
  if (!b.mayCall) return false;
  switch (b.random.below(3)) {
    case 0:
      b.e.move(1, CONTEXT);
      b.e.map(2, MAPS.perf);
      b.e.constant(3, b.pick([0xffffffffn, 0n, 1n, (8n << 32n) | 0xffffffffn]));
      b.frameAddress(4, SCALARS);
      b.e.set(5, b.pick([4, 8, 32]));
      b.e.call(25);
      break;
    case 1:
      b.e.map(1, MAPS.ring);
      b.frameAddress(2, SCALARS);
      b.e.set(3, b.pick([1, 8, 32]));
      b.e.set(4, b.pick([0, 1, 2]));
      b.e.call(130);
      break;
    default:
      b.e.map(1, MAPS.ring);
      b.e.set(2, b.random.below(5));
      b.e.call(134);
  }
  return after(b, false);
}

/** Goes on in another program, when there is one at the place. */
export function tailCall(b: Body): boolean {
  if (!b.mayCall || !b.mayTailCall || b.holdsPacket) return false;
  argument(b, 3, [0, 1, 2, 3, 7, 8, 100]);
  b.e.move(1, CONTEXT);
  b.e.map(2, MAPS.programs);
  b.e.call(HELPER_TAIL_CALL);
  return after(b, false);
}

/** Calls a function of the program. */
export function local(b: Body): boolean {
  if (!b.mayCall) return false;
  const those = b.callees.filter(({ moves }) => !moves || (b.mayMove && !b.holdsPacket));
  if (those.length === 0 || b.weight > 12) return false;
  const { label, scalars, takesStack } = b.pick(those);
  for (let index = 0; index < scalars; index++) {
    const high = [7, 8, 9].filter((register) => b.ready.has(register));
    if (high.length > 0 && b.chance(50)) b.e.move(2 + index, b.pick(high));
    else if (b.chance(50)) b.e.load(8, 2 + index, FRAME, SCALARS + 8 * b.random.below(4));
    else b.e.set(2 + index, b.imm());
  }
  if (takesStack) b.frameAddress(5, SCALARS);
  b.e.move(1, CONTEXT);
  b.e.callLocal(label);
  return after(b, true);
}

/** Calls one of the functions of `writeRound` some times, over the frame's scalars. */
export function rounds(b: Body): boolean {
  if (!b.mayCall || b.rounds.length === 0 || b.weight > 3) return false;
  argument(b, 1, [1, 2, 5, 30]);
  b.e.alu(ALU.AND, 1, { imm: 31 });
  // With 0 that is known Linux 6.18 drops the function, and then does not find it (`verifier bug: No program to jit`).
  b.e.alu(ALU.OR, 1, { imm: 1 });
  b.e.function(2, b.pick(b.rounds));
  b.frameAddress(3, SCALARS);
  b.e.set(4, b.chance(95) ? 0 : 1);
  b.e.call(HELPER_LOOP);
  return after(b, true);
}

/** Goes through an array: the order of its entries is the same everywhere. */
export function entries(b: Body): boolean {
  if (!b.mayCall || b.entries.length === 0 || b.weight > 3) return false;
  b.e.map(1, b.pick([MAPS.array, MAPS.cpuArray, MAPS.innerArray]));
  b.e.function(2, b.pick(b.entries));
  b.frameAddress(3, SCALARS);
  b.e.set(4, b.chance(95) ? 0 : 1);
  b.e.call(HELPER_EACH);
  return after(b, true);
}

/** What bpf_for_each_map_elem calls: the key's address in r2, that of 8 bytes or more of the value in r3, 32 bytes of scalars in r4. */
export function writeEntry(e: Emitter, random: Random): void {
  const word = (): number => 8 * random.below(4);
  const last = e.label();
  e.load(4, 1, 2, 0);
  e.load(8, 5, 3, 0);
  e.load(8, 0, 4, word());
  e.alu(random.below(2) === 0 ? ALU.ADD : ALU.XOR, 5, { register: 0 });
  if (random.below(2) === 0) e.alu(ALU.ADD, 5, { register: 1 });
  if (random.below(2) === 0) e.store(8, 3, 0, { register: 5 });
  e.store(8, 4, word(), { register: 5 });
  e.set(0, 0);
  e.jump(JMP.JLT, 1, { imm: random.below(4) }, last);
  e.set(0, random.below(2));
  e.bind(last);
  e.exit();
}

/** What bpf_loop calls: the number of the round in r1, the address of 32 bytes of scalars in r2. */
export function writeRound(e: Emitter, random: Random): void {
  const word = (): number => 8 * random.below(4);
  const last = e.label();
  e.load(8, 3, 2, word());
  for (let left = 1 + random.below(4); left > 0; left--) {
    const what = random.below(4);
    if (what === 0) e.alu(ALU.ADD, 3, { register: 1 });
    else if (what === 1) e.alu(ALU.XOR, 3, { imm: random.next() | 0 });
    else if (what === 2) {
      // A place that the round's number gives, or what is in a scalar.
      e.move(4, 1 + 2 * random.below(2));
      e.alu(ALU.AND, 4, { imm: 24 });
      e.move(5, 2);
      e.alu(ALU.ADD, 5, { register: 4 });
      e.load(8, 3, 5, 0);
      e.store(8, 5, 0, { register: 1 });
    } else e.store(8, 2, word(), { register: 3 });
  }
  e.store(8, 2, word(), { register: 3 });
  e.set(0, 0);
  e.jump(JMP.JLT, 1, { imm: random.below(40) }, last);
  e.set(0, random.below(2));
  e.bind(last);
  e.exit();
}
