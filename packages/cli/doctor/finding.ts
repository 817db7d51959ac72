/** What a check of `nodeos doctor` finds. */
import type { Io, Parsed } from '../command.js';

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
export type Check = (args: Parsed, io: Io) => Promise<readonly Finding[]>;
