import { boardOf, targetOf } from '@nodeos/targets';

/** A small PC without a network. QEMU emulates it, which works on every host. */
export const EMULATED_PC = {
  board: boardOf(targetOf('x86_64')),
  accelerator: 'tcg',
  memory: '256M',
  cpus: 1,
  publish: [],
  noNetwork: true,
} as const;
