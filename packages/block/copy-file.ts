/** Copies a file of this machine with its holes. */
import { copy } from './copy.js';
import { file } from './file.js';

/**
 * Makes the file `to`, in which zeros are holes. Does not flush.
 * @param size bytes of the new file, at least those of the old one, and as many by default. More are zeros
 * @throws Error with the code EEXIST if `to` exists; the errors of both files, after which `to` may be unfinished
 */
export async function copyFileWithHoles(from: string, to: string, size?: number): Promise<void> {
  const source = await file(from, { readOnly: true });
  try {
    const target = await file(to, { create: size ?? source.size });
    await copy(source, target, { targetIsZero: true }).finally(() => target.close());
  } finally {
    await source.close();
  }
}
