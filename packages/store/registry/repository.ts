/** The repository of a URL. What speaks to registries is loaded with the first request. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NodeosError, UsageError } from '@nodeos/base';
import type { PackRepository } from './blobs.js';

type Client = InstanceType<typeof import('@nodeos/oci').Repository>;

/** @param url `oci://REGISTRY/REPOSITORY`. @throws UsageError if it is none */
export function repositoryAt(url: URL): PackRepository {
  const path = url.pathname.replace(/^\/|\/$/g, '');
  if (url.host === '' || !/^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*$/.test(path))
    throw new UsageError(`${url.href}: expected oci://REGISTRY/REPOSITORY`);
  let opened: Promise<Client> | undefined;
  const client = (): Promise<Client> =>
    (opened ??= import('@nodeos/oci').then(({ Repository }) => new Repository(url.host, path)));
  return {
    name: `oci://${url.host}/${path}`,
    // Reads of chunks are repeated by who reads them (tiers/patient.ts).
    blob: async (...args) => (await client()).blob(...args),
    manifest: repeated(async (...args) => (await client()).manifest(...args)),
    putBlob: repeated(async (...args) => (await client()).putBlob(...args)),
    putManifest: repeated(async (...args) => (await client()).putManifest(...args)),
    tags: repeated(async (signal) => (await client()).tags(signal)),
    deleteManifest: repeated(async (...args) => (await client()).deleteManifest(...args)),
  };
}

const TRIES = 6;
const FIRST_WAIT_MS = 50;

/**
 * What may be done twice, again after an answer that is no refusal. Debian's registry answers with status 500 while it
 * writes what a tag stands for.
 */
function repeated<A extends unknown[], R>(work: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
  return async (...args) => {
    for (let failures = 1; ; failures++)
      try {
        return await work(...args);
      } catch (error) {
        const isTransient = error instanceof NodeosError && 'isTransient' in error && error.isTransient === true;
        if (!isTransient || failures === TRIES) throw error;
        await sleep(FIRST_WAIT_MS * 2 ** failures);
      }
  };
}
