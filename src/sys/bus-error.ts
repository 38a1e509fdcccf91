import { isMainThread } from 'node:worker_threads';
import { RingwayError } from '../util/errors.ts';
import { baseOf, type Call, type Koffi, loadLibc } from './libc.ts';

/** Values of the Linux headers (asm/signal.h, asm-generic/mman-common.h, asm-generic/siginfo.h). */
const SIGBUS = 7;
const SA_SIGINFO = 4;
const PROT_READ_WRITE = 1 | 2;
const PROT_READ_EXEC = 1 | 4;
const MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20;

/** struct sigaction of glibc and musl on x86-64: handler u64, mask of 128 bytes, flags u32, restorer u64. */
const SIGACTION_BYTES = 152;
const SIGACTION_FLAGS = 136;

/** The handler's page, then the table of windows. */
const CODE_BYTES = 4096;
/** A window: first byte, byte behind the last, its flag word (addresses in the process, u64 each), nothing (u64). */
const ENTRY_BYTES = 32;
const ENTRY_END = 8;
const WINDOWS_MAX = 256;
const TABLE_BYTES = WINDOWS_MAX * ENTRY_BYTES;

/**
 * The handler: void handler(int signal, siginfo_t *info, void *context), for the processors of `process.arch`. It calls the
 * kernel alone, takes no lock and touches no errno, so it may come at any instruction of any thread.
 *
 * Other threads may fault while an entry is being written: its end is 0 then, and one that changes meanwhile is read anew.
 */
const HANDLERS: Readonly<Record<string, Uint8Array>> = {
  // biome-ignore format: an instruction a line
  x64: Uint8Array.of(
    0x44, 0x8b, 0x4e, 0x08,                   //           mov r9d, [rsi + 8]            si_code
    0x41, 0x83, 0xf9, 0x02,                   //           cmp r9d, 2                    BUS_ADRERR
    0x75, 0x66,                               //           jne restore
    0x48, 0x8b, 0x46, 0x10,                   //           mov rax, [rsi + 16]           si_addr
    0x48, 0x8d, 0x15, 0xeb, 0x0f, 0x00, 0x00, //           lea rdx, [rip + table]        CODE_BYTES from the start
    0xb9, 0x00, 0x01, 0x00, 0x00,             //           mov ecx, 256                  WINDOWS_MAX
    0x48, 0x8b, 0x72, 0x08,                   // next:     mov rsi, [rdx + 8]            end
    0x48, 0x8b, 0x3a,                         //           mov rdi, [rdx]                start
    0x4c, 0x8b, 0x42, 0x10,                   //           mov r8, [rdx + 16]            flag word
    0x48, 0x3b, 0x72, 0x08,                   //           cmp rsi, [rdx + 8]
    0x75, 0xef,                               //           jne next                      it changed: once more
    0x48, 0x39, 0xf8,                         //           cmp rax, rdi
    0x72, 0x05,                               //           jb skip
    0x48, 0x39, 0xf0,                         //           cmp rax, rsi
    0x72, 0x0a,                               //           jb found
    0x48, 0x83, 0xc2, 0x20,                   // skip:     add rdx, 32                   ENTRY_BYTES
    0xff, 0xc9,                               //           dec ecx
    0x75, 0xdd,                               //           jne next
    0xeb, 0x31,                               //           jmp restore
    0x41, 0xc7, 0x00, 0x01, 0x00, 0x00, 0x00, // found:    mov dword [r8], 1
    0x48, 0x29, 0xfe,                         //           sub rsi, rdi                  bytes; rdi is the address
    0xba, 0x03, 0x00, 0x00, 0x00,             //           mov edx, 3                    PROT_READ | PROT_WRITE
    0x41, 0xba, 0x32, 0x40, 0x00, 0x00,       //           mov r10d, 0x4032              MAP_PRIVATE | FIXED | ANONYMOUS | NORESERVE
    0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff, //           mov r8, -1                    no descriptor
    0x45, 0x31, 0xc9,                         //           xor r9d, r9d                  no offset
    0xb8, 0x09, 0x00, 0x00, 0x00,             //           mov eax, 9                    mmap
    0x0f, 0x05,                               //           syscall
    0x48, 0x85, 0xc0,                         //           test rax, rax
    0x79, 0x3c,                               //           jns done                      the instruction goes on
    0x41, 0xb9, 0x02, 0x00, 0x00, 0x00,       //           mov r9d, 2                    no memory: as without a handler
    0xb8, 0x0d, 0x00, 0x00, 0x00,             // restore:  mov eax, 13                   rt_sigaction
    0xbf, 0x07, 0x00, 0x00, 0x00,             //           mov edi, 7                    SIGBUS
    0x48, 0x8d, 0x35, 0x27, 0x00, 0x00, 0x00, //           lea rsi, [rip + zeroes]       SIG_DFL
    0x31, 0xd2,                               //           xor edx, edx                  the old one is not wanted
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00,       //           mov r10d, 8                   bytes of a sigset_t
    0x0f, 0x05,                               //           syscall
    0x41, 0x83, 0xf9, 0x02,                   //           cmp r9d, 2
    0x74, 0x15,                               //           je done                       the instruction faults again, and kills
    0xb8, 0x27, 0x00, 0x00, 0x00,             //           mov eax, 39                   getpid
    0x0f, 0x05,                               //           syscall
    0x89, 0xc7,                               //           mov edi, eax
    0xbe, 0x07, 0x00, 0x00, 0x00,             //           mov esi, 7                    somebody sent it: it is sent again
    0xb8, 0x3e, 0x00, 0x00, 0x00,             //           mov eax, 62                   kill
    0x0f, 0x05,                               //           syscall
    0xc3,                                     // done:     ret
    0x90,                                     //           nop
    // zeroes: the rest of the page is
  ),
};

interface Guard {
  readonly koffi: Koffi;
  readonly copy: Call;
  /** Address of the table in the process. */
  readonly table: number;
  readonly taken: boolean[];
}

function install(): Guard {
  const code = HANDLERS[process.arch];
  if (code === undefined) throw new Error(`there is no handler for the processor, ${process.arch}`);
  // The table has one writer: a process has one main thread, and its workers fault under its handler.
  if (!isMainThread) throw new Error('only the main thread installs the handler');
  const { koffi, call, check } = loadLibc();
  const sigaction = call('int sigaction(int signal, const void *action, void *old)');
  const mmap = call(
    'intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
  );
  const mprotect = call('int mprotect(uintptr_t address, size_t length, int protection)');
  const copy = call('intptr_t memcpy(uintptr_t to, const void *from, size_t bytes)');

  const old = new Uint8Array(SIGACTION_BYTES);
  check(sigaction(SIGBUS, null, old), 'sigaction(SIGBUS)');
  if (old.subarray(0, 8).some((byte) => byte !== 0)) throw new Error('SIGBUS has a handler already');
  // Never freed: a thread may be in it at any time.
  const bytes = CODE_BYTES + TABLE_BYTES;
  const page = check(mmap(0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0), `mmap(${bytes} bytes)`);
  copy(page, code, code.length);
  check(mprotect(page, CODE_BYTES, PROT_READ_EXEC), 'mprotect(PROT_READ | PROT_EXEC)');
  const action = new Uint8Array(SIGACTION_BYTES);
  const view = new DataView(action.buffer);
  view.setBigUint64(0, BigInt(page), true);
  view.setUint32(SIGACTION_FLAGS, SA_SIGINFO, true);
  check(sigaction(SIGBUS, action, null), 'sigaction(SIGBUS)');
  return { koffi, copy, table: page + CODE_BYTES, taken: new Array<boolean>(WINDOWS_MAX).fill(false) };
}

let installed: Guard | { readonly reason: string } | undefined;

function guard(): Guard | { readonly reason: string } {
  if (installed !== undefined) return installed;
  try {
    installed = install();
  } catch (error) {
    installed = { reason: String(error instanceof Error ? error.message : error).split('\n', 1)[0] as string };
  }
  return installed;
}

/** Whether windows can be guarded here, and if not, why: then only files that keep their size may be mapped. */
export type TruncationSupport = { readonly supported: true } | { readonly supported: false; readonly reason: string };

/** Installs the handler of SIGBUS; once a process, on its main thread. */
export function surviveTruncation(): TruncationSupport {
  const state = guard();
  return 'reason' in state ? { supported: false, reason: state.reason } : { supported: true };
}

/**
 * Lets the process live when the file behind a window is truncated by its owner. The first access to what is gone, of any
 * thread, by any instruction, makes the whole window private zeroes and sets the word at `flagAddress` to 1: the peer is
 * lost, and what it shared is not worth a fault, and a mapping, a page. Call it before the file is mapped.
 * @param offset a multiple of the file's page size, as `length`: offsets in the memory.
 * @param flagAddress of a u32 in the memory, outside of the window. Who looks at it ends the peer.
 * @returns what ends the guard: after `unmap`, when nobody touches the window any more.
 * @throws RingwayError `UNSUPPORTED` when there is no handler here, `BUSY` when 256 windows are guarded, `BAD_ARGUMENT`
 *   for places outside the memory.
 */
export function guardWindow(
  memory: WebAssembly.Memory,
  offset: number,
  length: number,
  flagAddress: number,
): () => void {
  const state = guard();
  if ('reason' in state) throw new RingwayError('UNSUPPORTED', `guarding shared memory: ${state.reason}`);
  const limit = memory.buffer.byteLength;
  if (!(offset >= 0 && length > 0 && offset + length <= limit)) {
    throw new RingwayError('BAD_ARGUMENT', `guard: ${length} bytes at ${offset} do not lie in the memory's ${limit}`);
  }
  const inside = flagAddress + 4 > offset && flagAddress < offset + length;
  if (inside || flagAddress % 4 !== 0 || !(flagAddress >= 0 && flagAddress < limit)) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `guard: the flag at ${flagAddress}, must be a multiple of 4 in the memory's ${limit} bytes, outside ${offset} to ${offset + length}`,
    );
  }
  const { koffi, copy, table, taken } = state;
  const index = taken.indexOf(false);
  if (index === -1) throw new RingwayError('BUSY', `guard: ${WINDOWS_MAX} windows are guarded, no more fit`);
  taken[index] = true;
  const entry = table + index * ENTRY_BYTES;
  const base = baseOf(koffi, memory);
  copy(entry, BigUint64Array.of(BigInt(base + offset)), 8);
  copy(entry + 16, BigUint64Array.of(BigInt(base + flagAddress)), 8);
  // Last: from here on the entry stands.
  copy(entry + ENTRY_END, BigUint64Array.of(BigInt(base + offset + length)), 8);
  let guarded = true;
  return () => {
    // Only once: the entry may be another window's by then.
    if (!guarded) return;
    guarded = false;
    copy(entry + ENTRY_END, BigUint64Array.of(0n), 8);
    taken[index] = false;
  };
}
