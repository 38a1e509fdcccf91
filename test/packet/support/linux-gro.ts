import { CaptureWriter, readCapture } from 'ringway/packet';
import { Namespace } from '../../support/netns.ts';

/** What a receiver waits for more after the first frame of a burst: the whole burst is on its cable by then. */
const WAIT_MS = 300;
/** Frames that one poll of the receiver takes, with one in front. */
export const BURST_MAX = 62;
/** Between bursts: a frame of a protocol for experiments (IEEE 802, 0x88b5), with the burst's number. */
const MARK_TYPE = 0x88b5;

function mark(index: number): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, MARK_TYPE >> 8, MARK_TYPE & 255, index]);
  return frame;
}

const isMark = (frame: Uint8Array): boolean => frame[12] === MARK_TYPE >> 8 && frame[13] === (MARK_TYPE & 255);

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Linux's GRO at one end of a virtual cable. The first frame after a pause is polled at once, and sets off a timer, until which nothing else
 * is polled (`napi_defer_hard_irqs`, `gro_flush_timeout`): so all of a burst is in one poll.
 */
export class LinuxGro {
  readonly #sender = new Namespace();
  readonly #receiver = new Namespace();
  readonly #path: (name: string) => string;

  /** @param path gives names of files that may be written. */
  constructor(path: (name: string) => string) {
    this.#path = path;
    const { name } = this.#sender;
    this.#receiver.run('ip', 'link', 'add', 'name', 'port0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    for (const [namespace, end] of [
      [this.#sender, 'eth0'],
      [this.#receiver, 'port0'],
    ] as const) {
      namespace.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1');
      namespace.run('ip', 'link', 'set', end, 'arp', 'off', 'mtu', '2000', 'up');
    }
    // A virtual cable whose sender cuts by itself merges nothing.
    this.#sender.run('ethtool', '-K', 'eth0', 'tso', 'off');
    this.#receiver.run('ethtool', '-K', 'port0', 'gro', 'on');
    const set = (file: string, value: number): string =>
      this.#receiver.run('sh', '-c', `echo ${value} > /sys/class/net/port0/${file}`);
    set('napi_defer_hard_irqs', 1);
    set('gro_flush_timeout', WAIT_MS * 1e6);
  }

  /** Whether this Linux makes such interfaces, `type` being what `ip link add` takes: it merges behind their headers then. */
  knows(...type: readonly string[]): boolean {
    try {
      this.#receiver.run('ip', 'link', 'add', 'name', 'probe0', ...type);
    } catch {
      return false;
    }
    this.#receiver.run('ip', 'link', 'delete', 'probe0');
    return true;
  }

  /** Opens the port of VXLAN: Linux merges in its tunnels only where it listens. */
  listenToVxlan(): void {
    this.#receiver.run('ip', 'link', 'add', 'vxlan0', 'type', 'vxlan', 'external', 'dstport', '4789');
    this.#receiver.run('ip', 'link', 'set', 'vxlan0', 'up');
  }

  /** What becomes of each burst, in the order in which it is handed on. */
  async receive(bursts: readonly (readonly Uint8Array[])[]): Promise<Uint8Array[][]> {
    const file = this.#path('received.pcap');
    const capture = this.#receiver.start('dumpcap', 'dumpcap', '-q', '-P', '-i', 'port0', '-w', file);
    await capture.until('a capture', 20_000, () => (/File: /.test(capture.text) ? true : undefined));
    for (const [index, frames] of [...bursts, []].entries()) {
      if (frames.length > BURST_MAX) throw new Error(`a burst of ${frames.length} frames; ${BURST_MAX} at most`);
      const sent = this.#path(`sent-${index}.pcap`);
      const writer = new CaptureWriter(sent);
      for (const frame of [mark(index), ...frames]) writer.write(frame, { seconds: index, nanoseconds: 0 });
      writer.close();
      this.#sender.run('tcpreplay', '-q', '-K', '-t', '-i', 'eth0', sent);
      // One wait until the burst is polled, one until what is held is let go, and one more.
      await sleep(3 * WAIT_MS);
    }
    const out: Uint8Array[][] = [];
    await capture.until('the last mark', 20_000, () => {
      out.length = 0;
      try {
        for (const { frame } of readCapture(file)) {
          if (isMark(frame)) out.push([]);
          else out.at(-1)?.push(Uint8Array.from(frame));
        }
      } catch {
        // It is still being written.
        return undefined;
      }
      return out.length > bursts.length ? true : undefined;
    });
    await capture.kill();
    return out.slice(0, bursts.length);
  }

  remove(): void {
    this.#sender.remove();
    this.#receiver.remove();
  }
}
