/** `copyFile` of `node:fs`. https://nodejs.org/api/fs.html#fspromisescopyfilesrc-dest-mode */
import { constants, type PathLike } from 'node:fs';
import { fsError, renamed } from './errors.js';
import { O, SLOT_SIZE, type RawStat } from './protocol.js';
import { isFolder, isSame } from './stats.js';
import type { Volume } from './volume.js';
import { copyModeOf, pathText } from './words.js';

const EISDIR = 21;

/** @throws TypeError or RangeError for what is no mode; FsError */
export async function copyFile(volume: Volume, from: PathLike, to: PathLike, mode?: number): Promise<void> {
  const how = copyModeOf(mode);
  try {
    await copied(volume, from, to, how);
  } catch (error) {
    throw renamed(error, 'copyfile', pathText(from), pathText(to));
  }
}

async function copied(volume: Volume, from: PathLike, to: PathLike, mode: number): Promise<void> {
  const source = await volume.open(from, O.RDONLY, 0);
  try {
    const raw = await volume.stat({ fd: source });
    const flags = O.WRONLY | O.CREAT | (mode & constants.COPYFILE_EXCL ? O.EXCL : 0);
    const target = await volume.open(to, flags, raw.mode & 0o7777);
    try {
      if (isSame(raw, await volume.stat({ fd: target }))) return;
      await replaceContent(volume, target, source, raw, (mode & constants.COPYFILE_FICLONE_FORCE) !== 0);
    } catch (error) {
      await volume.unlink(to).catch(() => undefined); // half a copy, as libuv does
      throw error;
    } finally {
      await volume.close(target);
    }
  } finally {
    await volume.close(source);
  }
}

/** In the order of libuv: also what a folder cannot be copied to becomes empty, with the folder's mode. */
async function replaceContent(
  volume: Volume,
  target: number,
  source: number,
  raw: RawStat,
  isClone: boolean,
): Promise<void> {
  await volume.truncate({ fd: target }, 0);
  await volume.chmod({ fd: target }, raw.mode & 0o7777);
  if (isFolder(raw)) throw fsError(EISDIR, 'copyfile');
  if (isClone) await volume.clone(source, target);
  else await copyContent(volume, target, source);
}

/** Blocks become common to both files where the filesystem can. */
async function copyContent(volume: Volume, target: number, source: number): Promise<void> {
  for (let done = 0; ;) {
    const count = await volume.copyRange(source, done, target, done, 64 * SLOT_SIZE);
    if (count === 0) return;
    done += count;
  }
}
