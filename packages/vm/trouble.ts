/** A table of messages from a guest's console or from QEMU, with their meanings. */

import { mebibytesOf, memoryOf } from './qemu.js';

export interface Trouble {
  /** The cause, for a person. */
  readonly cause: string;
  readonly hint?: string;
}

/** MORE is replaced by a larger size than the machine had. */
const MORE_MEMORY = 'give the machine more: --memory MORE';

/** The first match counts, so causes come before their consequences. */
const SIGNS: readonly (readonly [RegExp, (match: RegExpExecArray) => Trouble])[] = [
  [
    // QEMU is started through setpriv(1), which ties its life to this process.
    /setpriv: failed to execute (\S+): No such file/,
    ([, program]) => ({
      cause: `${program ?? 'QEMU'} is not installed`,
      hint: 'install it, or add its folder to PATH',
    }),
  ],
  [
    /System is deadlocked on memory|Out of memory and no killable/,
    () => ({ cause: 'the guest has too little memory', hint: MORE_MEMORY }),
  ],
  [
    /Initramfs unpacking failed: (.*)/,
    ([, reason]) => ({
      cause: `the initramfs does not fit into the guest's memory (${reason ?? ''})`,
      hint: MORE_MEMORY,
    }),
  ],
  [
    /Failed to allocate memory for (?:kernel|initrd)|initrd is too large|kernel too large/i,
    () => ({ cause: "the kernel and the initramfs do not fit into the guest's memory", hint: MORE_MEMORY }),
  ],
  [
    /[Oo]ut of memory: Killed process \d+ \((.*?)\)/,
    ([, name]) => ({ cause: `the guest ran out of memory and killed ${name ?? ''}`, hint: MORE_MEMORY }),
  ],
  [/FATAL ERROR: .*heap out of memory/, () => ({ cause: 'Node.js ran out of heap', hint: MORE_MEMORY })],
  [
    /nodeos: mount (\S+) (\S+) on \/usr: error (\d+)/,
    ([, type, device, error]) => ({
      cause: `the guest could not mount its runtime (${type ?? ''} on ${device ?? ''}: error ${error ?? ''})`,
      hint: 'look at mount.usr= on its command line, or take --runtime initramfs',
    }),
  ],
  [
    /nodeos: mount root: (.*?)\s*$/m,
    ([, reason]) => ({
      cause: `the guest could not mount its root: ${reason ?? ''}`,
      hint: 'look at root= and ip= on its command line, and at the server',
    }),
  ],
  [/Kernel panic - not syncing: (.*?)\s*$/m, ([, reason]) => ({ cause: `the kernel panicked: ${reason ?? ''}` })],
  [
    /Could not set up host forwarding rule '(.*?)'/,
    ([, rule]) => ({
      cause: `QEMU could not publish ${rule ?? ''}: the port is taken`,
      hint: 'publish another one: --publish HOST:GUEST',
    }),
  ],
  [
    /cannot set up guest memory '.*?': (.*)/,
    ([, reason]) => ({ cause: `the host has not enough memory for the guest (${reason ?? ''})` }),
  ],
  [/^qemu-system-\S+: (?!warning:|info:)(.*)$/m, ([, reason]) => ({ cause: `QEMU: ${reason ?? ''}` })],
];

/**
 * Finds the first known problem in a console's output. @param memory the machine's memory in QEMU's notation: `256M`
 */
export function troubleIn(text: string, memory: string): Trouble | undefined {
  for (const [pattern, explain] of SIGNS) {
    const match = pattern.exec(text);
    if (!match) continue;
    const { cause, hint } = explain(match);
    return hint === undefined ? { cause } : { cause, hint: hint.replace('MORE', doubled(memory)) };
  }
  return undefined;
}

/** Twice the memory, and at least 512 MiB, which is enough for most systems. */
const doubled = (memory: string): string => memoryOf(Math.max(512, 2 * mebibytesOf(memory)));
