/** The machine that a command line asks for. */
import { UsageError } from '@nodeos/base';
import { boardOf, boardsOf, type Board, type Target } from '@nodeos/targets';
import { hasPorts } from '@nodeos/vm';
import type { Parsed } from './command.js';
import { isBootable } from './images.js';

/** @throws UsageError for what needs a port to the guest on a machine that has none */
export function checkPorts(board: Board, args: Parsed): void {
  if (hasPorts(board)) return;
  if (args.text('format') === undefined)
    throw new UsageError(`--machine ${board.name}: it boots only from a medium`, { hint: '--format raspi' });
  const { memory, cpus } = board.emulator.fixed ?? {};
  for (const [name, value] of Object.entries({ memory, cpus }))
    if (value !== undefined && ![undefined, String(value)].includes(args.text(name)))
      throw new UsageError(`--${name} ${args.text(name)}: the machine ${board.name} has ${value}`);
  const needing = ['exec', 'env', 'events'].find((name) => args.text(name) !== undefined);
  if (needing === undefined) return;
  throw new UsageError(`--${needing}: not with --machine ${board.name}, to which QEMU has no port`);
}

/** The machine that is named, or else the first one that starts the format. */
export function boardFor(target: Target, args: Parsed): Board {
  const [name, format] = [args.text('machine'), args.text('format')];
  if (name !== undefined || format === undefined) return boardOf(target, name);
  return boardsOf(target).find((board) => isBootable(format, board)) ?? boardOf(target);
}
