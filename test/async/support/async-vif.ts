import type { Arena } from 'ringway/memory';
import { attachVifQueue, type VifQueueShare } from 'ringway/xen';
import type { CopyQueue, QueueCopies } from '#build/async/queue.js';
import { createTrack, type Track } from '#build/async/track.js';
import { attachAsyncVif, attachAsyncVifReceiver, createAsyncVif, enterVif, takeVif } from '#build/async/vif.js';
import type { DmaKernels } from '#build/dma/kernels.js';
import { VCHAN_COMPLETED } from '#build/dma/layout.js';
import { createVchan, openVchan } from '#build/dma/vchan.js';
import { type AttachBack, makeVif, type VifRigOptions } from '../../xen/support/vif-rig.ts';

export interface AsyncVifOptions extends Pick<VifRigOptions, 'path' | 'front'> {
  readonly threshold: number;
  /** Descriptors of the channel. */
  readonly descriptors?: number;
}

const FEATURES = { sg: true, csum: true, gsoTcpv4: true, gsoTcpv6: true };

/** What a backend keeps of a queue whose copies a channel does, in both directions. */
interface AsyncBack {
  readonly arena: Arena;
  readonly kernels: DmaKernels;
  readonly vchan: number;
  readonly track: Track;
  /** To the frontend, and from it: addresses, and what is done with them. */
  readonly to: { readonly address: number; readonly copies: CopyQueue };
  readonly from: { readonly address: number; readonly copies: QueueCopies };
  /** All that is under way arrives, or is dropped. */
  drain(): void;
}

/** Serves queues of backends whose copies, both ways, a channel does, when the test says so. */
export function asyncBacks({ threshold, descriptors = 64 }: Pick<AsyncVifOptions, 'threshold' | 'descriptors'>) {
  let made: AsyncBack | undefined;
  let serial = 0;
  /** Of the queue that was connected last. */
  const back = (): AsyncBack => made as AsyncBack;
  /** The engine does up to `max` copies. Returns how many it did. */
  const run = (max: number): number => back().kernels.dmaRunEngine(back().vchan, max);
  const attachBack: AttachBack = (arena, share: VifQueueShare, cache) => {
    const before = new Set(arena.regions().map(({ name }) => name));
    const capabilities = { sg: false, fill: false };
    const own = `channel ${serial++}`;
    const setup = { name: own, descriptors, priority: 0, capabilities, cpu: false, silent: false };
    const vchan = createVchan(arena, setup, { min: 32, max: 8192 });
    openVchan(arena, vchan, 0);
    const track = createTrack(arena, own, vchan);
    const create = (name: string, netq: number, sends: boolean): number =>
      createAsyncVif(arena, { name: `${own} ${name}`, netq, threshold, sends });
    const [to, from] = [create('to', share.rxQueue, true), create('from', share.txQueue, false)];
    const regions = arena.regions().flatMap(({ name }) => (before.has(name) ? [] : [name]));
    const hooks = [enterVif(arena, to), takeVif(arena, from)] as const;
    const { receiver, sender } = attachVifQueue(arena, share, cache, undefined, ...hooks);
    const queue: AsyncBack = {
      arena,
      kernels: arena.kernels<DmaKernels>(),
      vchan,
      track,
      to: { address: to, copies: attachAsyncVif(arena, to, sender) },
      from: { address: from, copies: attachAsyncVifReceiver(arena, from, receiver) },
      drain(): void {
        const both = [queue.to.copies, queue.from.copies];
        while (both.some((copies) => copies.inFlight() > 0)) {
          queue.kernels.dmaRunEngine(vchan, 32);
          for (const copies of both) copies.settle();
        }
      },
    };
    for (const { copies } of [queue.to, queue.from]) copies.use(track.address);
    made = queue;
    return {
      receiver,
      sender,
      detach() {
        queue.drain();
        for (const region of regions) arena.release(region);
      },
    };
  };
  return {
    attachBack,
    back,
    run,
    /** It fails at the next one, without writing anything. */
    fail(): void {
      const { arena, kernels, vchan } = back();
      if (kernels.dmaRunning(vchan) === 0) return;
      kernels.dmaFail(vchan, arena.u32[(vchan + VCHAN_COMPLETED) >>> 2] ?? 0, 10);
      kernels.dmaFinish(vchan, 1);
    },
    /** Ends what it has in flight in its place. Returns how many copies. */
    abort: (): number => back().kernels.dmaAbort(back().vchan),
  };
}

/** A Xen device whose backend has its copies, both ways, done by a channel, when the test says so. */
export async function makeAsyncVif({ path, front = {}, ...options }: AsyncVifOptions) {
  const { attachBack, ...backs } = asyncBacks(options);
  const rig = await makeVif({
    mode: 'plain',
    attachBack,
    front: { ...FEATURES, ...front },
    back: FEATURES,
    ...(path === undefined ? {} : { path }),
  });
  return { ...rig, ...backs };
}
