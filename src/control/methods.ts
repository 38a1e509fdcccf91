import { steeringSource } from '../config/index.ts';
import { prometheusText } from '../telemetry/prometheus.ts';
import { RingwayError } from '../util/errors.ts';
import { suggest } from '../util/nearest.ts';
import type { Request } from './protocol.ts';
import type { ControlTarget } from './target.ts';

type Params = Request['params'];

/** What a method that streams may do: send events, and know when nobody listens any more. */
export interface Stream {
  /** Sends an event; false when it was dropped because the client reads too slowly. */
  send(event: unknown): boolean;
  /** Aborted when the client went away or the server closes. */
  readonly signal: AbortSignal;
}

type Method = (target: ControlTarget, params: Params, stream: Stream) => unknown;

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** @throws RingwayError `BAD_REQUEST` when `params[key]` is not text of 1 to 4096 characters. */
function textOf(params: Params, key: string): string {
  const value = Object.hasOwn(params, key) ? params[key] : undefined;
  if (typeof value === 'string' && value.length >= 1 && value.length <= 4096) return value;
  throw new RingwayError('BAD_REQUEST', `params.${key}: ${show(value)} is not text of 1 to 4096 characters`);
}

/** @throws RingwayError `BAD_REQUEST` when `params[key]` is not a whole number of at least `min`. */
function wholeOf(params: Params, key: string, min: number): number {
  const value = Object.hasOwn(params, key) ? params[key] : undefined;
  if (Number.isSafeInteger(value) && (value as number) >= min) return value as number;
  throw new RingwayError('BAD_REQUEST', `params.${key}: ${show(value)} is not a whole number from ${min}`);
}

/** Sends a line a packet; ends after `limit` lines, or when the client goes away. */
function trace(target: ControlTarget, params: Params, stream: Stream): Promise<{ packets: number; dropped: number }> {
  const port = textOf(params, 'port');
  const limit = params.limit === undefined ? Number.POSITIVE_INFINITY : wholeOf(params, 'limit', 1);
  const filter = params.filter === undefined ? '' : textOf(params, 'filter');
  return new Promise((resolve) => {
    let packets = 0;
    let dropped = 0;
    let stop: (() => void) | undefined;
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      stop?.();
      stream.signal.removeEventListener('abort', end);
      resolve({ packets, dropped });
    };
    stream.signal.addEventListener('abort', end);
    stop = target.trace(port, (line) => {
      if (ended || !line.includes(filter)) return;
      if (stream.send({ line })) packets++;
      else dropped++;
      if (packets >= limit) end();
    });
    // The target may have called back already, before there was anything to stop.
    if (ended) stop();
    if (stream.signal.aborted) end();
  });
}

/** Sends what XDP programs say, until the client goes away. */
function watchXdp(target: ControlTarget, _params: Params, stream: Stream): Promise<{ dropped: number }> {
  return new Promise((resolve) => {
    let dropped = 0;
    const stop = target.watchXdp((report) => {
      if (!stream.send(report)) dropped++;
    });
    const end = (): void => {
      stop();
      resolve({ dropped });
    };
    if (stream.signal.aborted) end();
    else stream.signal.addEventListener('abort', end, { once: true });
  });
}

const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ['stats', (target) => target.snapshot()],
  ['prometheus', (target) => prometheusText(target.snapshot())],
  ['set', (target, params) => target.set(textOf(params, 'path'), textOf(params, 'value'))],
  ['port.add', (target, params) => target.addPort(textOf(params, 'name'), params.config)],
  ['port.del', (target, params) => target.deletePort(textOf(params, 'name'))],
  ['steer.add', async (target, params) => ({ id: await target.addSteering(params.rule) })],
  ['steer.del', (target, params) => target.deleteSteering(wholeOf(params, 'id', 0))],
  [
    'steer.list',
    (target) => target.listSteering().map(({ id, rule, hits }) => ({ id, rule: steeringSource(rule), hits })),
  ],
  ['xdp.attach', (target, params) => target.attachXdp(textOf(params, 'port'), params.program)],
  ['xdp.detach', (target, params) => target.detachXdp(textOf(params, 'port'))],
  ['xdp.list', (target) => target.listXdp()],
  ['xdp.watch', watchXdp],
  ['map.list', (target) => target.listMaps()],
  ['map.dump', (target, params) => target.dumpMap(textOf(params, 'map'))],
  ['map.update', (target, params) => target.updateMap(textOf(params, 'map'), params.key, params.value)],
  ['map.delete', (target, params) => target.deleteMapEntry(textOf(params, 'map'), params.key)],
  ['trace', trace],
  ['stop', (target) => target.requestStop()],
]);

/**
 * Does what `request` asks. Resolves with the result.
 * @throws RingwayError `BAD_REQUEST` on an unknown method or bad parameters, and whatever the target throws.
 */
export async function callMethod(target: ControlTarget, request: Request, stream: Stream): Promise<unknown> {
  const method = METHODS.get(request.method);
  if (method === undefined) {
    const hint = suggest(request.method, [...METHODS.keys()]);
    throw new RingwayError('BAD_REQUEST', `method ${show(request.method)} is unknown; ${hint}`);
  }
  return (await method(target, request.params, stream)) ?? {};
}

/**
 * Reads a line from a client.
 * @throws RingwayError `BAD_REQUEST` when it is no request.
 */
export function readRequest(line: string): Request {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new RingwayError('BAD_REQUEST', `${show(line)} is not JSON; send {"id":1,"method":"stats"} and a line feed`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RingwayError('BAD_REQUEST', `${show(value)} is not a request; send {"id":1,"method":"stats"}`);
  }
  const { id, method, params = {} } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(id) || (id as number) < 0) {
    throw new RingwayError('BAD_REQUEST', `id: ${show(id)} is not a whole number from 0`);
  }
  if (typeof method !== 'string') throw new RingwayError('BAD_REQUEST', `method: ${show(method)} is not text`);
  if (typeof params !== 'object' || params === null || Array.isArray(params)) {
    throw new RingwayError('BAD_REQUEST', `params: ${show(params)} is not an object`);
  }
  return { id: id as number, method, params: params as Params };
}
