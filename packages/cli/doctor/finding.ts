/** What a check of `nodeos doctor` finds. */
import type { Io } from '../command.js';
import type { Settled } from '../config/settle.js';

export interface Finding {
  /** What was looked at: `QEMU`. */
  readonly name: string;
  /** `note`: systems can be started, with the limits that are said. `lacking`: they cannot. */
  readonly state: 'ok' | 'note' | 'lacking';
  /** What is there, or why it is not. */
  readonly found: string;
  /** The command or the change that mends it. */
  readonly remedy?: string;
}

/** Checks one side of this host. It changes nothing but the notes that the commands keep themselves. */
export type Check = (settled: Settled, io: Io) => Promise<readonly Finding[]>;
