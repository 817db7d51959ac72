/**
 * The ABIs that code is compiled for, one row per target. The whole row is part of every step's key, so it holds only
 * what affects compiled code. Differences between machines belong to the boards (board.ts).
 */
import { UsageError } from '@nodeos/base';

/** A cross-toolchain: GCC, binutils and musl. */
export interface Cross {
  /** The GNU triplet of its programs. */
  readonly triplet: string;
  /** musl's name of the architecture. */
  readonly muslArch: string;
  /** Extra configure options for GCC. */
  readonly gcc: readonly string[];
}

export interface Target {
  readonly name: string;
  /** The kernel's `ARCH=` value. */
  readonly arch: string;
  /** The GNU triplet of the target's programs. */
  readonly triplet: string;
  /** The value of Node.js's `process.arch` on this target. */
  readonly nodeArch: string;
  /** Debian's name of the architecture. */
  readonly debianArch: string;
  /** The `e_machine` field of the target's ELF files (System V ABI, "ELF header"). */
  readonly elfMachine: number;
  readonly cross: Cross;
}

export const TARGETS: readonly Target[] = [
  {
    name: 'x86_64',
    arch: 'x86',
    triplet: 'x86_64-linux-gnu',
    nodeArch: 'x64',
    debianArch: 'amd64',
    elfMachine: 62,
    cross: { triplet: 'x86_64-linux-musl', muslArch: 'x86_64', gcc: [] },
  },
  {
    name: 'aarch64',
    arch: 'arm64',
    triplet: 'aarch64-linux-gnu',
    nodeArch: 'arm64',
    debianArch: 'arm64',
    elfMachine: 183,
    cross: { triplet: 'aarch64-linux-musl', muslArch: 'aarch64', gcc: [] },
  },
  {
    name: 'i686',
    arch: 'x86',
    triplet: 'i386-linux-gnu',
    nodeArch: 'ia32',
    debianArch: 'i386',
    elfMachine: 3,
    cross: { triplet: 'i686-linux-musl', muslArch: 'i386', gcc: [] },
  },
  {
    name: 'armv7',
    arch: 'arm',
    triplet: 'arm-linux-gnueabihf',
    nodeArch: 'arm',
    debianArch: 'armhf',
    elfMachine: 40,
    cross: {
      triplet: 'armv7-linux-musleabihf',
      muslArch: 'arm',
      gcc: ['--with-arch=armv7-a', '--with-fpu=vfpv3-d16', '--with-float=hard'],
    },
  },
  {
    name: 'riscv64',
    arch: 'riscv',
    triplet: 'riscv64-linux-gnu',
    nodeArch: 'riscv64',
    debianArch: 'riscv64',
    elfMachine: 243,
    cross: { triplet: 'riscv64-linux-musl', muslArch: 'riscv64', gcc: ['--with-arch=rv64gc', '--with-abi=lp64d'] },
  },
];

export const DEFAULT_TARGET = 'x86_64';

/** Finds a target by name. @throws UsageError naming the known targets */
export function targetOf(name: string): Target {
  const target = TARGETS.find((row) => row.name === name);
  if (target) return target;
  throw new UsageError(`unknown target "${name}"`, {
    hint: `the targets are: ${TARGETS.map((row) => row.name).join(', ')}`,
  });
}

/** The target of the machine that this process runs on. @throws UsageError if there is none */
export function hostTarget(): Target {
  const target = TARGETS.find((row) => row.nodeArch === process.arch);
  if (target) return target;
  throw new UsageError(`there is no target for this machine, which is ${process.arch}`);
}
