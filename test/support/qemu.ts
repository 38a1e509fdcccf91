import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestImage } from './guest-image.ts';
import { guestKernel } from './guest-kernel.ts';
import { type CommandResult, GuestShell } from './guest-shell.ts';
import { Program } from './program.ts';
import { listen, Qmp, type QmpEvent } from './qmp.ts';

/** A network device of a guest, whose other side is at a socket. What is left out is as QEMU has it. */
export interface GuestNetdev {
  readonly socket: string;
  /** QEMU listens at the socket, and boots when somebody has come. */
  readonly server?: boolean;
  /** Seconds after which QEMU tries again to connect. */
  readonly reconnect?: number;
  readonly mac: string;
  readonly packed?: boolean;
  /** Pairs of queues. The guest uses as many as it has CPUs. */
  readonly queues?: number;
  readonly mrgRxbuf?: boolean;
  readonly eventIdx?: boolean;
  readonly indirect?: boolean;
  /** The device may get frames without a checksum, and give such. */
  readonly csum?: boolean;
  /** The device may get frames that it is to segment, and give such. */
  readonly tso?: boolean;
  /** Words at the end of `-device virtio-net-pci,…`. */
  readonly extra?: readonly string[];
}

/** A disk of a guest, whose other side is at a socket. */
export interface GuestDisk {
  readonly socket: string;
  readonly packed?: boolean;
  readonly queues?: number;
  readonly reconnect?: number;
}

/** What a machine boots: in the end, a Linux whose first program is that of `guestImage`. */
export interface GuestBoot {
  readonly image: Uint8Array;
  /** Options of QEMU: processor and kernel. `initramfs` is the path of the image. */
  args(initramfs: string): readonly string[];
}

export interface GuestOptions {
  readonly name: string;
  readonly memoryMb?: number;
  readonly cpus?: number;
  readonly netdevs?: readonly GuestNetdev[];
  readonly disks?: readonly GuestDisk[];
  /** Where the guest's state comes from, such as `unix:PATH`: it does not boot. */
  readonly incoming?: string;
  /** Programs of this machine that it has too, with their libraries. */
  readonly programs?: readonly string[];
  /** What it boots: a Linux with `programs` by default. */
  readonly boot?: GuestBoot;
  /** Options of QEMU behind all others. */
  readonly extra?: readonly string[];
  readonly bootMs?: number;
  /** QEMU is ended after this time. */
  readonly lifeMs?: number;
}

const onOff = (name: string, value: boolean | undefined): string[] =>
  value === undefined ? [] : [`${name}=${value ? 'on' : 'off'}`];

const socketOf = (id: string, { socket, server, reconnect }: GuestNetdev): string => {
  const how = server ? ',server=on' : reconnect === undefined ? '' : `,reconnect=${reconnect}`;
  return `socket,id=${id},path=${socket}${how}`;
};

/** No interrupt vectors, as QEMU 7.2 crashes with them under emulation: each device has one interrupt line. */
const PCI = ['romfile=', 'disable-legacy=on', 'vectors=0'];

function netdevArgs(netdev: GuestNetdev, index: number): string[] {
  const { mac, packed, queues = 1, mrgRxbuf, eventIdx, indirect, csum, tso, extra = [] } = netdev;
  const device = [
    'virtio-net-pci',
    `netdev=net${index}`,
    `id=nic${index}`,
    `mac=${mac}`,
    ...PCI,
    ...(queues > 1 ? ['mq=on'] : []),
    ...onOff('packed', packed),
    ...onOff('mrg_rxbuf', mrgRxbuf),
    ...onOff('event_idx', eventIdx),
    ...onOff('indirect_desc', indirect),
    ...['csum', 'guest_csum'].flatMap((name) => onOff(name, csum)),
    ...['host_tso4', 'host_tso6', 'guest_tso4', 'guest_tso6'].flatMap((name) => onOff(name, tso)),
    ...extra,
  ];
  return [
    ...['-chardev', socketOf(`net-socket${index}`, netdev)],
    ...['-netdev', `vhost-user,id=net${index},chardev=net-socket${index},queues=${queues}`],
    ...['-device', device.join(',')],
  ];
}

function diskArgs({ socket, packed, queues = 1, reconnect }: GuestDisk, index: number): string[] {
  const device = ['vhost-user-blk-pci', `chardev=disk-socket${index}`, `id=disk${index}`, ...PCI];
  return [
    ...['-chardev', socketOf(`disk-socket${index}`, { socket, mac: '', ...(reconnect ? { reconnect } : {}) })],
    ...['-device', [...device, `num-queues=${queues}`, ...onOff('packed', packed)].join(',')],
  ];
}

const APPEND = 'console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check cryptomgr.notests';

function linuxBoot(programs: readonly string[]): GuestBoot {
  const kernel = guestKernel();
  return {
    image: guestImage(kernel, { programs }),
    args: (initramfs) => ['-cpu', 'max', '-kernel', kernel.image, '-initrd', initramfs, '-append', APPEND],
  };
}

/** A Linux that runs in QEMU, without the help of the machine's processor. */
export class Guest {
  readonly name: string;
  /** QEMU. */
  readonly program: Program;
  readonly #shell: GuestShell;
  readonly #qmp: Qmp;

  constructor(name: string, program: Program, shell: GuestShell, qmp: Qmp) {
    this.name = name;
    this.program = program;
    this.#shell = shell;
    this.#qmp = qmp;
  }

  /** Has the guest's shell run a command, beside others. Throws when it takes longer than `timeoutMs`. */
  async run(command: string, timeoutMs = 60_000): Promise<CommandResult> {
    let result: CommandResult | undefined;
    this.#shell.run(command).then((answer) => {
      result = answer;
    });
    return this.program.until(`answer to '${command}'`, timeoutMs, () => result);
  }

  /** As `run`, for a command that must succeed: returns what it wrote, without the end of the last line. */
  async must(command: string, timeoutMs?: number): Promise<string> {
    const { code, output } = await this.run(command, timeoutMs);
    if (code !== 0) throw this.program.error(`'${command}' gives ${code}: ${output}`);
    return output.trimEnd();
  }

  /** Has QEMU's monitor execute a command; returns what it returns. */
  monitor(command: string, values?: Record<string, unknown>): Promise<unknown> {
    return this.#qmp.execute(command, values);
  }

  /** What QEMU's monitor told unasked, the first first. */
  get events(): readonly QmpEvent[] {
    return this.#qmp.events;
  }

  /** What the guest's console and QEMU wrote. */
  log(): string {
    return this.program.text;
  }

  /** Ends QEMU as a crash would. */
  kill(): Promise<void> {
    return this.program.kill();
  }

  /** Has QEMU stop its devices and end. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.program.kill(), 5000);
    // It may be gone before it has answered.
    await this.monitor('quit').catch(() => {});
    await this.program.ended;
    clearTimeout(timer);
  }
}

/**
 * Boots a guest whose shell takes commands; with `incoming`, one that waits for its state. Throws with what QEMU and the
 * guest wrote when that fails. About three seconds on a machine that does nothing else.
 */
export async function bootGuest(options: GuestOptions): Promise<Guest> {
  const { name, memoryMb = 192, cpus = 1, netdevs = [], disks = [], programs = [], extra = [], incoming } = options;
  const { bootMs = 60_000, lifeMs } = options;
  const boot = options.boot ?? linuxBoot(programs);
  const folder = mkdtempSync(join(tmpdir(), 'ringway-guest-'));
  const at = (file: string): string => join(folder, file);
  writeFileSync(at('initramfs'), boot.image);
  const [shell, monitor] = [await listen(at('shell.sock')), await listen(at('monitor.sock'))];
  const args = [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-accel', 'tcg,thread=multi', '-smp', `${cpus}`, '-m', `${memoryMb}`],
    // The other side of a vhost-user device has to map the memory.
    ...['-object', `memory-backend-memfd,id=memory,size=${memoryMb}M,share=on`, '-machine', 'pc,memory-backend=memory'],
    ...boot.args(at('initramfs')),
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=monitor,path=${at('monitor.sock')}`, '-mon', 'chardev=monitor,mode=control'],
    ...netdevs.flatMap(netdevArgs),
    ...disks.flatMap(diskArgs),
    ...['-chardev', `socket,id=shell,path=${at('shell.sock')}`, '-device', 'virtio-serial-pci,disable-legacy=on'],
    ...['-device', 'virtserialport,chardev=shell,nr=1'],
    ...(incoming === undefined ? [] : ['-incoming', incoming]),
    ...extra,
  ];
  const program = new Program(`guest ${name}`, 'qemu-system-x86_64', args, lifeMs);
  program.ended.then(() => {
    for (const { server } of [shell, monitor]) server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  let guest: Guest | undefined;
  let failure: Error | undefined;
  const meet = async (): Promise<void> => {
    const guestShell = new GuestShell(await shell.connected);
    const ready = guestShell.answer('ready');
    const made = new Guest(name, program, guestShell, await Qmp.over(await monitor.connected));
    if (incoming === undefined) await ready;
    guest = made;
  };
  meet().catch((error) => {
    failure = error;
  });
  try {
    return await program.until('ready guest', bootMs, () => {
      if (failure !== undefined) throw program.error(failure.message);
      return guest;
    });
  } catch (error) {
    await program.kill();
    throw error;
  }
}
