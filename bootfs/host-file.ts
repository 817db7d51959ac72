/** A file of this machine as a part of an image. */
import { stat } from 'node:fs/promises';
import type { FileSource } from '@nodeos/block';

export type HostFile = Required<Pick<FileSource, 'file' | 'size' | 'mtime'>>;

export async function hostFile(path: string): Promise<HostFile> {
  const { size, mtimeMs } = await stat(path);
  return { file: path, size, mtime: mtimeMs };
}
