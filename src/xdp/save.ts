const BLOCK_BYTES = 65_536;
const ZEROES = new Uint8Array(BLOCK_BYTES);

const isZero = (block: Uint8Array): boolean => Buffer.compare(block, ZEROES.subarray(0, block.length)) === 0;

/**
 * Takes a copy of memory. What is returned puts it back. Blocks of zeroes are not kept: maps may take gigabytes of which hardly
 * any were ever touched.
 */
export function saveMemory(memory: Uint8Array): () => void {
  const blocks: { readonly now: Uint8Array; readonly before: Uint8Array | undefined }[] = [];
  for (let at = 0; at < memory.length; at += BLOCK_BYTES) {
    const now = memory.subarray(at, at + BLOCK_BYTES);
    blocks.push({ now, before: isZero(now) ? undefined : now.slice() });
  }
  return () => {
    for (const { now, before } of blocks) {
      if (before !== undefined) now.set(before);
      else if (!isZero(now)) now.fill(0);
    }
  };
}
