// A second pass over the kernel that asc made: V8 calls every WebAssembly function that is left as one, and in a burst's
// loop a call costs as much as a small function's work. asc itself inlines less than half as much.
import { loadBinaryen, setKernelFeatures } from './binaryen.mjs';

/**
 * Size in Binaryen's nodes up to which a function is inlined wherever it is called: large enough for the look-ups in the
 * MAC table and what emits a packet. Forwarding, million packets/s in one sitting: 28 at 80, 30 at 100, 28 at 130, where
 * frames get large.
 */
const INLINE_MAX = 100;

/**
 * Returns `bytes` with small functions inlined.
 * @param asc path of asc, whose own Binaryen does it.
 */
export async function inlineKernel(bytes, asc) {
  const binaryen = await loadBinaryen(asc);
  const module = binaryen.readBinary(bytes);
  setKernelFeatures(binaryen, module);
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(0);
  binaryen.setDebugInfo(true);
  binaryen.setAlwaysInlineMaxSize(INLINE_MAX);
  binaryen.setFlexibleInlineMaxSize(INLINE_MAX);
  binaryen.setAllowInliningFunctionsWithLoops(true);
  // Behind `copyFrame`, which is to be inlined itself, and would be too large with it.
  binaryen.setPassArgument('no-inline', '*copyBytes');
  module.runPasses(['no-inline', 'inlining-optimizing']);
  module.optimize();
  if (!module.validate()) throw new Error('inlining made an invalid kernel');
  return module.emitBinary();
}
