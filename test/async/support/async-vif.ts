import { attachVifQueue, type VifQueueShare } from 'ringway/xen';
import type { CopyQueue } from '#build/async/queue.js';
import { createTrack, type Track } from '#build/async/track.js';
import { attachAsyncVif, createAsyncVif, enterVif } from '#build/async/vif.js';
import type { DmaKernels } from '#build/dma/kernels.js';
import { createVchan, openVchan } from '#build/dma/vchan.js';
import { makeVif, type VifRigOptions } from '../../xen/support/vif-rig.ts';

export interface AsyncVifOptions extends Pick<VifRigOptions, 'path' | 'front'> {
  readonly threshold: number;
  /** Descriptors of the channel. */
  readonly descriptors?: number;
}

const FEATURES = { sg: true, csum: true, gsoTcpv4: true, gsoTcpv6: true };

/** A Xen device whose backend has its copies to the frontend done by a channel, when the test says so. */
export async function makeAsyncVif({ path, threshold, descriptors = 64, front = {} }: AsyncVifOptions) {
  let [address, vchan] = [0, 0];
  let track: Track | undefined;
  let async: CopyQueue | undefined;
  const attachBack: typeof attachVifQueue = (arena, share: VifQueueShare, cache) => {
    const capabilities = { sg: false, fill: false };
    const setup = { name: 'channel', descriptors, priority: 0, capabilities, cpu: false, silent: false };
    vchan = createVchan(arena, setup, { min: 32, max: 8192 });
    openVchan(arena, vchan, 0);
    track = createTrack(arena, 'channel', vchan);
    address = createAsyncVif(arena, { name: 'copies', netq: share.rxQueue, threshold, sends: true });
    const { receiver, sender } = attachVifQueue(arena, share, cache, undefined, enterVif(arena, address));
    async = attachAsyncVif(arena, address, sender);
    async.use(track.address);
    return { receiver, sender };
  };
  const rig = await makeVif({
    mode: 'plain',
    attachBack,
    front: { ...FEATURES, ...front },
    back: FEATURES,
    ...(path === undefined ? {} : { path }),
  });
  const kernels = rig.arena.kernels<DmaKernels>();
  return {
    ...rig,
    /** Address of what the queue keeps. */
    get address() {
      return address;
    },
    get vchan() {
      return vchan;
    },
    get track() {
      return track as Track;
    },
    get async() {
      return async as CopyQueue;
    },
    /** The engine does up to `max` copies. Returns how many it did. */
    run: (max: number): number => kernels.dmaRunEngine(vchan, max),
    /** It fails at the next one, without writing anything. */
    fail(): void {
      if (kernels.dmaRunning(vchan) === 0) return;
      kernels.dmaFail(vchan, rig.arena.u32[(vchan + 384) >>> 2] ?? 0, 10);
      kernels.dmaFinish(vchan, 1);
    },
    /** Ends what it has in flight in its place. Returns how many copies. */
    abort: (): number => kernels.dmaAbort(vchan),
  };
}
