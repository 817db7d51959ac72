/** Maps errors of a backend to error numbers of the protocol. */
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

/** An error with an error number of the protocol. */
export class NbdError extends Error {
  override readonly name = 'NbdError';

  constructor(
    readonly code: ErrorName,
    message: string,
  ) {
    super(message);
  }
}

/** @returns EIO for an error without a number of its own */
export function errorNameOf(error: unknown): ErrorName {
  const code = (error as { code?: unknown } | undefined)?.code;
  // Backends throw a RangeError for an invalid range or size.
  if (error instanceof RangeError && code === undefined) return 'EINVAL';
  return (typeof code === 'string' ? BY_CODE[code] : undefined) ?? 'EIO';
}

/**
 * The text for the client: our own message, but only the code of a backend's error, because its message may name files.
 */
export const messageOf = (error: unknown): string => (error instanceof NbdError ? error.message : errorNameOf(error));

export const numberOf = (error: unknown): number => ERROR[errorNameOf(error)];

/** A peer's message for a terminal, without control characters and limited in length. */
export const printable = (text: string): string =>
  text
    .slice(0, 1024)
    .replace(/\p{Cc}/gu, ' ')
    .trim();
