/** What goes wrong in a backend, in the numbers of the protocol. */
import { ERROR, type ErrorName } from './protocol.js';

const BY_CODE: Readonly<Record<string, ErrorName>> = {
  EPERM: 'EPERM',
  EACCES: 'EPERM',
  EROFS: 'EPERM',
  ENOMEM: 'ENOMEM',
  EINVAL: 'EINVAL',
  ENOSPC: 'ENOSPC',
  EDQUOT: 'ENOSPC',
  EFBIG: 'ENOSPC',
  EOVERFLOW: 'EOVERFLOW',
  ENOTSUP: 'ENOTSUP',
  EOPNOTSUPP: 'ENOTSUP',
  ESHUTDOWN: 'ESHUTDOWN',
};

/** A failure with the protocol's own number. */
export class NbdError extends Error {
  override readonly name = 'NbdError';

  constructor(
    readonly code: ErrorName,
    message: string,
  ) {
    super(message);
  }
}

/** @returns EIO for whatever has no number of its own */
export function errorNameOf(error: unknown): ErrorName {
  const code = (error as { code?: unknown } | undefined)?.code;
  // A backend's own word for a range or a size that it cannot have.
  if (error instanceof RangeError && code === undefined) return 'EINVAL';
  return (typeof code === 'string' ? BY_CODE[code] : undefined) ?? 'EIO';
}

/** What the client is told: our own words, and of a backend's failure only the code, since messages name files. */
export const wordsOf = (error: unknown): string => (error instanceof NbdError ? error.message : errorNameOf(error));

export const numberOf = (error: unknown): number => ERROR[errorNameOf(error)];

/** A peer's words, for a terminal: without control characters, and not too many. */
export const printable = (words: string): string =>
  words
    .slice(0, 1024)
    .replace(/\p{Cc}/gu, ' ')
    .trim();
