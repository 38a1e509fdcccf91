import { closeSync, openSync, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { RingwayError } from '../util/errors.ts';
import { TEXT_BYTES_MAX } from './guard.ts';
import { addIssues } from './issues.ts';
import { normaliseConfig, normalisePort } from './normalise.ts';
import { applyOverrides } from './overrides.ts';
import { Problems } from './problems.ts';
import { checkReferences } from './references.ts';
import { NAME, NAME_ALLOWED } from './scalars.ts';
import { configSchema } from './schema.ts';
import { portSchema } from './schema-port.ts';
import { steeringSchema } from './schema-steering.ts';
import { xdp } from './schema-xdp.ts';
import { readTree } from './source.ts';
import type { Config, PortConfig, SteeringRule, XdpConfig } from './types.ts';

/** Where a configuration comes from, and what to change in it. */
export interface ParseOptions {
  /** The file that `text` came from: named in errors, and relative paths start from its directory. */
  readonly file: string;
  /** Overrides such as `ports.in.path=FILE`; relative paths in them start from the current directory. */
  readonly set?: readonly string[];
}

/**
 * Reads the YAML text of a configuration.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `file:line:col path: message`.
 */
export function parseConfig(text: string, options: ParseOptions): Config {
  const { file, set = [] } = options;
  const problems = new Problems();
  const source = readTree(text, file, dirname(resolve(file)), problems);
  if (source === undefined) throw problems.error();
  const tree = applyOverrides(source, set, process.cwd(), problems);
  const parsed = configSchema.safeParse(tree.value, { reportInput: true });
  if (!parsed.success) addIssues(parsed.error.issues, tree, [], problems);
  checkReferences(tree, problems);
  if (!parsed.success) throw problems.error();
  const config = normaliseConfig(parsed.data, file, tree, problems);
  if (problems.count > 0) throw problems.error();
  return config;
}

/** At most one byte more than a configuration may have, so that /dev/zero is refused as well. */
function readBytes(path: string): Uint8Array {
  const bytes = Buffer.alloc(TEXT_BYTES_MAX + 1);
  let length = 0;
  const descriptor = openSync(path, 'r');
  try {
    for (;;) {
      const got = readSync(descriptor, bytes, length, bytes.length - length, null);
      length += got;
      if (got === 0 || length === bytes.length) break;
    }
  } finally {
    closeSync(descriptor);
  }
  return bytes.subarray(0, length);
}

/**
 * The text of a YAML file.
 * @throws RingwayError `BAD_CONFIG` when it cannot be read, or is no text.
 */
export function readText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readBytes(path));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why: Record<string, string> = {
      ENOENT: 'there is no such file; check the path',
      EISDIR: 'is a directory; give the file in it',
      EACCES: 'must not be read; check its permissions',
      ERR_ENCODING_INVALID_ENCODED_DATA: 'is not UTF-8 text; a configuration is YAML',
    };
    throw new RingwayError('BAD_CONFIG', `${path}: ${why[code ?? ''] ?? (cause as Error).message}`, { cause });
  }
}

/**
 * Reads a configuration file.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `file:line:col path: message`.
 */
export function loadConfig(path: string, options: { readonly set?: readonly string[] } = {}): Config {
  return parseConfig(readText(path), { file: path, ...options });
}

/**
 * Reads one port, as `port add` hands it over. Whether its lcore exists is for the dataplane to check. A `PortConfig`
 * without its name is accepted too, and stays as it is.
 * @param directory where relative paths start.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `path: message`.
 */
export function parsePort(name: string, source: unknown, options: { readonly directory: string }): PortConfig {
  const { directory } = options;
  const problems = new Problems();
  const tree = { value: source, origin: { at: '', directory } };
  if (!NAME.test(name)) problems.add('', ['ports', name], `is not a port name; use ${NAME_ALLOWED}`);
  const parsed = portSchema.safeParse(source, { reportInput: true });
  if (!parsed.success) addIssues(parsed.error.issues, tree, ['ports', name], problems);
  if (!parsed.success || problems.count > 0) throw problems.error();
  return normalisePort(name, parsed.data, () => directory);
}

/**
 * Reads one port from `key=value` pairs such as `type=null` and `vlan.access=10`; relative paths start from the
 * current directory.
 * @throws as `parsePort` does.
 */
export function parsePortArguments(name: string, pairs: readonly string[]): PortConfig {
  const problems = new Problems();
  const directory = process.cwd();
  const empty = { value: Object.create(null), origin: { at: '', directory } };
  const tree = applyOverrides(empty, pairs, directory, problems, { flag: '', example: 'type=capture' });
  if (problems.count > 0) throw problems.error();
  return parsePort(name, tree.value, { directory });
}

/**
 * Reads a value that somebody typed: YAML, mostly in flow style.
 * @param what it is, for the error.
 * @throws RingwayError `BAD_CONFIG` when it is no YAML.
 */
export function parseValue(text: string, what: string): unknown {
  const problems = new Problems();
  const tree = readTree(text, what, process.cwd(), problems);
  if (tree === undefined || problems.count > 0) throw problems.error();
  return tree.value;
}

/**
 * Reads the XDP program of a port, as `xdp attach` hands it over: a path, or a mapping.
 * @param directory where a relative path starts.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `path: message`.
 */
export function parseXdp(source: unknown, options: { readonly directory: string }): XdpConfig {
  const { directory } = options;
  const parsed = xdp.safeParse(source, { reportInput: true });
  if (parsed.success) return { ...parsed.data, object: resolve(directory, parsed.data.object) };
  const problems = new Problems();
  addIssues(parsed.error.issues, { value: source, origin: { at: '', directory } }, ['xdp'], problems);
  throw problems.error();
}

/**
 * Reads one steering rule, with the keys it has in YAML. Whether its ports and lcores exist is for the dataplane to
 * check.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `path: message`.
 */
export function parseSteeringRule(source: unknown): SteeringRule {
  const parsed = steeringSchema.safeParse(source, { reportInput: true });
  if (parsed.success) return parsed.data;
  const problems = new Problems();
  addIssues(parsed.error.issues, { value: source, origin: { at: '', directory: '/' } }, ['rule'], problems);
  throw problems.error();
}
