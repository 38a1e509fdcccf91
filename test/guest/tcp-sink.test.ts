import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TcpView } from 'ringway/packet';
import { expect, test } from 'vitest';
import { TcpSink } from '#build/guest/tcp-sink.js';
import { Random } from '#build/util/random.js';

const ADDRESSES = Uint8Array.of(10, 0, 0, 2, 10, 0, 0, 1);

/** A client that knows only what it sent and what came back. */
class Client {
  readonly sink = new TcpSink(1);
  next: number;
  acknowledged = 0;
  theirs = 0;
  flags = 0;

  constructor(first: number) {
    this.next = first;
  }

  /** Sends a segment; false when there is no answer. */
  send(flags: number, payload = 0, sequence = this.next, port = 5000): boolean {
    const bytes = new Uint8Array(100 + payload);
    const tcp = TcpView.create(bytes, 0, 20, payload);
    tcp.sourcePort = port;
    tcp.destinationPort = 80;
    tcp.sequence = sequence;
    tcp.acknowledgment = this.theirs;
    tcp.flags = flags;
    const length = this.sink.handle(tcp, ADDRESSES);
    if (length < 0) return false;
    const reply = TcpView.parse(bytes, 0, length) as TcpView;
    expect([reply.sourcePort, reply.destinationPort]).toEqual([80, port]);
    this.flags = reply.flags;
    this.acknowledged = reply.acknowledgment;
    if (reply.flags & (TCP_SYN | TCP_FIN)) this.theirs = (reply.sequence + 1) >>> 0;
    return true;
  }

  open(): void {
    expect(this.send(TCP_SYN)).toBe(true);
    expect(this.flags).toBe(TCP_SYN | TCP_ACK);
    this.next = (this.next + 1) >>> 0;
    expect(this.acknowledged).toBe(this.next);
    expect(this.send(TCP_ACK)).toBe(false);
  }
}

test.each([0, 1, 0xffff_fff0])('a connection that starts at %i opens, takes what it is sent, and closes', (first) => {
  const client = new Client(first);
  client.open();
  for (const bytes of [1, 100, 1460, 60_000]) {
    expect(client.send(TCP_ACK | TCP_PSH, bytes)).toBe(true);
    client.next = (client.next + bytes) >>> 0;
    expect([client.flags, client.acknowledged]).toEqual([TCP_ACK, client.next]);
  }
  expect(client.send(TCP_FIN | TCP_ACK)).toBe(true);
  expect([client.flags, client.acknowledged]).toEqual([TCP_FIN | TCP_ACK, (client.next + 1) >>> 0]);
  expect(client.sink.open).toBe(1);
  expect(client.send(TCP_ACK, 0, (client.next + 1) >>> 0)).toBe(false);
  expect([client.sink.open, client.sink.received, client.sink.opened]).toEqual([0, 61_561, 1]);
});

test('what comes twice counts once, and what comes too early is asked for again', () => {
  const client = new Client(1000);
  client.open();
  client.send(TCP_ACK, 100);
  client.send(TCP_ACK, 100, 1001 + 200);
  expect([client.flags, client.acknowledged]).toEqual([TCP_ACK, 1101]);
  client.send(TCP_ACK, 100, 1001);
  expect(client.acknowledged).toBe(1101);
  // The second half of this is new.
  client.send(TCP_ACK, 200, 1001);
  expect([client.acknowledged, client.sink.received]).toEqual([1201, 200]);
});

test('a segment of no connection is reset', () => {
  const client = new Client(7);
  client.theirs = 99;
  expect(client.send(TCP_ACK, 10)).toBe(true);
  expect(client.flags).toBe(TCP_RST);
  expect(client.send(TCP_FIN, 10)).toBe(true);
  expect([client.flags, client.acknowledged]).toEqual([TCP_RST | TCP_ACK, 18]);
  expect(client.send(TCP_RST)).toBe(false);
});

test('a reset ends a connection, and the oldest gives way to the 4,097th', () => {
  const client = new Client(1);
  client.open();
  expect(client.send(TCP_RST)).toBe(false);
  expect(client.sink.open).toBe(0);
  for (let port = 1; port <= 5000; port++) client.send(TCP_SYN, 0, 1, port);
  expect(client.sink.open).toBe(4096);
});

test('any order of segments leaves a sink that answers', () => {
  const random = new Random(5);
  const client = new Client(0);
  for (let i = 0; i < 20_000; i++) {
    client.send(
      random.below(64),
      random.below(50),
      random.below(2) === 0 ? client.next : random.next(),
      random.below(4),
    );
  }
  client.send(TCP_RST, 0, 0, 9);
  client.next = 5;
  expect(client.send(TCP_SYN, 0, 5, 9)).toBe(true);
  expect(client.sink.open).toBeLessThanOrEqual(5);
});
