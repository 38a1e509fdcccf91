// What a kernel module may hold. asc adds data, imports and state without a word when a source uses a string, an
// array literal, `throw` or a mutable global; and it drops all but one of several exports of the same name.

/** Section ids of the WebAssembly binary format. */
const GLOBAL = 6;
const START = 8;
const DATA = 11;

function sections(bytes) {
  const found = [];
  let at = 8;
  const leb = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const id = bytes[at++];
    const size = leb();
    found.push({ id, start: at, size });
    at += size;
  }
  return found;
}

/** True when some global of the module is mutable: an instance would then differ from another. */
function hasMutableGlobal(bytes, section) {
  const text = bytes.subarray(section.start, section.start + section.size);
  let at = 0;
  const leb = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = text[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  for (let left = leb(); left > 0; left--) {
    at++; // value type
    if (text[at++] === 1) return true;
    while (text[at++] !== 0x0b); // initial value, up to `end`
  }
  return false;
}

/** Names in the `export { … }` lists of the entry sources. */
function exportedNames(source) {
  return [...source.matchAll(/^export\s*\{([^}]*)\}/gms)].flatMap(([, list]) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  );
}

/**
 * What is wrong with the kernel `bytes` that asc made of the entry `sources`: one sentence each, none when it is fit.
 */
export function checkKernel(bytes, sources) {
  const problems = [];
  const module = new WebAssembly.Module(bytes);
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    if (from !== 'env' || name !== 'memory') problems.push(`imports ${from}.${name}; only env.memory is allowed`);
  }
  for (const section of sections(bytes)) {
    if (section.id === DATA) problems.push('has a data section: look for a string, an array literal or a throw');
    if (section.id === START) problems.push('has a start section: look for code outside functions');
    if (section.id === GLOBAL && hasMutableGlobal(bytes, section)) problems.push('has a mutable global');
  }
  const wanted = sources.flatMap(exportedNames);
  const twice = wanted.filter((name, index) => wanted.indexOf(name) !== index);
  if (twice.length > 0) problems.push(`exports twice: ${twice.join(', ')}`);
  const got = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  const missing = wanted.filter((name) => !got.has(name));
  if (missing.length > 0) problems.push(`does not export ${missing.join(', ')}`);
  return problems;
}
