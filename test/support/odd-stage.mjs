// A stage that does what a stage may do, and what it must not. Options: drop (0 to 1: packets that do not go on),
// spinUs (microseconds that a packet takes), slow (how many times as long those of the first flows take), after (calls
// before it goes wrong), fail ('throw', or the number that it returns), make ('throw' or 'nothing').
export default async function stage({ arena, lcore }, { drop = 0, spinUs = 0, slow = 1, after = 0, fail, make }) {
  if (make === 'throw') throw new Error('no stage today');
  if (make === 'nothing') return {};
  const { u8, u32 } = arena;
  let calls = 0;
  let random = 1 + lcore;
  const happens = (probability) => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return random / 2 ** 32 < probability;
  };
  const slots = new Uint8Array(32 * 16);

  /** Puts the packets that go on first, in their order. */
  function select(at, count) {
    const burst = u8.subarray(at, at + count * 16);
    slots.set(burst);
    const isDropped = Array.from({ length: count }, () => happens(drop));
    let kept = 0;
    for (const last of [false, true]) {
      for (let i = 0; i < count; i++) {
        if (isDropped[i] === last) burst.set(slots.subarray(i * 16, i * 16 + 16), 16 * kept++);
      }
    }
    return isDropped.filter((dropped) => !dropped).length;
  }

  function spin(at, count) {
    let us = 0;
    // SLOT_FLOW: what a flow's packets cost is the flow's.
    for (let i = 0; i < count; i++) us += u32[(at + i * 16 + 8) >>> 2] % 4 === 0 ? spinUs * slow : spinUs;
    for (const end = performance.now() + us / 1000; performance.now() < end; );
  }

  return {
    handle(at, count) {
      if (fail !== undefined && calls++ >= after) {
        if (fail === 'throw') throw new Error('the stage went wrong');
        return fail;
      }
      if (spinUs > 0) spin(at, count);
      return drop > 0 ? select(at, count) : count;
    },
  };
}
