import { createArena } from '../../memory/arena.ts';
import { RingwayError } from '../../util/errors.ts';
import { BLOCK_FEATURE_NAMES } from '../../virtio/block-config.ts';
import { featureMask, featureNames } from '../../virtio/features.ts';
import { NET_FEATURE_NAMES } from '../../virtio/net-features.ts';
import { protocolFeatureNames, VHOST_F_LOG_ALL } from '../protocol.ts';
import { Bench } from './bench.ts';
import { type Check, CheckFailed, CheckSkipped, type DeviceType } from './check.ts';
import { DEVICE_CHECKS } from './device-checks.ts';
import { HOSTILE_CHECKS } from './hostile-checks.ts';
import { MEMORY_CHECKS } from './memory-checks.ts';
import { PROTOCOL_CHECKS } from './protocol-checks.ts';
import { RING_CHECKS } from './ring-checks.ts';

/** All checks, in the order in which they are made. */
export const CHECKS: readonly Check[] = [
  ...PROTOCOL_CHECKS,
  ...RING_CHECKS,
  ...MEMORY_CHECKS,
  ...DEVICE_CHECKS,
  ...HOSTILE_CHECKS,
];

/** What a check found. */
export interface CheckResult {
  readonly name: string;
  readonly section: string;
  readonly status: 'PASS' | 'FAIL' | 'SKIP';
  /** Of a failure: what should have happened, and what did. */
  readonly expected?: string;
  readonly came?: string;
  /** Why it was not made. */
  readonly missing?: string;
}

export interface ConformanceOptions {
  /** Path at which the backend listens. */
  readonly socket: string;
  readonly type: DeviceType;
  /** Names of the checks to make, or beginnings of them that end in `*`; all, left out. */
  readonly only?: readonly string[];
  /** Milliseconds within which a message is answered, also on a machine that is busy: 2000, left out. */
  readonly answerMs?: number;
  readonly onResult?: (result: CheckResult) => void;
}

/** Memory for one check: the guest's, what it maps, and ours. */
const ARENA_BYTES = 32 << 20;
/** A check that takes longer has failed: what it waits for has limits of its own. */
const CHECK_MS = 10_000;

const NAMES = { net: NET_FEATURE_NAMES, block: BLOCK_FEATURE_NAMES };

/** What of `needs` the backend does not offer. */
function missingOf(check: Check, type: DeviceType, offered: Offered): string | undefined {
  if (check.type !== undefined && check.type !== type) return `a ${check.type} device`;
  const { features = [], protocol = [] } = check.needs ?? {};
  const missing = featureMask(...features) & ~offered.features;
  const names = [
    ...featureNames(missing, NAMES[type]).map((name) => (name === `bit ${VHOST_F_LOG_ALL}` ? 'VHOST_F_LOG_ALL' : name)),
    ...protocolFeatureNames(featureMask(...protocol) & ~offered.protocol).map((name) => `PROTOCOL_F_${name}`),
  ];
  return names.length === 0 ? undefined : names.join(', ');
}

interface Offered {
  readonly features: bigint;
  readonly protocol: bigint;
}

/** Connects like anybody, and asks what is offered. */
async function ask(bench: Bench): Promise<Offered> {
  const frontend = await bench.connect();
  await frontend.greet();
  return { features: frontend.offered, protocol: frontend.offeredProtocol };
}

/** As `ask`, of whoever comes after a frontend that broke the rules. */
async function askNext(bench: Bench): Promise<void> {
  try {
    await ask(bench);
  } catch (error) {
    if (!(error instanceof CheckFailed)) throw error;
    throw new CheckFailed(`the next frontend to be served: ${error.expected}`, error.came);
  }
}

function chosen(only: readonly string[] | undefined): readonly Check[] {
  if (only === undefined) return CHECKS;
  const matches = (pattern: string, name: string): boolean =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
  const unknown = only.find((pattern) => !CHECKS.some(({ name }) => matches(pattern, name)));
  if (unknown !== undefined) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `--only ${unknown}: there is no such check; there are ${CHECKS.map(({ name }) => name).join(', ')}`,
    );
  }
  return CHECKS.filter(({ name }) => only.some((pattern) => matches(pattern, name)));
}

function limited(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new CheckFailed(`an end within ${CHECK_MS} ms`, 'none')), CHECK_MS);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

/** What failed; anything that is not a check's finding is a bug of ours. */
function findingOf(error: unknown): Pick<CheckResult, 'status' | 'expected' | 'came' | 'missing'> {
  if (error instanceof CheckFailed) return { status: 'FAIL', expected: error.expected, came: error.came };
  if (error instanceof CheckSkipped) return { status: 'SKIP', missing: error.message };
  throw error;
}

/**
 * Makes all checks of a backend, one after the other.
 * @throws RingwayError `BAD_ARGUMENT` for a check that there is not, `NOT_FOUND` when nobody listens, `UNSUPPORTED`.
 */
export async function checkBackend(options: ConformanceOptions): Promise<CheckResult[]> {
  const { socket, type, only, answerMs = 2000, onResult } = options;
  const checks = chosen(only);
  const arena = createArena({ bytes: ARENA_BYTES });
  const inBench = async <T>(work: (bench: Bench) => Promise<T>): Promise<T> => {
    const bench = new Bench(socket, type, arena, answerMs);
    try {
      return await work(bench);
    } finally {
      bench.close();
    }
  };
  let offered: Offered;
  try {
    offered = await inBench(ask);
  } catch (error) {
    if (!(error instanceof CheckFailed)) throw error;
    throw new RingwayError('NOT_FOUND', `${socket}: no vhost-user backend: ${error.message}`);
  }
  const makeCheck = async (check: Check): Promise<CheckResult> => {
    const { name, section } = check;
    const missing = missingOf(check, type, offered);
    if (missing !== undefined) return { name, section, status: 'SKIP', missing };
    try {
      await inBench((bench) => limited(check.run(bench)));
      if (check.hostile) await inBench(askNext);
      return { name, section, status: 'PASS' };
    } catch (error) {
      return { name, section, ...findingOf(error) };
    }
  };
  const isAlive = async (): Promise<boolean> => {
    try {
      await inBench(ask);
      return true;
    } catch (error) {
      if (error instanceof CheckFailed) return false;
      throw error;
    }
  };
  const results: CheckResult[] = [];
  /** The check that the backend did not survive. */
  let last: string | undefined;
  for (const check of checks) {
    const { name, section } = check;
    const gone = `a backend that answers; this one does not since ${last}`;
    const result: CheckResult =
      last === undefined ? await makeCheck(check) : { name, section, status: 'SKIP', missing: gone };
    results.push(result);
    onResult?.(result);
    if (result.status === 'FAIL' && !(await isAlive())) last = name;
  }
  return results;
}

/** A result as a line, and more lines for a failure. */
export function formatResult({ name, section, status, expected, came, missing }: CheckResult): string {
  const line = `${status}  ${name}`;
  if (status === 'PASS') return line;
  if (status === 'SKIP') return `${line}: needs ${missing}`;
  return `${line}\n      ${section}\n      expected ${expected}\n      came     ${came}`;
}

/** The last line of a report. */
export function formatTotals(results: readonly CheckResult[]): string {
  const count = (status: CheckResult['status']): number => results.filter((result) => result.status === status).length;
  return `${count('PASS')} passed, ${count('FAIL')} failed, ${count('SKIP')} skipped`;
}
