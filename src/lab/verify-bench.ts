import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assemble, programOf } from '../bpf/assemble.ts';
import { linkProgram, loadObject } from '../bpf/object/load.ts';
import type { Program } from '../bpf/program.ts';
import { verifyProgram } from '../bpf/verifier/verify-program.ts';
import { RingwayError } from '../util/errors.ts';
import { type Row, rowOf } from './row.ts';
import { median } from './windows.ts';

/** Where Debian's package xdp-tools has its objects. */
const OBJECTS = '/usr/lib/x86_64-linux-gnu/bpf';
const RUNS = 21;
const BRANCHES = 1000;

/** More than 10,000 instructions with 1,000 branches that meet again: followed one by one, there were 2^1000 ways. */
export function branchyProgram(): Program {
  const parts = Array.from(
    { length: BRANCHES },
    (_, index) => `ldxb %r5, [%r2+${index % 14}]
      and %r5, 0x3f
      add %r6, %r5
      mov %r0, %r6
      rsh %r0, 3
      jgt %r5, ${index % 60}, l${index}
      xor %r6, 0x55
      stxdw [%r10-8], %r6
      l${index}: ldxdw %r7, [%r10-8]
      and %r6, 0xffff`,
  );
  const head =
    'ldxw %r2, [%r1]\nldxw %r3, [%r1+4]\nmov %r4, %r2\nadd %r4, 14\njgt %r4, %r3, out\nmov %r6, 0\nstdw [%r10-8], 0';
  return programOf(assemble(`${head}\n${parts.join('\n')}\nout: mov %r0, 2\nexit`));
}

/** The program of xdpfilt with the most instructions; undefined when the package is not installed. */
function largestFilter(): Program | undefined {
  if (!existsSync(OBJECTS)) return undefined;
  const files = readdirSync(OBJECTS).filter((name) => /^xdpfilt_.*\.o$/.test(name));
  const programs = files.map((name) => {
    const file = join(OBJECTS, name);
    return linkProgram(loadObject(readFileSync(file), { file }));
  });
  return programs.sort((a, b) => b.code.length - a.code.length)[0];
}

const NOTHING = { p50: null, p99: null, p999: null };

/** The first time, when nothing is compiled, is what a user of the command line waits for. */
function measureVerifier(name: string, program: Program, goalMs: number): Row {
  const times: number[] = [];
  let visited = 0;
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now();
    const { accepted, statistics } = verifyProgram(program);
    times.push(performance.now() - start);
    if (!accepted) throw new RingwayError('SYSTEM', `bench: ${program.name} is rejected`);
    visited = statistics.instructions;
  }
  const [first = 0, ...others] = times;
  const note = `${program.code.length} instructions, ${visited} visited, at first ${first.toFixed(1)} ms, goal ${goalMs} ms`;
  return rowOf({ ...NOTHING, name, value: median(others), unit: 'ms', state: 'one core', note }, null);
}

/** How long the verifier takes for a real program, and for a long one: the median of 20 runs behind the first. */
export async function benchVerify(): Promise<Row[]> {
  const filter = largestFilter();
  const name = "verify, Debian's largest xdpfilt";
  const note = `no ${OBJECTS}: install Debian's package xdp-tools`;
  const missing = rowOf({ ...NOTHING, name, value: null, unit: 'ms', state: 'not measured', note }, null);
  return [
    filter === undefined ? missing : measureVerifier(name, filter, 50),
    measureVerifier('verify, 10,000 instructions, 1,000 branches', branchyProgram(), 1000),
  ];
}
