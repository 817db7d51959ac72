/** The remote caches of a command: from its options, else from the environment. */
import { checkKeyName, type Sharing } from '@nodeos/engine';
import { printMessage, type Io } from './command.js';
import { userKeys } from './user-keys.js';

/** The remote caches that a command's options name. */
export interface SharingOptions {
  /** Remote caches by URL. Default: those of the environment. */
  readonly remotes?: readonly string[];
  /** Public keys to trust, besides those of the environment and of the user's file. */
  readonly trusted?: readonly string[];
  /** Keys that a project's files name. They count if the user trusts them too. */
  readonly projectKeys?: readonly string[];
}

const REMOTES = 'NODEOS_REMOTE_CACHE';
const KEYS = 'NODEOS_TRUSTED_KEYS';

/**
 * @returns undefined if no remote cache is to be asked
 * @throws UsageError for a remote cache of an unknown kind; NodeosError for a key that is none
 */
export async function sharingOf(options: SharingOptions, io: Pick<Io, 'env' | 'stderr'>): Promise<Sharing | undefined> {
  const urls = options.remotes ?? wordsOf(io.env[REMOTES]);
  if (urls.length === 0) return undefined;
  const own = [...(options.trusted ?? []), ...wordsOf(io.env[KEYS]), ...(await userKeys(io.env))].map(checkKeyName);
  const trusted = [...new Set(own)];
  // A project that was only cloned must not decide whose outputs get into the cache of all projects.
  for (const key of new Set((options.projectKeys ?? []).map(checkKeyName)))
    if (!trusted.includes(key))
      printMessage(io, `the project trusts the key ${key}, and you do not yet: nodeos cache trust ${key}`);
  if (trusted.length === 0) {
    const ways = `nodeos cache trust KEY, --trust KEY or ${KEYS}`;
    printMessage(io, `no remote cache is asked, because no key is trusted: ${ways}`);
    return undefined;
  }
  // Loaded on demand: it brings an HTTP client along.
  const { remoteCache } = await import('@nodeos/remote');
  return { remotes: urls.map(remoteCache), trusted };
}

/** The list of a variable: words apart by spaces or commas. */
export const wordsOf = (text: string | undefined): string[] =>
  (text ?? '').split(/[\s,]+/).filter((word) => word !== '');
