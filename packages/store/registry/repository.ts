/** The repository of a URL. What speaks to registries is loaded with the first request. */
import { UsageError } from '@nodeos/base';
import type { PackRepository } from './store.js';

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
    manifest: async (...args) => (await client()).manifest(...args),
    blob: async (...args) => (await client()).blob(...args),
    putBlob: async (...args) => (await client()).putBlob(...args),
    putManifest: async (...args) => (await client()).putManifest(...args),
  };
}
