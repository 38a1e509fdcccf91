import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize, relative, resolve } from 'node:path';

/**
 * Where the source of an object is now: the path that the compiler wrote, from here; or the file of that name beside the
 * object. The compiler's path when it is at neither. Relative to the current folder when it lies in it.
 */
export function sourcePath(written: string, object: string): string {
  const beside = join(dirname(object), basename(written));
  const found = [written, beside].map((path) => resolve(path)).find((path) => existsSync(path));
  if (found === undefined) return normalize(written);
  const here = relative(process.cwd(), found);
  return here.startsWith('..') || isAbsolute(here) ? found : here;
}

/** The lines of a source file; undefined when it is not there, or cannot be read. */
export function sourceLines(path: string): string[] | undefined {
  try {
    return readFileSync(path, 'utf8').split(/\r?\n/);
  } catch {
    return undefined;
  }
}
