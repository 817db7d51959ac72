/** Node.js itself: a stripped binary from an archive, and the headers that come with it. */
import { chmod, cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError } from '@nodeos/base';
import { type RunOptions, type StepContext } from '@nodeos/engine';
import { readElf, type Elf } from './elf.js';

/**
 * Unpacks the source `node` into the output.
 * @param strip the program that removes symbols, and the options to run it
 * @returns the interpreter and the libraries that the binary needs
 * @throws NodeosError if the binary is for another machine
 */
export async function unpackNode(
  context: StepContext,
  strip: { readonly program: string; readonly options?: Pick<RunOptions, 'path' | 'env'> },
): Promise<Elf> {
  const unpacked = join(context.work, 'node');
  const to = join(context.dir, 'root/bin/node');
  await mkdir(unpacked);
  await mkdir(join(context.dir, 'root/bin'), { recursive: true });
  const archive = await context.fetch('node');
  await context.run('tar', ['-xf', archive, '-C', unpacked, '--strip-components=1', '--no-same-owner']);
  await context.run(strip.program, ['-o', to, join(unpacked, 'bin/node')], strip.options);
  await chmod(to, 0o755);
  await cp(join(unpacked, 'include'), join(context.dir, 'include'), { recursive: true });
  const elf = await readElf(to);
  const { name, elfMachine } = context.target;
  if (elf.machine !== elfMachine) throw new NodeosError(`node is for ELF machine ${elf.machine}, not ${name}`);
  return elf;
}
