/**
 * The manifest of an output that is shared between machines, signed with Ed25519 (RFC 8032):
 *
 *     {"nodeos":"output","manifest":"{…}","signatures":[{"key":"ed25519:…","signature":"…"}]}
 *
 * `manifest` is the text of a `SharedManifest`. The signature is of `nodeos output\n` and that text, so nothing signed
 * for another purpose is taken for a manifest. Nothing of the text is read before a trusted key has signed it.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { messageOf, NodeosError } from '@nodeos/base';
import type { OutputId } from './remote-cache.js';

const VERSION = 1;
const CONTEXT = 'nodeos output\n';
const KEY_PREFIX = 'ed25519:';
const KEY_LENGTH = 32;
/** A manifest has some 150 bytes a file: this is room for 400,000 files. */
export const MAX_MANIFEST = 64 << 20;
const MAX_FILES = 500_000;
const MAX_SIGNATURES = 16;
const MAX_SIZE = 64 * 1024 ** 3;

export interface SharedFile {
  /** Relative to the output, with `/`. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Permission bits. */
  readonly mode: number;
  /** Size in bytes of a file. */
  readonly size: number;
  /** SHA-256 of a file. */
  readonly sha256?: string;
  /** Where a symbolic link points. */
  readonly link?: string;
}

export interface SharedManifest extends OutputId {
  readonly version: typeof VERSION;
  /** How long it took to build, in seconds. */
  readonly seconds: number;
  /** A folder comes before its contents. */
  readonly files: readonly SharedFile[];
  /** All files one after the other, packed by Brotli. */
  readonly contents: { readonly sha256: string; readonly size: number };
}

/** Makes a pair of keys. The private one is PEM (PKCS #8), the public one `ed25519:` and Base64. */
export function makeKeyPair(): { privateKey: string; publicKey: string } {
  const { privateKey } = generateKeyPairSync('ed25519');
  return { privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, publicKey: nameOf(privateKey) };
}

/** @param pem a private key. @throws NodeosError if it is none of Ed25519 */
export function signingKey(pem: string | Buffer): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
    throw new Error(`it is a key of ${key.asymmetricKeyType ?? 'an unknown kind'}`);
  } catch (error) {
    throw new NodeosError(`no private key of Ed25519: ${messageOf(error)}`, {
      hint: 'nodeos cache key FILE makes one',
    });
  }
}

/** The name of a key: what others write to trust it. */
export function nameOf(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  return KEY_PREFIX + Buffer.from(x ?? '', 'base64url').toString('base64');
}

/** @throws NodeosError if the text is no name of a key */
export function checkKeyName(name: string): string {
  const bytes = Buffer.from(name.slice(KEY_PREFIX.length), 'base64');
  if (name.startsWith(KEY_PREFIX) && bytes.length === KEY_LENGTH) return KEY_PREFIX + bytes.toString('base64');
  throw new NodeosError(`${name} is no public key`, { hint: `expected ${KEY_PREFIX} and 32 bytes in Base64` });
}

const publicKey = (name: string): KeyObject => {
  const x = Buffer.from(name.slice(KEY_PREFIX.length), 'base64').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
};

/** Signs a manifest. @returns the file to store */
export function sealManifest(manifest: Omit<SharedManifest, 'version'>, key: KeyObject): Buffer {
  const text = JSON.stringify({ version: VERSION, ...manifest });
  const signature = sign(null, Buffer.from(CONTEXT + text), key).toString('base64');
  const envelope = { nodeos: 'output', manifest: text, signatures: [{ key: nameOf(key), signature }] };
  return Buffer.from(JSON.stringify(envelope));
}

/** A manifest, or packed files, that must not be used. The message says why. */
export class UntrustedError extends NodeosError {}

/**
 * Checks and reads a stored manifest.
 * @param trusted names of keys
 * @throws UntrustedError if no trusted key has signed it, it is of another output, or it is malformed
 */
export function openManifest(stored: Buffer, id: OutputId, trusted: readonly string[]): SharedManifest {
  const { manifest: text, signatures } = envelopeOf(stored);
  if (!signatures.some((one) => isGood(text, one, trusted))) {
    const keys = signatures.map(({ key }) => key).join(', ');
    throw new UntrustedError(
      signatures.some(({ key }) => trusted.includes(key))
        ? 'its signature does not fit its manifest'
        : `it is not signed by a trusted key, but by ${keys === '' ? 'none' : keys}`,
    );
  }
  const manifest = parsed(text) as SharedManifest;
  checkManifest(manifest);
  for (const name of ['step', 'target', 'key'] as const)
    if (manifest[name] !== id[name])
      throw new UntrustedError(`its manifest is of the ${name} ${manifest[name]}, and not of ${id[name]}`);
  return manifest;
}

interface Signature {
  readonly key: string;
  readonly signature: string;
}

function envelopeOf(stored: Buffer): { manifest: string; signatures: readonly Signature[] } {
  const { nodeos, manifest, signatures } = parsed(stored.toString());
  if (nodeos !== 'output' || typeof manifest !== 'string' || !Array.isArray(signatures))
    throw new UntrustedError('it is no signed manifest');
  const isSignature = (one: unknown): one is Signature => {
    const { key, signature } = (one ?? {}) as Partial<Signature>;
    return typeof key === 'string' && typeof signature === 'string';
  };
  return { manifest, signatures: signatures.slice(0, MAX_SIGNATURES).filter(isSignature) };
}

function isGood(text: string, { key, signature }: Signature, trusted: readonly string[]): boolean {
  if (!trusted.includes(key)) return false;
  return verify(null, Buffer.from(CONTEXT + text), publicKey(key), Buffer.from(signature, 'base64'));
}

function parsed(text: string): object & { nodeos?: unknown; manifest?: unknown; signatures?: unknown } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // reported below
  }
  throw new UntrustedError('its manifest is not JSON');
}

/** A signer can be wrong too: nothing that a manifest says may lead out of the output's folder. */
function checkManifest(manifest: SharedManifest): void {
  const { version, files, contents } = manifest as Partial<SharedManifest>;
  if (version !== VERSION) throw new UntrustedError(`its manifest has the version ${String(version)}`);
  if (!Array.isArray(files) || files.length > MAX_FILES) throw new UntrustedError('its manifest has no list of files');
  if (!isSize(contents?.size) || !isDigest(contents.sha256)) throw new UntrustedError('its manifest has no contents');
  const folders = new Set(['']);
  const seen = new Set<string>();
  let total = 0;
  for (const file of files as readonly Partial<SharedFile>[]) {
    const problem = problemOf(file, folders, seen);
    if (problem !== undefined) throw new UntrustedError(`its manifest lists ${String(file.path)}: ${problem}`);
    if (file.type === 'directory') folders.add(file.path as string);
    seen.add(file.path as string);
    total += file.size ?? 0;
  }
  if (total > MAX_SIZE) throw new UntrustedError(`its manifest lists ${total} bytes`);
}

function problemOf(file: Partial<SharedFile>, folders: Set<string>, seen: Set<string>): string | undefined {
  const { path, type, mode, size, sha256, link } = file;
  if (typeof path !== 'string' || path.length > 4096 || path.includes('\0')) return 'it has no name';
  const names = path.split('/');
  if (names.some((name) => ['', '.', '..'].includes(name))) return 'its name is none of a file';
  if (seen.has(path)) return 'it is listed twice';
  if (!folders.has(names.slice(0, -1).join('/'))) return 'its folder is not listed before it';
  if (!Number.isInteger(mode) || (mode as number) < 0 || (mode as number) > 0o777) return 'it has no permissions';
  if (type === 'directory') return size === 0 ? undefined : 'it is a folder with a size';
  if (type === 'symlink') return typeof link === 'string' && link !== '' && size === 0 ? undefined : 'it has no target';
  if (type !== 'file') return 'it is of an unknown kind';
  return isSize(size) && isDigest(sha256) ? undefined : 'it has no checksum';
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isDigest = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
