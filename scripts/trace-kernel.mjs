// Makes a copy of a kernel, for tests alone, that tells of each access to memory before it happens.
//
//     import env.access (address, bytes, site)    before each load, store, atomic access, copy and fill
//     import env.branch (condition, site)         before each branch, when asked for
//     section "sites"                             JSON: { accesses: [{ where, kind }], branches: [{ where, text }] }
import { loadBinaryen, setKernelFeatures } from './binaryen.mjs';

const BYTES = { i32: 4, i64: 8, f32: 4, f64: 8, v128: 16 };
/** An access to memory in Binaryen's linear text: type, operation, width in bits when it is less than the type's, offset. */
const ACCESS =
  /^(i32|i64|f32|f64|v128)\.(?:atomic\.)?(load|store|rmw)(8|16|32|64)?(?:x[248])?(?:_splat|_zero|_lane)?(?:\.([a-z]+))?(?:_[su])?(?:\s+offset=(\d+))?(?:\s+align=\d+)?(?:\s+\d+)?$/;
/** What else has a word of memory in it, and none of this may pass unseen. */
const MEMORY = /^(memory\.|data\.|(\w+\.)(atomic|load|store))/;

/** Operands that lie above the address, by type, in the order in which they were pushed. */
function operandsAbove(type, operation, update) {
  if (operation === 'load') return [];
  return update === 'cmpxchg' ? [type, type] : [type];
}

/** The line, with a call of `access` before it that leaves the stack as it was. */
function traceAccess(line, addSite, temporary) {
  const [, type, operation, bits, update, offset = '0'] = ACCESS.exec(line);
  const atomic = line.includes('.atomic.');
  const kind = `${atomic ? 'atomic ' : ''}${operation === 'rmw' ? 'update' : operation}`;
  const bytes = bits === undefined ? BYTES[type] : Number(bits) / 8;
  const above = operandsAbove(type, operation, update).map((each, index) => temporary(each, index));
  const address = temporary('i32', 'address');
  return [
    ...above.toReversed().map((name) => `local.set ${name}`),
    `local.tee ${address}`,
    // Kernels never wrap an address: u32 arithmetic is exact.
    `local.get ${address}`,
    `i32.const ${offset}`,
    'i32.add',
    `i32.const ${bytes}`,
    `i32.const ${addSite(kind)}`,
    'call $trace/access',
    ...above.map((name) => `local.get ${name}`),
    line,
  ];
}

/** As `traceAccess`, for memory.copy (to, from, bytes) and memory.fill (to, value, bytes). */
function traceBulk(line, addSite, temporary) {
  const names = ['to', 'from', 'bytes'].map((name) => temporary('i32', name));
  const [to, from, bytes] = names;
  const tell = (name, kind) => [
    `local.get ${name}`,
    `local.get ${bytes}`,
    `i32.const ${addSite(kind)}`,
    'call $trace/access',
  ];
  return [
    ...names.toReversed().map((name) => `local.set ${name}`),
    ...(line.startsWith('memory.copy') ? tell(from, 'load') : []),
    ...tell(to, 'store'),
    ...names.map((name) => `local.get ${name}`),
    line,
  ];
}

function traceBranch(line, addSite, temporary) {
  const condition = temporary('i32', 'condition');
  return [`local.tee ${condition}`, `local.get ${condition}`, `i32.const ${addSite()}`, 'call $trace/branch', line];
}

/** Rewrites one function: its lines without the header. Adds to `sites`. */
function traceFunction(where, body, sites, branches) {
  const locals = new Map();
  const temporary = (type, name) => {
    const local = `$trace/${type}/${name}`;
    locals.set(local, type);
    return local;
  };
  const addAccess = (kind) => sites.accesses.push({ where, kind }) - 1;
  const lines = body.flatMap((line, index) => {
    if (ACCESS.test(line)) return traceAccess(line, addAccess, temporary);
    if (/^memory\.(copy|fill)/.test(line)) return traceBulk(line, addAccess, temporary);
    // Neither reads nor writes: memory.atomic.notify looks at an address only to find who sleeps there.
    if (/^(atomic\.fence|memory\.size|memory\.atomic\.notify)/.test(line)) return [line];
    if (MEMORY.test(line)) throw new Error(`${where}: cannot trace ${line}`);
    // Those of assertions, which trap, and of constants are not taken on purpose.
    const decided = body[index + 1] === 'unreachable' || /^i32\.const/.test(body[index - 1]);
    if (branches && !decided && /^(if|br_if|br_table|select)\b/.test(line)) {
      // What computed the condition says which branch it is.
      const text = [...body.slice(Math.max(0, index - 3), index), line].join(', ');
      return traceBranch(line, () => sites.branches.push({ where, text }) - 1, temporary);
    }
    return [line];
  });
  const own = lines.filter((line) => line.startsWith('(local '));
  const rest = lines.filter((line) => !line.startsWith('(local '));
  return [...own, ...[...locals].map(([name, type]) => `(local ${name} ${type})`), ...rest];
}

/** Rewrites the linear text of a module, one instruction a line. Returns the new text and what its sites are. */
function traceText(text, branches) {
  const sites = { accesses: [], branches: [] };
  const lines = text.split('\n').map((line) => line.trim());
  const result = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    result.push(line);
    if (line.startsWith('(module')) {
      result.push('(import "env" "access" (func $trace/access (param i32 i32 i32)))');
      if (branches) result.push('(import "env" "branch" (func $trace/branch (param i32 i32)))');
    }
    const name = /^\(func \$(\S+)/.exec(line)?.[1];
    if (name === undefined) continue;
    const end = lines.indexOf(')', at);
    result.push(...traceFunction(name.replaceAll('"', ''), lines.slice(at + 1, end), sites, branches));
    at = end - 1;
  }
  return { text: result.join('\n'), sites };
}

/**
 * Returns the traced form of a kernel.
 * @param kernel the kernel's bytes, or its linear text as asc writes it.
 * @param asc path of asc, whose own Binaryen does it.
 * @param branches tell of branches, too.
 * @param pausable a hook may stop the kernel by the exports that Binaryen's Asyncify adds, and go on later.
 */
export async function traceKernel(kernel, asc, { branches = false, pausable = false } = {}) {
  const binaryen = await loadBinaryen(asc);
  let linear = kernel;
  if (typeof kernel !== 'string') {
    const plain = binaryen.readBinary(kernel);
    setKernelFeatures(binaryen, plain);
    linear = plain.emitStackIR();
    plain.dispose();
  }
  const { text, sites } = traceText(linear, branches);
  const module = binaryen.parseText(text);
  setKernelFeatures(binaryen, module);
  if (pausable) {
    binaryen.setPassArgument('asyncify-imports', 'env.access');
    module.runPasses(['asyncify']);
  }
  // Removes most of the locals that were added, and moves no access: all of them lie between calls.
  module.runPasses(['simplify-locals-nonesting', 'coalesce-locals', 'vacuum']);
  binaryen.setDebugInfo(true);
  module.addCustomSection('sites', new TextEncoder().encode(JSON.stringify(sites)));
  if (!module.validate()) throw new Error('tracing made an invalid kernel');
  const bytes = module.emitBinary();
  module.dispose();
  return bytes;
}
