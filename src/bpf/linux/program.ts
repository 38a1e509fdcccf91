import { BPF_F_XDP_HAS_FRAGS, requireBpf } from '../../sys/index.ts';
import { RingwayError } from '../../util/errors.ts';
import { encodeInstructions, type Instruction, LDDW, OP_LDDW } from '../instruction.ts';
import { withoutLoops } from '../loops.ts';
import type { Program, ProgramType } from '../program.ts';
import type { LinuxMap } from './map.ts';

/** What programs are loaded for: enum bpf_attach_type (Linux include/uapi/linux/bpf.h). */
const ATTACH_TYPES: Readonly<Partial<Record<ProgramType, number>>> = { xdp: 37, 'xdp/devmap': 33, 'xdp/cpumap': 35 };

/** The type of FUNCTION_BTF that all functions have. */
const FUNCTION_TYPE = 3;

/** BTF with one type for all functions: `static int f(void)`. Linux wants it for tail calls in functions, and for callbacks. */
function functionBtf(): Uint8Array {
  const strings = new TextEncoder().encode('\0int\0f\0');
  // BTF_KIND_INT, FUNC_PROTO and FUNC (Linux include/uapi/linux/btf.h): name, kind << 24, size or type, then INT's bits.
  const types = [1, 1 << 24, 4, (1 << 24) | 32, 0, 13 << 24, 1, 5, 12 << 24, 2];
  const header = [(1 << 16) | 0xeb9f, 24, 0, types.length * 4, types.length * 4, strings.length];
  return Uint8Array.of(...new Uint8Array(Uint32Array.from([...header, ...types]).buffer), ...strings);
}

/** The instructions as bytes for Linux, with maps by their descriptors. */
function codeFor(program: Program, maps: readonly LinuxMap[]): Uint8Array {
  const code = program.code.map((instruction): Instruction => {
    // The second half of an LDDW has opcode 0, and nothing else has.
    const { opcode, src, imm } = instruction;
    if (opcode !== OP_LDDW || (src !== LDDW.MAP_INDEX && src !== LDDW.MAP_INDEX_VALUE)) return instruction;
    const map = maps[imm] as LinuxMap;
    return { ...instruction, src: src === LDDW.MAP_INDEX ? LDDW.MAP_FD : LDDW.MAP_VALUE, imm: map.descriptor };
  });
  return encodeInstructions(code);
}

/**
 * Loads a program into Linux. Returns its descriptor.
 * @param maps those of `program.maps`, by number.
 * @param license what the object says of it; some helpers are there for GPL only.
 * @throws RingwayError `SYSTEM` with the last lines of what Linux's verifier says when it refuses the program.
 */
export function loadIntoLinux(given: Program, maps: readonly LinuxMap[], license = 'GPL'): number {
  const bpf = requireBpf();
  const program = withoutLoops(given);
  const expectedAttachType = ATTACH_TYPES[program.type];
  if (expectedAttachType === undefined) {
    throw new RingwayError(
      'UNSUPPORTED',
      `program ${program.name}: is in section ${program.section}; Linux is given those of ${Object.keys(ATTACH_TYPES).join(', ')}`,
    );
  }
  const options = {
    license,
    name: program.name,
    flags: program.frags ? BPF_F_XDP_HAS_FRAGS : 0,
    expectedAttachType,
  };
  const code = codeFor(program, maps);
  if (program.functions.length === 1) return bpf.progLoad(code, options);
  const records = program.functions.flatMap(({ start }) => [start, FUNCTION_TYPE]);
  const descriptor = bpf.btfLoad(functionBtf());
  try {
    const btf = { descriptor, functions: new Uint8Array(Uint32Array.from(records).buffer) };
    return bpf.progLoad(code, { ...options, btf });
  } finally {
    bpf.close(descriptor);
  }
}
