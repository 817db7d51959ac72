/** Finds the kernel's file, and says what it is. */
import { access, constants, open } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

/** A program, or a kernel for a virtual machine of that target (`packages/targets`). */
export type Kind = 'program' | 'x86_64' | 'aarch64';

/** Linux runs as a program on x86 alone. */
const HAS_PROGRAM = process.platform === 'linux' && process.arch === 'x64';

/** Where kernels are: the package without the processor, the file in it, and the variable that names another one. */
const PLACES = {
  program: { package: `@nodeos/linuxfs-${process.platform}`, file: 'linux', variable: 'NODEOS_LINUXFS_KERNEL' },
  qemu: { package: '@nodeos/linuxfs-qemu', file: 'kernel', variable: 'NODEOS_LINUXFS_QEMU_KERNEL' },
} as const;

/**
 * The given file, else that of an environment variable, else that of the package for this platform. The variables are
 * NODEOS_LINUXFS_KERNEL, and NODEOS_LINUXFS_QEMU_KERNEL for `qemu`, which is also the default where Linux is no program.
 * @param given a path, or `qemu`
 * @throws Error that says what to install
 */
export async function findKernel(given = process.env['NODEOS_LINUXFS_KERNEL']): Promise<string> {
  const isNamed = given !== undefined && given !== '' && given !== 'qemu'; // an empty variable names nothing
  const path = resolve(isNamed ? given : known(given === 'qemu' || !HAS_PROGRAM));
  try {
    await access(path, constants.R_OK);
  } catch (error) {
    throw new Error(`${path} is no kernel that can be started`, { cause: error });
  }
  return path;
}

function known(isForQemu: boolean): string {
  const place = PLACES[isForQemu ? 'qemu' : 'program'];
  const name = `${place.package}-${process.arch}`;
  const named = process.env[place.variable];
  if (named !== undefined && named !== '') return named;
  try {
    return createRequire(import.meta.url).resolve(`${name}/${place.file}`);
  } catch (error) {
    const how = `install it beside @nodeos/linuxfs, or name a file by ${place.variable}`;
    throw new Error(`the kernel is in the package ${name}: ${how}`, { cause: error });
  }
}

/** Linux's `Documentation/arch/arm64/booting.rst`: a magic number in the header of an image. */
const ARM64 = { magic: 'ARM\x64', at: 56 };
/** ELF, of which a kernel's first segment lies in the upper half of all addresses. */
const ELF = { magic: '\x7fELF', at: 0, firstSegment: 64, address: 16 };

/** What the file of a kernel is. @throws Error if it is none */
export async function kindOf(path: string): Promise<Kind> {
  const file = await open(path);
  const head = Buffer.alloc(128);
  await file.read(head, 0, head.length, 0).finally(() => file.close());
  const has = ({ magic, at }: { magic: string; at: number }): boolean =>
    head.toString('latin1', at, at + magic.length) === magic;
  if (has(ARM64)) return 'aarch64';
  if (!has(ELF)) throw new Error(`${path} is no kernel: it is neither an ELF file nor an image for arm64`);
  return head.readBigInt64LE(ELF.firstSegment + ELF.address) < 0n ? 'x86_64' : 'program';
}
