import { createHash } from 'node:crypto';

/** @returns the digest in hexadecimal */
export function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
