/**
 * Builds a unified kernel image: one program for UEFI that has the kernel, an initramfs and the command line. A BIOS
 * loader finds the same bytes in it.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { regions, writeImage } from '@nodeos/block';
import { word } from '@nodeos/contract';
import { artifact, inputPath, type Artifact, type Step, type StepContext } from '@nodeos/engine';
import { erofsId, guidOf, pe, type PeSection } from '@nodeos/fs';
import type { Board } from '@nodeos/targets';
import { efiTargetOf } from './efi.js';
import { hostFile } from './host-file.js';
import { WATCHDOG } from './layout.js';

/** The parts of a system that a medium holds. */
export interface BootParts {
  readonly kernel: Artifact<'kernel'>;
  /** The system without the runtime. */
  readonly initramfs: Artifact<'initramfs'>;
  /** The runtime as an EROFS image for /usr. */
  readonly usr: Artifact<'image'>;
  /** The same, compressed, for CDs. */
  readonly compressedUsr: Artifact<'image'>;
  /** The step of `bootLoaders`. */
  readonly loaders: Step;
  readonly board: Board;
  /** The user's words for the kernel's command line. They come last, because later words count. */
  readonly words: readonly string[];
}

const FILE = 'nodeos.efi';
const OS_RELEASE = 'ID=nodeos\nNAME=NodeOS\nPRETTY_NAME=NodeOS\n';

/**
 * @param name the name of the step
 * @param parts without `usr` if the runtime is in the initramfs
 * @param ownWords of this kind of medium, for the kernel's command line
 */
export function unifiedKernel(
  name: string,
  parts: Omit<BootParts, 'compressedUsr' | 'usr'> & Partial<Pick<BootParts, 'usr'>>,
  ownWords: readonly string[] = [],
): Artifact<'image'> {
  const { kernel, initramfs, usr, loaders, board } = parts;
  const words = [...ownWords, ...parts.words];
  const { target } = loaders;
  const step: Step = {
    name,
    target,
    recipe: import.meta.url,
    parameters: { console: board.console, words },
    inputs: { kernel: kernel.step, initramfs: initramfs.step, loaders, ...(usr ? { usr: usr.step } : {}) },
    async build(context) {
      const id = usr && (await partitionId(inputPath(context, 'usr', usr)));
      const line = commandLine(board, [...(id === undefined ? [] : [word('usr', `PARTUUID=${id}`)]), ...words]);
      const sections: PeSection[] = [
        { ...bytes('.text', await readFile(join(context.input('loaders'), 'stub'))), isCode: true },
        bytes('.osrel', Buffer.from(OS_RELEASE)),
        bytes('.cmdline', Buffer.from(line)),
        await fileSection('.linux', context, 'kernel', kernel),
        await fileSection('.initrd', context, 'initramfs', initramfs),
      ];
      const { regions: list, size } = pe({ machine: efiTargetOf(target).machine, sections });
      const image = regions(list, { size });
      await writeImage(image, join(context.dir, FILE)).finally(() => image.close());
    },
  };
  return artifact(step, 'image', FILE);
}

/**
 * The id of the partition that holds the runtime: derived from its contents, so that no other version is taken for it.
 * @param path the EROFS image
 */
export const partitionId = async (path: string): Promise<string> => guidOf(await erofsId(path));

/** Both consoles get the kernel's messages; the last one is the system's own. */
function commandLine(board: Board, words: readonly string[]): string {
  return [
    ...['console=tty0', `console=${board.console}`, 'quiet', 'panic=10', 'rootfstype=tmpfs'],
    ...['initramfs_options=size=90%', word('watchdog', WATCHDOG)],
    ...words,
  ].join(' ');
}

const bytes = (name: string, source: Uint8Array): PeSection => ({ name, source, length: source.length });

async function fileSection(name: string, context: StepContext, input: string, of: Artifact): Promise<PeSection> {
  const source = await hostFile(inputPath(context, input, of));
  return { name, source, length: source.size };
}
