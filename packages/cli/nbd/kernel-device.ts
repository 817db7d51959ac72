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

/** @throws NodeosError if the kernel has no NBD driver; UsageError on any system but Linux */
export async function checkDriver(): Promise<void> {
  if (process.platform !== 'linux')
    throw new UsageError('only Linux can attach NBD exports to its devices', { hint: 'nodeos nbd copy makes a file' });
  if ((await exists('/sys/module/nbd')) || (await exists('/sys/block/nbd0'))) return;
  throw new NodeosError('this kernel has no NBD driver', {
    hint: 'modprobe nbd, as root, loads it; where there is no such module, nodeos nbd copy makes a file',
  });
}

/** Checks the name of a device. @throws UsageError unless it is of the form /dev/nbdN */
export function checkDevice(path: string): string {
  if (/^\/dev\/nbd\d+$/.test(path)) return path;
  throw new UsageError(`${path}: expected a device such as /dev/nbd0`);
}

/** Whether a device is attached. The kernel provides this file only while it is. */
export const isAttached = (path: string): Promise<boolean> => exists(`${path.replace('/dev/', '/sys/block/')}/pid`);

/** The first free NBD device. @throws NodeosError if all are in use */
export async function freeDevice(): Promise<string> {
  const names = (await readdir('/sys/block')).filter((name) => /^nbd\d+$/.test(name));
  names.sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  for (const name of names) if (!(await isAttached(`/dev/${name}`))) return `/dev/${name}`;
  throw new NodeosError(`all of the ${names.length} NBD devices are in use`, {
    hint: 'nodeos nbd detach /dev/nbd0 frees one',
  });
}

/** Runs the attach tool: arguments, and standard input, which no other user can see. */
export type AttachTool = (args: readonly string[], input?: string) => Promise<void>;

/** Provides the attach tool. `$NODEOS_NBD_ATTACH` names an existing one; otherwise it is built once and cached. */
export async function attachTool(building: Building, io: Io): Promise<AttachTool> {
  const path = io.env['NODEOS_NBD_ATTACH'] ?? (await builtTool(building, io));
  return async (args, input) => {
    // Runs without a signal, because the device must also be detached after Ctrl-C.
    await run(path, args, input === undefined ? {} : { input });
  };
}

async function builtTool(building: Building, io: Io): Promise<string> {
  const target = hostTarget();
  const program = nbdAttach(target, HOST_COMPILER);
  checkSystem(target, [program.step.name]);
  const built = await buildSteps([program.step], building, io);
  return built.path(program);
}
