import { withLoops } from '#build/bpf/loops.js';
import type { Program } from '#build/bpf/program.js';
import type { Random } from '#build/util/random.js';
import { Body, type Callee, CONTEXT, FRAME, SCALARS } from './body.ts';
import { Emitter, type Label } from './emitter.ts';
import { DEFINITIONS } from './fixture.ts';
import * as helpers from './helper-statements.ts';
import * as memory from './memory-statements.ts';
import * as plain from './statements.ts';

const ROUNDS_WEIGHT = 3;
const ENTRIES_WEIGHT = 3;

/** Statements, and how often each is tried beside the others. */
const STATEMENTS: readonly (readonly [weight: number, write: plain.Statement])[] = [
  [22, plain.binary],
  [14, plain.unary],
  [3, plain.packetLength],
  [8, plain.stack],
  [3, plain.stackByIndex],
  [2, plain.leave],
  [4, plain.leaveLoop],
  [12, (b) => plain.either(b, block)],
  [5, (b) => plain.loop(b, block)],
  [3, (b) => plain.tangle(b, block)],
  [14, memory.access],
  [9, (b) => memory.packet(b, block)],
  [4, (b) => memory.global(b, block)],
  [7, (b) => memory.lookup(b, block)],
  [2, (b) => memory.lookupInner(b, block)],
  [1, memory.lookupOfCpu],
  [4, memory.update],
  [3, memory.remove],
  [2, memory.record],
  [2, helpers.chancy],
  [1, helpers.print],
  [2, helpers.redirect],
  [3, helpers.checksum],
  [4, helpers.adjust],
  [1, helpers.bufferLength],
  [3, helpers.copyBytes],
  [1, helpers.route],
  [2, helpers.say],
  [2, helpers.tailCall],
  [4, helpers.local],
  [ROUNDS_WEIGHT, helpers.rounds],
  [ENTRIES_WEIGHT, helpers.entries],
];
const TOTAL = STATEMENTS.reduce((sum, [weight]) => sum + weight, 0);

function statement(b: Body): void {
  // One that has no place here is tried again as another.
  for (;;) {
    let left = b.random.below(TOTAL);
    const found = STATEMENTS.find(([weight]) => {
      left -= weight;
      return left < 0;
    });
    if (found?.[1](b)) return;
  }
}

/** Up to `count` statements, while some are left for the function. */
function block(b: Body, count: number): void {
  for (let left = count; left > 0; left--) {
    if (b.budget <= 0) {
      plain.unary(b);
      return;
    }
    b.budget -= 1;
    statement(b);
  }
}

function writeFunction(b: Body, { scalars, takesStack }: Pick<Callee, 'scalars' | 'takesStack'>): void {
  b.e.move(CONTEXT, 1);
  for (let at = SCALARS; at < 0; at += 8) b.e.store(8, FRAME, at, { imm: b.imm() });
  for (let index = 0; index < scalars; index++) b.ready.add(2 + index);
  if (takesStack) {
    b.e.move(9, 5);
    b.reserved.add(9);
  }
  for (let left = b.between(1, 4); left > 0; left--) b.e.set(b.target(), b.imm());
  const write = (): void => block(b, b.budget);
  if (takesStack) {
    b.withPointer({ where: { register: 9 }, kind: 'stack', bytes: -SCALARS, writable: true }, write);
    b.give(9);
  } else write();
  b.e.move(0, b.scalar());
  b.e.exit();
}

/** The functions that a program may call: each calls only those behind it, so that four lie within each other at most. */
function makeCallees(e: Emitter, random: Random): Callee[] {
  const made: Callee[] = [];
  for (let index = random.below(4); index > 0; index--) {
    const callees = made.filter(() => random.below(2) === 0);
    made.unshift({
      label: e.label(),
      scalars: random.below(3),
      takesStack: random.below(3) === 0,
      moves: random.below(3) === 0 || callees.some(({ moves }) => moves),
      mayTailCall: false,
      callees,
    });
  }
  // The kernel allows tail calls below one frame only.
  const called = new Set(made.flatMap(({ callees }) => callees));
  return made.map((callee) => (called.has(callee) ? callee : { ...callee, mayTailCall: callee.moves }));
}

/**
 * A random program that the kernel's verifier takes, over the fixture's maps, and that ends. What it returns and stores depends
 * on the packet and the maps alone.
 */
export function generateValid(random: Random, options: { readonly statements?: number } = {}): Program {
  const e = new Emitter();
  const callees = makeCallees(e, random);
  const { statements = 4 + random.below(28) } = options;
  const [rounds, entries] = [random.below(3), random.below(3)].map((length) =>
    Array.from({ length }, () => e.label()),
  ) as [Label[], Label[]];
  const main = new Body(e, random, {
    callees,
    rounds,
    entries,
    isMain: true,
    mayMove: true,
    mayTailCall: true,
    budget: statements,
  });
  writeFunction(main, { scalars: 0, takesStack: false });
  const starts = [0];
  const written = new Set<Callee>();
  for (;;) {
    // Only those that something calls, since the kernel refuses code that nothing reaches.
    const next = callees.find((callee) => !written.has(callee) && e.isUsed(callee.label));
    if (next === undefined) break;
    written.add(next);
    e.bind(next.label);
    starts.push(e.length);
    const { callees: own, moves: mayMove, mayTailCall } = next;
    const budget = 2 + random.below(8);
    writeFunction(
      new Body(e, random, { callees: own, rounds, entries, isMain: false, mayMove, mayTailCall, budget }),
      next,
    );
  }
  for (const [labels, write] of [
    [rounds, helpers.writeRound],
    [entries, helpers.writeEntry],
  ] as const) {
    for (const label of labels) {
      if (!e.isUsed(label)) continue;
      e.bind(label);
      starts.push(e.length);
      write(e, random);
    }
  }
  const code = e.finish();
  return withLoops({
    name: 'generated',
    section: 'xdp',
    type: 'xdp',
    frags: false,
    code,
    functions: starts.map((start, index) => ({
      name: index === 0 ? 'generated' : `function_${index}`,
      start,
      end: starts[index + 1] ?? code.length,
    })),
    maps: DEFINITIONS,
    lines: [],
  });
}

/** A packet of 14 to 200 bytes, small numbers among them. */
export function generatePacket(random: Random): Uint8Array {
  return Uint8Array.from({ length: 14 + random.below(187) }, () =>
    random.below(3) === 0 ? random.below(8) : random.below(256),
  );
}
