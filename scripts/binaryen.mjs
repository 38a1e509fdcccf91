// Binaryen, as assemblyscript brings it.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/** The Binaryen of the asc whose path is `asc`. */
export async function loadBinaryen(asc) {
  const { default: binaryen } = await import(pathToFileURL(createRequire(asc).resolve('binaryen')).href);
  return binaryen;
}

/** Lets `module` use what kernels use. */
export function setKernelFeatures(binaryen, module) {
  const { Features } = binaryen;
  module.setFeatures(
    Features.Atomics |
      Features.BulkMemory |
      Features.BulkMemoryOpt |
      Features.MutableGlobals |
      Features.NontrappingFPToInt |
      Features.SIMD128 |
      Features.SignExt,
  );
}
