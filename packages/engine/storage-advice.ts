/** What a user can do about a disk that is full, or may not be written to. */
import { codeOf, NodeosError } from '@nodeos/base';

const STORAGE_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device; free some (`nodeos cache prune`) or set NODEOS_CACHE to a larger disk',
  EDQUOT: 'the disk quota is used up; free some space (`nodeos cache prune`) or set NODEOS_CACHE elsewhere',
  EROFS: 'it is on a read-only filesystem; set NODEOS_CACHE to a folder that can be written',
  EACCES: 'no permission to write there; set NODEOS_CACHE to a folder that can be written',
};

/** What to do about a storage error, by the error's code (or its cause's), or by the words that tools print for it. */
export function storageAdvice(error: unknown, output: readonly string[] = []): string | undefined {
  const cause = error instanceof NodeosError ? error.cause : undefined;
  const code =
    codeOf(error) ??
    codeOf(cause) ??
    (output.some((line) => /no space left on device/i.test(line)) ? 'ENOSPC' : undefined);
  return code === undefined ? undefined : STORAGE_ADVICE[code];
}
