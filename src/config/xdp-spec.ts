import { dirname, resolve } from 'node:path';
import { buildFrame, type FrameRepr } from '../packet/builder.ts';
import { RingwayError } from '../util/errors.ts';
import { PACKET_MAX, PACKET_MIN } from '../xdp/run.ts';
import type { SpecPacket, XdpSpec } from '../xdp/spec/spec.ts';
import { addIssues } from './issues.ts';
import { readText } from './load.ts';
import { formatPath, type Path, Problems } from './problems.ts';
import { type ParsedXdpSpec, xdpSpecSchema } from './schema-xdp-spec.ts';
import { locate, readTree, type Tree } from './source.ts';

type ParsedPacket = ParsedXdpSpec['tests'][number]['packets'][number];

/** Turns what the schema accepted into what runs: frames into bytes, paths into absolute ones. */
class SpecReader {
  readonly #tree: Tree;
  readonly #problems: Problems;

  constructor(tree: Tree, problems: Problems) {
    this.#tree = tree;
    this.#problems = problems;
  }

  placeOf(path: Path): string {
    return locate(this.#tree.origin, path).at;
  }

  path(given: string): string {
    return resolve(this.#tree.origin.directory, given);
  }

  /** The bytes of a packet; none, with a problem, when a frame cannot be made or is no packet for a program. */
  #bytes(given: Uint8Array | FrameRepr, path: Path): Uint8Array {
    try {
      const bytes = given instanceof Uint8Array ? given : buildFrame(given);
      if (bytes.length >= PACKET_MIN && bytes.length <= PACKET_MAX) return bytes;
      const allowed = `must have ${PACKET_MIN} to ${PACKET_MAX}: it begins with its Ethernet header`;
      this.#problems.add(this.placeOf(path), path, `is a packet of ${bytes.length} bytes, ${allowed}`);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      this.#problems.add(this.placeOf(path), path, error.message);
    }
    return new Uint8Array(0);
  }

  packet(given: ParsedPacket, path: Path): SpecPacket {
    const { in: packet, capture, frame, out, outCapture, ifindex, rxQueue, egressIfindex, cpu, ...rest } = given;
    const source =
      packet === undefined
        ? { capture: this.path(capture ?? ''), ...(frame === undefined ? {} : { frame }) }
        : this.#bytes(packet, [...path, 'in']);
    const leaves =
      outCapture !== undefined
        ? { out: { capture: this.path(outCapture) } }
        : out === undefined
          ? {}
          : { out: out === 'same' ? out : this.#bytes(out, [...path, 'out']) };
    return { ...rest, in: source, ...leaves, from: { ifindex, rxQueue, egressIfindex, cpu } };
  }
}

/**
 * Reads the YAML text of a file of XDP tests.
 * @param file what errors name; paths in it start from its directory.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `file:line:col path: message`.
 */
export function parseXdpSpec(text: string, file: string): XdpSpec {
  const problems = new Problems();
  const tree = readTree(text, file, dirname(resolve(file)), problems);
  if (tree === undefined) throw problems.error();
  const parsed = xdpSpecSchema.safeParse(tree.value, { reportInput: true });
  if (!parsed.success) {
    addIssues(parsed.error.issues, tree, [], problems);
    throw problems.error();
  }
  const reader = new SpecReader(tree, problems);
  const tests = parsed.data.tests.map((test, index) => ({
    ...test,
    packets: test.packets.map((packet, at) => reader.packet(packet, ['tests', index, 'packets', at])),
  }));
  if (problems.count > 0) throw problems.error();
  const { object } = parsed.data;
  const placeOf = (path: Path): string => `${reader.placeOf(path)} ${formatPath(path)}`;
  return { ...parsed.data, file, object: reader.path(object), tests, placeOf };
}

/**
 * Reads a file of XDP tests.
 * @throws RingwayError `BAD_CONFIG` with all errors, one a line: `file:line:col path: message`.
 */
export function loadXdpSpec(path: string): XdpSpec {
  return parseXdpSpec(readText(path), path);
}
