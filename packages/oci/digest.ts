/**
 * Digests of contents, as descriptors have them: `sha256:HEX`, `sha512:HEX`.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
 */
import { createHash, type Hash } from 'node:crypto';
import { NodeosError, sha256 } from '@nodeos/base';

/** Hexadecimal digits by algorithm. */
const LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

export interface Digest {
  readonly algorithm: string;
  readonly hex: string;
}

/** A content that is named by its digest. */
export interface Sized {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** @returns undefined if the text is no digest of a known algorithm */
export function parseDigest(text: string): Digest | undefined {
  const [, algorithm = '', hex = ''] = /^([a-z0-9]+):([0-9a-f]+)$/.exec(text) ?? [];
  return LENGTHS[algorithm] === hex.length ? { algorithm, hex } : undefined;
}

/** @throws NodeosError if the text is no digest of a known algorithm; the message names `subject` */
export function digestOf(text: string, subject: string): Digest {
  const digest = parseDigest(text);
  if (digest) return digest;
  throw new NodeosError(`${subject}: ${JSON.stringify(text.slice(0, 200))} is no digest (sha256:… or sha512:…)`);
}

export const sha256Digest = (bytes: string | Uint8Array): string => `sha256:${sha256(bytes)}`;

/** The content is not the one that its digest or its size says. */
export class WrongContentError extends NodeosError {}

/** Compares a content that comes in pieces with its digest and its size. */
export class DigestCheck {
  readonly #hash: Hash;
  #length = 0;

  /**
   * @param wanted without a size, any will do
   * @param subject for messages
   */
  constructor(
    private readonly wanted: { readonly digest: string; readonly size?: number },
    private readonly subject: string,
  ) {
    this.#hash = createHash(digestOf(wanted.digest, subject).algorithm);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** @throws WrongContentError as soon as the content is longer than it should be */
  update(bytes: Uint8Array): void {
    const { size = Infinity } = this.wanted;
    this.#length += bytes.length;
    if (this.#length > size)
      throw new WrongContentError(`${this.subject} is longer than the ${size} bytes it should have`);
    this.#hash.update(bytes);
  }

  /** @throws WrongContentError if it is shorter, or another content */
  finish(): void {
    const { digest, size = this.#length } = this.wanted;
    if (this.#length !== size)
      throw new WrongContentError(`${this.subject} ends after ${this.#length} of ${size} bytes`);
    const found = this.#hash.digest('hex');
    if (found !== digestOf(digest, this.subject).hex)
      throw new WrongContentError(
        `${this.subject} has another content: its ${digest.split(':')[0]} is ${found}, not ${digest}`,
      );
  }
}

/** Passes a content on, and fails at its end if it is not the wanted one. @throws WrongContentError */
export async function* checked(
  body: AsyncIterable<Uint8Array>,
  wanted: Sized,
  subject: string,
): AsyncGenerator<Uint8Array> {
  const check = new DigestCheck(wanted, subject);
  for await (const bytes of body) {
    check.update(bytes);
    yield bytes;
  }
  check.finish();
}

/** @throws WrongContentError if it is not the wanted content */
export function checkBytes(
  bytes: Uint8Array,
  wanted: { readonly digest: string; readonly size?: number },
  subject: string,
): void {
  const check = new DigestCheck(wanted, subject);
  check.update(bytes);
  check.finish();
}
