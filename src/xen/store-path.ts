import { RingwayError } from '../util/errors.ts';

/** Bytes of a path at most, absolute and relative (io/xs_wire.h: XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX). */
const ABSOLUTE_MAX = 3072;
const RELATIVE_MAX = 2048;

const ERRORS = [
  'E2BIG',
  'EACCES',
  'EAGAIN',
  'EBUSY',
  'EEXIST',
  'EINVAL',
  'EISCONN',
  'ENOENT',
  'ENOSPC',
  'EPERM',
] as const;
/** Errors of xenstore, by their names in io/xs_wire.h. */
export type StoreErrorName = (typeof ERRORS)[number];

export function isStoreErrorName(name: string): name is StoreErrorName {
  return (ERRORS as readonly string[]).includes(name);
}

/** What xenstore answers when it refuses. */
export class StoreError extends RingwayError {
  readonly error: StoreErrorName;

  constructor(error: StoreErrorName, what: string) {
    super(error === 'ENOENT' ? 'NOT_FOUND' : 'BAD_REQUEST', `xenstore: ${what}: ${error}`);
    this.error = error;
  }
}

/**
 * The absolute path of `path` for domain `domid`: one that does not begin with a slash is below the domain's home.
 * @throws StoreError `EINVAL` when it is no path.
 */
export function absolutePath(path: string, domid: number): string {
  const isAbsolute = path.startsWith('/');
  const isBad =
    !/^[-/\w@]*$/.test(path) ||
    path.includes('//') ||
    (path.endsWith('/') && path !== '/') ||
    path === '' ||
    path.length > (isAbsolute ? ABSOLUTE_MAX : RELATIVE_MAX);
  if (isBad) throw new StoreError('EINVAL', JSON.stringify(path.slice(0, 80)));
  return isAbsolute ? path : `/local/domain/${domid}/${path}`;
}

/** The path of the directory that `path` is in. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

/** True when `path` is `root` or below it. */
export function isWithin(path: string, root: string): boolean {
  return path === root || root === '/' || path.startsWith(`${root}/`);
}
