/** The NBD devices of this machine's kernel, and the small program that attaches exports to them. */
import { readdir } from 'node:fs/promises';
import { exists, NodeosError, UsageError } from '@nodeos/base';
import { hostTarget } from '@nodeos/targets';
import { run } from '@nodeos/engine';
import { nbdAttach } from '@nodeos/init';
import { HOST_COMPILER } from '@nodeos/toolchain';
import { buildSteps, type Building } from '../building.js';
import type { Io } from '../command.js';
import { checkSystem } from '../system.js';

/** @throws NodeosError if the kernel cannot do it; UsageError on other systems than Linux */
export async function checkDriver(): Promise<void> {
  if (process.platform !== 'linux')
    throw new UsageError('only Linux can attach NBD exports to its devices', { hint: 'nodeos nbd copy makes a file' });
  if ((await exists('/sys/module/nbd')) || (await exists('/sys/block/nbd0'))) return;
  throw new NodeosError('this kernel has no NBD driver', {
    hint: 'modprobe nbd, as root, loads it; where there is no such module, nodeos nbd copy makes a file',
  });
}

/** @throws UsageError unless it is named like one */
export function checkDevice(path: string): string {
  if (/^\/dev\/nbd\d+$/.test(path)) return path;
  throw new UsageError(`${path}: expected a device such as /dev/nbd0`);
}

/** The kernel has this file as long as something is attached. */
export const isAttached = (path: string): Promise<boolean> => exists(`${path.replace('/dev/', '/sys/block/')}/pid`);

/** @throws NodeosError if all are in use */
export async function freeDevice(): Promise<string> {
  const names = (await readdir('/sys/block')).filter((name) => /^nbd\d+$/.test(name));
  names.sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  for (const name of names) if (!(await isAttached(`/dev/${name}`))) return `/dev/${name}`;
  throw new NodeosError(`all of the ${names.length} NBD devices are in use`, {
    hint: 'nodeos nbd detach /dev/nbd0 frees one',
  });
}

/** What the tool is told: words of its command line, and what it reads, which nobody else sees. */
export type AttachTool = (words: readonly string[], input?: string) => Promise<void>;

/** Attaches and detaches. `$NODEOS_NBD_ATTACH` names one that is there already; else it is built, once. */
export async function attachTool(building: Building, io: Io): Promise<AttachTool> {
  const path = io.env['NODEOS_NBD_ATTACH'] ?? (await builtTool(building, io));
  return async (words, input) => {
    // Without a signal: what is attached is to be detached after Ctrl-C too.
    await run(path, words, input === undefined ? {} : { input });
  };
}

async function builtTool(building: Building, io: Io): Promise<string> {
  const target = hostTarget();
  const program = nbdAttach(target, HOST_COMPILER);
  checkSystem(target, [program.step.name]);
  const built = await buildSteps([program.step], building, io);
  return built.path(program);
}
