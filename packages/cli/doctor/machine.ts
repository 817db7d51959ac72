/** What machines need: QEMU, an accelerator, memory and ports. */
import { readFile } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { formatSize, messageOf, NodeosError, parseSize } from '@nodeos/base';
import { Cache, resolvePlan, stepsOf } from '@nodeos/engine';
import { boardOf, DEFAULT_TARGET, targetOf, type Board } from '@nodeos/targets';
import { checkFree, chooseAccelerator, parsePublish, whyEmulated } from '@nodeos/vm';
import type { Settled } from '../config/settle.js';
import { systemOf } from '../system.js';
import type { Check } from './finding.js';
import { lackingProgram, versionOf } from './tools.js';

/** What a machine of the usual size takes, with QEMU itself, in bytes. */
const USUAL_MACHINE = parseSize('512M', 'memory');
/** What the largest compilers of a first build take, two at once, in bytes. */
const FIRST_BUILD = parseSize('2G', 'memory');
const USUAL_PORT = '8080:80';

const boardFor = ({ args }: Settled): Board => boardOf(targetOf(args.text('target') ?? DEFAULT_TARGET));

export const qemu: Check = async (settled) => {
  const { program } = boardFor(settled).emulator;
  const lacking = lackingProgram(program);
  if (lacking) return [lacking];
  try {
    return [{ name: 'QEMU', state: 'ok', found: `${await versionOf(program)} (${program})` }];
  } catch (error) {
    return [{ name: 'QEMU', state: 'lacking', found: messageOf(error), remedy: `make ${program} --version work` }];
  }
};

/** Software emulation works, and is slower. Only a boot shows whether an accelerator does. */
export const accelerator: Check = async (settled) => {
  const board = boardFor(settled);
  const name = 'accelerator';
  const reason = await whyEmulated(board);
  if (reason !== undefined) return [{ name, state: 'note', found: `software emulation: ${reason}` }];
  const images = await builtImages(board);
  if (!images) {
    const found = 'it can be opened; whether a guest runs is seen when there is a kernel';
    return [{ name, state: 'note', found, remedy: 'nodeos build' }];
  }
  const chosen = await chooseAccelerator({ board, ...images, notes: join(new Cache().root, 'accelerator.json') });
  if (chosen.reason === undefined) return [{ name, state: 'ok', found: `${chosen.name}: a guest ran` }];
  return [{ name, state: 'note', found: `software emulation: ${chosen.reason}` }];
};

/** A kernel and an initramfs to try; undefined if they are not in the cache. */
async function builtImages(board: Board): Promise<{ kernel: string; initramfs: string } | undefined> {
  const { kernel, initramfsBase } = await systemOf(targetOf(board.target), { board });
  const artifacts = [kernel.direct, initramfsBase];
  // Without compilers there are no keys.
  const plan = await resolvePlan(new Cache(), stepsOf(...artifacts)).catch(() => undefined);
  const [first, second] = artifacts.map(({ step, file }) => {
    const planned = plan?.wanted.find((wanted) => wanted.step === step)?.planned;
    return planned?.state === 'cached' ? join(planned.entry.output, file) : undefined;
  });
  return first === undefined || second === undefined ? undefined : { kernel: first, initramfs: second };
}

export const memory: Check = async () => {
  const free = await availableMemory();
  const name = 'memory';
  const found = `${formatSize(free)} free`;
  if (free < USUAL_MACHINE) return [{ name, state: 'note', found, remedy: 'nodeos start --memory 64M, or free some' }];
  if (free < FIRST_BUILD) return [{ name, state: 'note', found, remedy: 'nodeos build --jobs 1 for the first build' }];
  return [{ name, state: 'ok', found }];
};

/** Bytes that programs can have, with what the kernel would give back of its caches; within a container's limit. */
async function availableMemory(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  const [, kibibytes] = /^MemAvailable:\s+(\d+) kB$/m.exec(text) ?? [];
  const limit = process.constrainedMemory();
  const available = kibibytes === undefined ? freemem() : Number(kibibytes) * 1024;
  return limit > 0 ? Math.min(available, limit) : available;
}

/** The port that `nodeos start APP` publishes when it is told no other. */
export const port: Check = async () => {
  const publish = parsePublish(USUAL_PORT);
  const name = `port ${publish.host}`;
  try {
    await checkFree([publish]);
    return [{ name, state: 'ok', found: 'free' }];
  } catch (error) {
    const remedy = error instanceof NodeosError ? error.hint : undefined;
    return [{ name, state: 'note', found: messageOf(error), ...(remedy === undefined ? {} : { remedy }) }];
  }
};
