/**
 * Chooses the accelerator of a machine by a test. A `/dev/kvm` that opens, and even creates a virtual machine, proves
 * nothing: on some hosts, especially nested ones, KVM cannot run a stock guest. So the kernel is booted once with the
 * accelerator, to the first line of PID 1. The result is kept until the host reboots.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { codeOf, messageOf, sha256 } from '@nodeos/base';
import { targetOf, type Board } from '@nodeos/targets';
import { word } from '@nodeos/contract';
import { runMachine } from './machine.js';
import { noted } from './notes.js';

export interface Accelerator {
  readonly name: 'kvm' | 'hvf' | 'tcg';
  /** Why no faster accelerator is used. */
  readonly reason?: string;
}

export interface ProbeOptions {
  readonly board: Board;
  readonly kernel: string;
  /** Any initramfs with our PID 1. It needs no runtime: a guest that reaches PID 1 works. */
  readonly initramfs: string;
  /** The file that keeps the results. */
  readonly notes: string;
}

/** A working accelerator needs one second. */
const PROBE_SECONDS = 8;

export async function chooseAccelerator(options: ProbeOptions): Promise<Accelerator> {
  const reason = await whyEmulated(options.board);
  const candidate = CANDIDATES[process.platform];
  if (reason !== undefined || !candidate) return { name: 'tcg', ...(reason === undefined ? {} : { reason }) };
  const failure = await noted(options.notes, await idOf(options, candidate.name), () => probe(options, candidate.name));
  return failure === '' ? { name: candidate.name } : { name: 'tcg', reason: failure };
}

/** @returns the accelerator that may work, as far as is known without a boot */
export async function fastAccelerator(board: Board): Promise<'kvm' | 'hvf' | undefined> {
  return (await whyEmulated(board)) === undefined ? CANDIDATES[process.platform]?.name : undefined;
}

/** @returns why no accelerator can work, as far as is known without a boot; undefined if one may */
export async function whyEmulated(board: Board): Promise<string | undefined> {
  const { nodeArch } = targetOf(board.target);
  const candidate = CANDIDATES[process.platform];
  if (!candidate) return `no accelerator is known for ${process.platform}`;
  if (nodeArch !== process.arch) return `the host is ${process.arch}, the guest ${nodeArch}`;
  return candidate.unusable();
}

const CANDIDATES: Partial<Record<NodeJS.Platform, { name: 'kvm' | 'hvf'; unusable(): Promise<string | undefined> }>> = {
  linux: {
    name: 'kvm',
    unusable: () =>
      access('/dev/kvm', constants.R_OK | constants.W_OK).then(
        () => undefined,
        (error: unknown) => `/dev/kvm: ${whyNoAccess(error)}`,
      ),
  },
  darwin: { name: 'hvf', unusable: () => Promise.resolve(undefined) },
};

/** Distributions give the device to a group. A new user is not in it, and would keep the slow emulation. */
export const whyNoAccess = (error: unknown): string =>
  codeOf(error) === 'EACCES'
    ? 'no permission; on most systems the members of the group kvm have it (usermod -aG kvm USER)'
    : messageOf(error);

/** @returns why the accelerator does not work, or an empty string */
async function probe(options: ProbeOptions, accelerator: string): Promise<string> {
  try {
    const result = await runMachine({
      ...options,
      accelerator,
      memory: '256M',
      cpus: 1,
      append: [word('network', 'off')],
      publish: [],
      noNetwork: true,
      settings: { exec: '' },
      timeout: PROBE_SECONDS,
      bootTimeout: PROBE_SECONDS,
    });
    return result.events.length > 0 ? '' : `a guest under ${accelerator} came to nothing in ${PROBE_SECONDS} s`;
  } catch (error) {
    return `a guest under ${accelerator} failed: ${messageOf(error)}`;
  }
}

/** An id of everything that the result depends on: the boot of the host and the version of QEMU. */
const idOf = async ({ board }: ProbeOptions, accelerator: string): Promise<string> =>
  sha256([accelerator, board.name, await bootId(), await qemuVersion(board)].join('\n'));

const bootId = (): Promise<string> => readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');

function qemuVersion({ emulator }: Board): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const child = spawn(emulator.program, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('error', () => resolve(''));
    child.on('close', () => resolve(text));
  });
}
