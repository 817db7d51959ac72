/**
 * The program that a container starts: found as execvp(3) does, and looked at, so that what the kernel would only call
 * "no such file" has a name.
 * https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html, execve(2)
 */
import { posix } from 'node:path';
import { NodeosError } from '@nodeos/base';
import type { Entry } from '@nodeos/tree';
import { bytesOf, type ImageFiles } from './files.js';

/** `e_machine` of 64-bit programs, by the names of architectures in images. */
const MACHINES: Readonly<Record<string, number>> = { amd64: 62, arm64: 183, riscv64: 243 };
const MACHINE_NAMES: ReadonlyMap<number, string> = new Map([
  ...Object.entries(MACHINES).map(([name, machine]) => [machine, name] as const),
  [3, '386'],
  [40, 'arm'],
  [21, 'ppc64le'],
  [22, 's390x'],
]);
/** Bytes of a program that are looked at, and of a script's first line, as Linux. */
const HEAD = 64 << 10;
const LINE = 256;
/** Scripts whose interpreter is a script, as Linux. */
const MAX_SCRIPTS = 5;
const PT_INTERP = 3;

export interface Wanted {
  /** As the image says it: a name, or a path. */
  readonly name: string;
  readonly cwd: string;
  /** `PATH` of its environment. */
  readonly path: string;
  /** Of the image's platform. */
  readonly architecture: string;
  /** For messages. */
  readonly subject: string;
}

/**
 * @returns the absolute path of a program that the kernel can start
 * @throws NodeosError that says what is missing
 */
export async function programIn(files: ImageFiles, wanted: Wanted): Promise<string> {
  const { name, cwd, path, subject } = wanted;
  if (name.includes('/')) {
    const full = posix.resolve('/', cwd, name);
    await check(files, full, wanted, 0);
    return full;
  }
  const places = path.split(':').map((folder) => posix.resolve('/', cwd, folder, name));
  for (const place of places) {
    const entry = await files.at(place);
    if (entry?.type !== 'file' || !isExecutable(entry)) continue;
    await check(files, place, wanted, 0);
    return place;
  }
  throw new NodeosError(`${subject}: the image has no program ${JSON.stringify(name)} (PATH is ${path})`, {
    hint: 'the command comes after --, and a shell only if it names one: -- sh -c "…"',
  });
}

const isExecutable = ({ mode }: Entry): boolean => (mode & 0o111) !== 0;

async function check(files: ImageFiles, path: string, wanted: Wanted, scripts: number): Promise<void> {
  const refuse = (why: string, hint?: string): never => {
    throw new NodeosError(`${wanted.subject}: ${path} ${why}`, hint === undefined ? {} : { hint });
  };
  const entry = await files.at(path);
  if (!entry) return refuse('is not in the image');
  if (entry.type !== 'file') return refuse(`is no program, but a ${entry.type}`);
  if (!isExecutable(entry)) return refuse('is not executable', 'chmod +x in the image, or start it by its interpreter');
  const head = await bytesOf(entry, HEAD);
  if (head.toString('latin1', 0, 2) === '#!') {
    // As Linux: only spaces and tabs are between words.
    const [line = ''] = head.toString('utf8', 2, LINE).split('\n');
    const [interpreter = ''] = line.split(/[ \t]+/).filter((word) => word !== '');
    if (!interpreter.startsWith('/'))
      return refuse(`names no interpreter behind its #!: ${JSON.stringify(interpreter)}`);
    if (!(await files.at(interpreter)))
      return refuse(
        `needs the interpreter ${JSON.stringify(interpreter)}, which is not in the image`,
        interpreter.endsWith('\r') ? 'its lines end as on Windows' : undefined,
      );
    if (scripts === MAX_SCRIPTS) return refuse('is a script of a script of a script, too often');
    return check(files, interpreter, wanted, scripts + 1);
  }
  if (head.toString('latin1', 0, 4) !== '\x7fELF' || head.length < 64)
    return refuse('is neither a program nor a script that names its interpreter (#!)');
  const machine = head.readUInt16LE(18);
  const is64Bit = head[4] === 2 && head[5] === 1;
  if (!is64Bit || machine !== MACHINES[wanted.architecture])
    return refuse(`is a program for ${nameOf(machine)}, and the image is for ${wanted.architecture}`);
  const loader = await loaderOf(entry, head);
  if (loader !== undefined && !(await files.at(loader)))
    refuse(
      `needs the dynamic loader ${JSON.stringify(loader)}, which is not in the image`,
      'it was made for another C library, or without what it is linked with',
    );
}

const nameOf = (machine: number): string => MACHINE_NAMES.get(machine) ?? `machine ${machine}`;

/** The path of PT_INTERP; undefined for a static program. */
async function loaderOf(entry: Entry, head: Buffer): Promise<string | undefined> {
  const [at, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let index = 0; index < count; index++) {
    const start = at + index * size;
    if (size < 56 || start + 56 > head.length) return undefined;
    if (head.readUInt32LE(start) !== PT_INTERP) continue;
    const [offset, length] = [Number(head.readBigUInt64LE(start + 8)), Number(head.readBigUInt64LE(start + 32))];
    const text = await bytesOf(entry, Math.min(length, 4096), offset);
    return text.toString('utf8').replace(/\0.*$/s, '');
  }
  return undefined;
}
