/** Advice for a disk that is full or not writable. */
import { codeOf, NodeosError } from '@nodeos/base';

const STORAGE_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device; free some (`nodeos cache prune`) or set NODEOS_CACHE to a larger disk',
  EDQUOT: 'the disk quota is used up; free some space (`nodeos cache prune`) or set NODEOS_CACHE elsewhere',
  EROFS: 'it is on a read-only filesystem; set NODEOS_CACHE to a folder that can be written',
  EACCES: 'no permission to write there; set NODEOS_CACHE to a folder that can be written',
};

/**
 * Advice for a storage error. It is found by the error's code, the code of its cause, or a known message in a tool's
 * output.
 */
export function storageAdvice(error: unknown, output: readonly string[] = []): string | undefined {
  const cause = error instanceof NodeosError ? error.cause : undefined;
  const code =
    codeOf(error) ??
    codeOf(cause) ??
    (output.some((line) => /no space left on device/i.test(line)) ? 'ENOSPC' : undefined);
  return code === undefined ? undefined : STORAGE_ADVICE[code];
}
