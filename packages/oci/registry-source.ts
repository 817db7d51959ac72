/** An image in a registry, or in one of its mirrors. */
import { messageOf, NodeosError, UsageError } from '@nodeos/base';
import type { Sized } from './digest.js';
import type { Document } from './model.js';
import { parseReference, type RegistryReference } from './reference.js';
import { Repository, type RegistryOptions } from './registry.js';
import type { ImageSource } from './source.js';

/** Names that begin with `prefix` are asked of `location` first. */
export interface Mirror {
  /** `HOST`, or `HOST/PATH` */
  readonly prefix: string;
  /** `HOST[:PORT][/PATH]`, which replaces the prefix. */
  readonly location: string;
}

/** @param text `PREFIX=LOCATION`. @throws UsageError */
export function parseMirror(text: string): Mirror {
  const [prefix = '', location = '', ...more] = text.split('=');
  const isName = (name: string): boolean => {
    try {
      return parseReference(`docker://${name}/x`).kind === 'docker';
    } catch {
      return false;
    }
  };
  if (more.length === 0 && isName(prefix) && isName(location)) return { prefix, location };
  throw new UsageError(`${text}: expected HOST[/PATH]=HOST[:PORT][/PATH]`, {
    hint: 'docker.io=mirror.example:5000/hub',
  });
}

/** Mirrors come first, in the order in which they are given. */
export function registrySource(
  reference: RegistryReference,
  mirrors: readonly Mirror[],
  options: RegistryOptions,
): ImageSource {
  const { host, repository, tag, digest } = reference;
  const name = `${host}/${repository}`;
  const places = mirrors
    .filter(({ prefix }) => name === prefix || name.startsWith(`${prefix}/`))
    .map(({ prefix, location }) => `${location}${name.slice(prefix.length)}`)
    .map((place) => new Repository(place.slice(0, place.indexOf('/')), place.slice(place.indexOf('/') + 1), options));
  const all = [...places, new Repository(host, repository, options)];
  const manifest = (wanted: string, signal: AbortSignal): Promise<Document> =>
    firstOf(all, signal, async (place) => {
      const found = await place.manifest(wanted, signal);
      if (found) return found;
      throw new NodeosError(`${place.name} has no ${wanted}`, { hint: 'is the name right, and may you read it?' });
    });
  return {
    name: `docker://${name}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`,
    ...(digest === undefined ? {} : { digest }),
    top: (signal) => manifest(digest ?? tag ?? 'latest', signal),
    manifest: ({ digest: wanted }: Sized, signal) => manifest(wanted, signal),
    blob: (wanted, offset, signal) => firstOf(all, signal, (place) => place.blob(wanted, offset, signal)),
    close: () => Promise.resolve(),
  };
}

/** @throws the error of the last one, which is no mirror; the others' are its lines */
async function firstOf<T>(
  all: readonly Repository[],
  signal: AbortSignal,
  ask: (place: Repository) => Promise<T>,
): Promise<T> {
  const failures: string[] = [];
  for (const place of all.slice(0, -1)) {
    try {
      return await ask(place);
    } catch (error) {
      signal.throwIfAborted();
      failures.push(`${place.name}: ${messageOf(error)}`);
    }
  }
  const last = all.at(-1);
  if (!last) throw new Error('no registry to ask');
  try {
    return await ask(last);
  } catch (error) {
    signal.throwIfAborted();
    if (failures.length === 0 && error instanceof NodeosError) throw error;
    const hint = error instanceof NodeosError && error.hint !== undefined ? { hint: error.hint } : {};
    throw new NodeosError(`${last.name}: ${messageOf(error)}`, { lines: failures, cause: error, ...hint });
  }
}
