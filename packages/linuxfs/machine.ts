/**
 * A kernel in a virtual machine of QEMU, for hosts where Linux is no program: a machine without a bus, with one virtio
 * console whose ports are the two lines. https://www.qemu.org/docs/master/system/
 */
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boardOf, targetOf, type Board } from '@nodeos/targets';
import { escaped, fastAccelerator, SANDBOX } from '@nodeos/vm';
import type { Kind } from './binary.js';
import { memfdOf, type Launch } from './launch.js';

/** The boards whose devices are on no bus, which need no time to look for them. */
const BOARDS: Readonly<Record<Exclude<Kind, 'program'>, string>> = { x86_64: 'microvm', aarch64: 'virt' };

const MIB = 1 << 20;
/** A machine's memory has a hole from 3 GiB on. */
const MAX_MEMORY = 2048;
/** Seconds for a start. Emulation on a busy host is slow. */
const TIMEOUT = { accelerated: 10, emulated: 120 };

/** What has worked in this process, by board. */
const known = new Map<string, string>();

interface Machine extends Launch {
  readonly board: string;
  readonly accelerator: string;
}

/**
 * The machines to try, the fastest first: an accelerator that can be opened may still not work.
 * @param bytes of memory. @throws RangeError if it is more than 2 GiB
 */
export async function machines(
  path: string,
  kind: Exclude<Kind, 'program'>,
  bytes: number,
): Promise<Iterable<Machine>> {
  const memory = Math.max(64, Math.ceil(bytes / MIB));
  if (memory > MAX_MEMORY) throw new RangeError(`a kernel under QEMU has at most ${MAX_MEMORY} MiB, not ${memory}`);
  const board = boardOf(targetOf(kind), BOARDS[kind]);
  const works = known.get(board.name);
  const fast = works === undefined ? await fastAccelerator(board) : undefined;
  const names = works === undefined ? [...(fast === undefined ? [] : [fast]), 'tcg'] : [works];
  return made(names, (accelerator) => machine(path, board, accelerator, memory));
}

/** One after the other, when it is wanted: each has a temporary file of its own. */
function* made<T>(names: readonly string[], make: (name: string) => T): Generator<T> {
  for (const name of names) yield make(name);
}

/** The next kernel is started in the same way at once. */
export const remember = ({ board, accelerator }: Machine): void => void known.set(board, accelerator);

function machine(path: string, board: Board, accelerator: string, mebibytes: number): Machine {
  const { emulator } = board;
  const isEmulated = accelerator === 'tcg';
  const memory = process.platform === 'linux' ? unnamedMemory() : fileMemory();
  return {
    board: board.name,
    accelerator,
    command: emulator.program,
    args: [
      ...['-name', 'linuxfs', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
      ...(process.platform === 'linux' ? SANDBOX : []),
      ...['-machine', `${emulator.machine},memory-backend=memory`, '-accel', accelerator],
      ...['-cpu', isEmulated ? (emulator.cpuEmulated ?? 'max') : 'host', '-smp', '1', '-m', `${mebibytes}M`],
      ...['-object', `${memory.object},id=memory,size=${mebibytes}M,share=on`],
      ...['-kernel', path, '-append', commandLine(board, isEmulated)],
      ...['-chardev', 'stdio,id=log,signal=off', '-serial', 'chardev:log'],
      ...['-global', 'virtio-mmio.force-legacy=false', '-device', 'virtio-serial-device,max_ports=3'],
      ...LINES.flatMap(({ name, descriptor, port }) => [
        ...['-chardev', `socket,id=${name},fd=${descriptor}`],
        ...['-device', `virtserialport,chardev=${name},nr=${port}`],
      ]),
    ],
    env: process.env,
    timeout: isEmulated ? TIMEOUT.emulated : TIMEOUT.accelerated,
    memory: memory.open,
    settled: memory.settled,
  };
}

/** `protocol.h` has the numbers. */
const LINES = [
  { name: 'files', descriptor: 3, port: 1 },
  { name: 'disks', descriptor: 4, port: 2 },
] as const;

/** A kernel that panics starts again at once, which ends QEMU. */
const commandLine = ({ console, emulator }: Board, isEmulated: boolean): string =>
  [`console=${console}`, 'loglevel=4', 'panic=-1', emulator.append, isEmulated ? emulator.appendEmulated : '']
    .filter((word) => word !== '')
    .join(' ');

interface Memory {
  /** QEMU's object, without its size. */
  readonly object: string;
  readonly open: Launch['memory'];
  readonly settled: () => void;
}

/** A file without a name, which is written to no disk. */
const unnamedMemory = (): Memory => ({
  object: 'memory-backend-memfd',
  open: (child) => memfdOf(child, 'memory-backend-memfd'),
  settled: () => undefined,
});

/** A temporary file, whose name is gone once both have opened it. */
export function fileMemory(): Memory {
  const folder = mkdtempSync(join(tmpdir(), 'linuxfs-'));
  const path = join(folder, 'memory');
  return {
    object: `memory-backend-file,mem-path=${escaped(path)}`,
    open: () => openSync(path, 'r+'),
    settled: () => rmSync(folder, { recursive: true, force: true }),
  };
}
