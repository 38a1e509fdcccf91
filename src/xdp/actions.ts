import {
  FAULT_ALIGNMENT,
  FAULT_FUEL,
  FAULT_HELPER,
  FAULT_LOCK,
  FAULT_MAP,
  FAULT_MEMORY,
  FAULT_STACK,
} from '../bpf/layout.ts';

/** What a program says of a packet (Linux enum xdp_action). */
export type XdpAction = 'ABORTED' | 'DROP' | 'PASS' | 'TX' | 'REDIRECT';

/** The actions by their numbers, 0 to 4. */
export const XDP_ACTIONS: readonly XdpAction[] = ['ABORTED', 'DROP', 'PASS', 'TX', 'REDIRECT'];

/** The name of what a program returned; a number that is no action stands for ABORTED, as in the kernel. */
export function actionName(returned: number): XdpAction {
  return XDP_ACTIONS[returned] ?? 'ABORTED';
}

const FAULTS: Readonly<Record<number, string>> = {
  [FAULT_MEMORY]: 'reaches memory that is not in its packet, stack or maps',
  [FAULT_FUEL]: 'runs too long',
  [FAULT_ALIGNMENT]: 'has an atomic operation at an address that is not a multiple of its size',
  [FAULT_MAP]: 'uses something as a map that is none of its maps',
  [FAULT_STACK]: 'needs more stack than there is, behind a tail call',
  [FAULT_HELPER]: 'calls a helper that there is not',
  [FAULT_LOCK]: 'takes or gives back a spin lock that is none or not its own, or that somebody else keeps',
};

/** What a checked program did that ended it: FAULT_… in words. */
export function faultText(kind: number): string {
  return FAULTS[kind] ?? `fault ${kind}`;
}
