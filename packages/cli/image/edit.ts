/** nodeos image edit: a file in an editor. */
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { codeOf, NodeosError, temporaryFolder } from '@nodeos/base';
import { runAttached } from '@nodeos/engine';
import type { MountedFilesystem } from '@nodeos/linuxfs';
import { printMessage, type Command, type Io } from '../command.js';
import { notRoot, oneLocation } from './location.js';
import { withMounted } from './open.js';
import { writeStream } from './streams.js';

export const editCommand: Command = {
  name: 'image edit',
  summary: 'Edits a file of an image with $VISUAL or $EDITOR. The old file is there until the new one is complete.',
  operands: 'IMAGE[:PARTITION][/PATH]',
  options: {},
  examples: [
    ['nodeos image edit sdcard.img:1/config.txt', 'a file of the first partition'],
    ['EDITOR="code --wait" nodeos image edit root.ext4/etc/hostname', 'with another editor'],
  ],
  async run(args, io) {
    const location = await oneLocation('image edit', args.operands);
    notRoot(location);
    await withMounted(location, uninterrupted(io), (mounted) => edit(mounted, location.path, io));
    return 0;
  },
};

/** Ctrl-C is a key of many editors. The terminal sends it to both processes. */
export const uninterrupted = (io: Io): Io => ({
  ...io,
  signal: new AbortController().signal,
  kill: new AbortController().signal,
});

/**
 * @param path a file that may not be there yet
 * @throws NodeosError if it is no file, or if the editor fails: nothing changes then
 */
export async function edit(mounted: MountedFilesystem, path: string, io: Io): Promise<void> {
  const { promises } = mounted;
  const old = await promises.readFile(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  await promises.access(posix.dirname(path));
  const folder = await temporaryFolder('edit');
  try {
    const file = join(folder, posix.basename(path));
    await writeFile(file, old ?? '', { mode: 0o600 });
    const before = await stat(file);
    await runEditor(file, io);
    const edited = await readFile(file);
    if (old ? edited.equals(old) : edited.length === 0 && (await stat(file)).mtimeMs === before.mtimeMs)
      return printMessage(io, `${path} is unchanged`);
    await writeStream(mounted, path, [edited], { signal: new AbortController().signal });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runEditor(file: string, io: Io): Promise<void> {
  const { env, signal, stdin } = io;
  const { kill } = uninterrupted(io);
  const editor = env['VISUAL'] || env['EDITOR'] || 'vi';
  // As git does: a variable may have options in it.
  const status = await runAttached('sh', ['-c', `${editor} "$1"`, 'sh', file], {}, { signal, kill, stdin });
  if (status === 0) return;
  const hint = 'set EDITOR to an editor that is installed';
  throw new NodeosError(`the editor ${editor} ended with the status ${status}: nothing is changed`, {
    ...(status === 127 ? { hint } : {}),
  });
}
