/** The console as the terminal of a process, for programs that people type at. */
import { PATHS } from '@nodeos/contract';
import type { BootContext } from './boot.js';
import type { Syscalls } from './syscalls.js';

const O_RDWR = 2;
const O_NOCTTY = 0o400;
const TIOCSCTTY = 0x540e;
const TIOCSWINSZ = 0x5414;
/** Milliseconds to wait for PID 1's terminal. */
const TERMINAL_MS = 1000;

/** Makes the console the terminal of this process, and its standard input and output. */
export function takeTerminal(context: BootContext): void {
  const { sys, config } = context;
  const terminal = openTerminal(context);
  sys.ioctl(terminal, TIOCSCTTY, 1);
  const { columns, rows } = config.run;
  if (columns !== undefined && rows !== undefined) {
    const size = Buffer.alloc(8);
    size.writeUInt16LE(rows, 0);
    size.writeUInt16LE(columns, 2);
    sys.ioctl(terminal, TIOCSWINSZ, size);
  }
  for (const fd of [0, 1, 2]) sys.duplicate(terminal, fd);
}

/** Opens the console or, if the machine has several, a terminal on all of them, which PID 1 makes. */
function openTerminal({ sys, report }: BootContext): number {
  const names = sys.read('/sys/class/tty/console/active').toString().trim().split(' ');
  if (names.length > 1) {
    report.sendCommand('terminal');
    for (let waited = 0; waited < TERMINAL_MS; waited++) {
      const terminal = sys.exists(PATHS.terminal) ? openUnlocked(sys) : undefined;
      if (terminal !== undefined) return terminal;
      sys.sleep(1);
    }
  }
  return sys.open(`/dev/${names.at(-1) ?? 'console'}`, O_RDWR | O_NOCTTY);
}

/** @returns undefined while the terminal is locked: it is there before PID 1 has unlocked it */
function openUnlocked(sys: Syscalls): number | undefined {
  try {
    return sys.open(PATHS.terminal, O_RDWR | O_NOCTTY);
  } catch {
    return undefined;
  }
}
