import { RingwayError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { show } from './problems.ts';
import { duration, NAME, oneOf, probability, rate, speed, truth } from './scalars.ts';
import { ageing, reserved } from './schema.ts';
import { integration } from './schema-async.ts';
import type { AsyncConfig, FaultConfig } from './types.ts';

/** What of a fault can change while it runs. */
export type FaultSetting = Partial<Omit<FaultConfig, 'seed'>>;

/** A change to a running dataplane, parsed: `key` tells what changes and what `value` is; undefined is no limit. */
export type Setting =
  | { readonly key: 'rate' | 'storm'; readonly port: string; readonly value: number | undefined }
  | { readonly key: 'speed'; readonly port: string; readonly value: 'full' | 'recorded' | number }
  | { readonly key: 'learn'; readonly port: string; readonly value: boolean }
  | { readonly key: 'link'; readonly port: string; readonly value: 'up' | 'down' }
  | { readonly key: 'fault'; readonly port: string; readonly value: FaultSetting }
  | { readonly key: 'integration'; readonly value: AsyncConfig['integration'] }
  | { readonly key: 'ageing'; readonly value: number }
  | { readonly key: 'reserved'; readonly value: 'drop' | 'forward' };

/** A path that can be set while a dataplane runs. */
export interface SettablePath {
  /** The path; `NAME` stands for a port's name. */
  readonly pattern: string;
  readonly description: string;
}

/** What a value is read with: part of a zod schema. */
interface Reader<T> {
  safeParse(
    value: unknown,
    options: { reportInput: true },
  ): { success: true; data: T } | { success: false; error: { issues: readonly { message: string }[] } };
}

/** @throws RingwayError `BAD_ARGUMENT` when `reader` refuses `text`. */
function read<T>(reader: Reader<T>, path: string, value: unknown): T {
  const result = reader.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw new RingwayError('BAD_ARGUMENT', `${path}: ${result.error.issues[0]?.message}`);
}

const RATE = rate('');
const SPEED = speed('');
const LEARN = truth('');
const LINK = oneOf('a state of a link', ['up', 'down'], '');
const PROBABILITY = probability('');
const DELAY = duration(0, 60, '0s to 60s', '');

function readLimit(path: string, text: string): number | undefined {
  return text === 'none' ? undefined : read(RATE, path, text);
}

interface Entry extends SettablePath {
  /** `port`: what stands for NAME in the pattern. */
  readonly read: (text: string, path: string, port: string) => Setting;
}

function faultEntry(part: keyof FaultSetting, description: string): Entry {
  const reader = part === 'delay' ? DELAY : PROBABILITY;
  return {
    pattern: `ports.NAME.fault.${part}`,
    description,
    read: (text, path, port) => ({ key: 'fault', port, value: { [part]: read(reader, path, text) } }),
  };
}

const ENTRIES: readonly Entry[] = [
  {
    pattern: 'ports.NAME.rate',
    description: "a generator's packets per second, such as 500kpps, or none for no limit",
    read: (text, path, port) => ({ key: 'rate', port, value: readLimit(path, text) }),
  },
  {
    pattern: 'ports.NAME.speed',
    description: "a capture's speed: full, recorded, or a factor such as 2x",
    read: (text, path, port) => ({ key: 'speed', port, value: read(SPEED, path, text) }),
  },
  {
    pattern: 'ports.NAME.storm',
    description: 'most flooded frames per second that enter, such as 1kpps, or none for no limit',
    read: (text, path, port) => ({ key: 'storm', port, value: readLimit(path, text) }),
  },
  {
    pattern: 'ports.NAME.learn',
    description: 'whether source MAC addresses are learned: true or false',
    read: (text, path, port) => {
      const value = read(LEARN, path, text === 'true' ? true : text === 'false' ? false : text);
      return { key: 'learn', port, value };
    },
  },
  {
    pattern: 'ports.NAME.link',
    description: 'whether the link of a guest or of a vhost-user port is up or down',
    read: (text, path, port) => ({ key: 'link', port, value: read(LINK, path, text) }),
  },
  faultEntry('loss', 'part of the packets that are lost, such as 0.01 or 1%'),
  faultEntry('duplicate', 'part of the packets that come twice'),
  faultEntry('reorder', 'part of the packets that come after their successor'),
  faultEntry('corrupt', 'part of the packets with a bit flipped'),
  faultEntry('delay', 'how long each packet is held, such as 10ms'),
  {
    pattern: 'async.integration',
    description: 'who notices that copies of engines are done: defer, v3, v4 or vq',
    read: (text, path) => ({ key: 'integration', value: read(integration, path, text) }),
  },
  {
    pattern: 'switch.ageing',
    description: 'when a MAC address that was not seen is forgotten, such as 300s',
    read: (text, path) => ({ key: 'ageing', value: read(ageing, path, text) }),
  },
  {
    pattern: 'switch.reserved',
    description: 'what becomes of frames to 01:80:c2:00:00:00 … 0f: drop or forward',
    read: (text, path) => ({ key: 'reserved', value: read(reserved, path, text) }),
  },
];

/** All paths that can be set while a dataplane runs. */
export const settablePaths: readonly SettablePath[] = ENTRIES;

/** The entry for `path`, and the port's name in it. */
function findEntry(path: string): { port: string; entry: Entry | undefined } {
  const [, port = '', key] = /^ports\.([^.]+)\.(.+)$/.exec(path) ?? [];
  const pattern = NAME.test(port) ? `ports.NAME.${key}` : path;
  return { port, entry: ENTRIES.find((entry) => entry.pattern === pattern) };
}

/** What can be set at `path`; undefined when nothing can. */
export function describePath(path: string): SettablePath | undefined {
  return findEntry(path).entry;
}

/**
 * Reads a change to a running dataplane, such as `ports.in.rate` and `500kpps`. Whether the port exists and is of a
 * kind that has the value is for the dataplane to check.
 * @throws RingwayError `BAD_ARGUMENT` when the path cannot be set while running, or the value is not allowed there.
 */
export function parseSetting(path: string, text: string): Setting {
  const { port, entry } = findEntry(path);
  if (entry !== undefined) return entry.read(text, path, port);
  const candidates = ENTRIES.map(({ pattern }) => pattern.replace('NAME', port || 'NAME'));
  // By the last key: two paths of one port are always near one another.
  const last = nearest(
    path.split('.').at(-1) ?? '',
    candidates.map((candidate) => candidate.split('.').at(-1) ?? ''),
  );
  const near = candidates.find((candidate) => candidate.endsWith(`.${last}`));
  const hint = near === undefined ? `use one of ${candidates.join(', ')}` : `did you mean ${JSON.stringify(near)}?`;
  throw new RingwayError('BAD_ARGUMENT', `${show(path)} cannot be set while running; ${hint}`);
}
