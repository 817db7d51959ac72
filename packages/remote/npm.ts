/**
 * Packages of a registry of npm: `@SCOPE/PREFIX-TARGET-STEP`, one version for each key. npm's configuration knows the
 * registry and who asks; the registry need not be trusted.
 * https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PassThrough, Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import tar from 'tar-stream';
import { NodeosError, temporaryFolder, UsageError } from '@nodeos/base';
import { run, type OutputId, type RemoteCache } from '@nodeos/engine';
import { writeTar, type Entry } from '@nodeos/tree';
import { bodyOf, request, textOf } from './request.js';

const MAX_ANSWER = 8 << 20;
const NAMES = { manifest: 'package/manifest.json', contents: 'package/contents.br' } as const;

/** @param url `npm:@SCOPE/PREFIX` or `npm:PREFIX` */
export function npm(url: URL): RemoteCache {
  const prefix = url.pathname;
  if (!/^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/.test(prefix))
    throw new UsageError(`${url.href}: expected npm:@SCOPE/PREFIX`);
  const nameOf = ({ step, target }: OutputId): string => `${prefix}-${target}-${step}`;
  let registry: Promise<string> | undefined;

  /** Where the package's file is; undefined if there is no such version. */
  const tarballOf = async (id: OutputId, signal: AbortSignal): Promise<URL | undefined> => {
    const root = await (registry ??= registryOf(prefix));
    const at = new URL(`${nameOf(id).replace('/', '%2f')}/${versionOf(id)}`, root);
    const response = await request(at, { headers: { accept: 'application/json' }, signal });
    if (response.statusCode === 404) {
      response.destroy();
      return undefined;
    }
    const { dist } = JSON.parse(await textOf(response, MAX_ANSWER)) as { dist?: { tarball?: unknown } };
    if (typeof dist?.tarball !== 'string') throw new NodeosError(`${nameOf(id)} has no file`);
    return new URL(dist.tarball, root);
  };

  const member = async (id: OutputId, name: string, signal: AbortSignal): Promise<PassThrough | undefined> => {
    const tarball = await tarballOf(id, signal);
    const body = tarball && bodyOf(await request(tarball, { signal }));
    return body && memberOf(body, name, signal);
  };

  return {
    name: `npm:${prefix}`,
    manifest: (id, signal) => member(id, NAMES.manifest, signal),
    contents: (id, _, signal) => member(id, NAMES.contents, signal),
    async push(id, { manifest, contents }, signal) {
      const folder = await temporaryFolder('npm');
      try {
        const description = {
          name: nameOf(id),
          version: versionOf(id),
          description: `An output of NodeOS: ${id.step}`,
        };
        const [plain, file] = [join(folder, 'package.tar'), join(folder, 'package.tgz')];
        await writeTar(
          [
            memory('package/package.json', Buffer.from(JSON.stringify({ ...description, license: 'MIT' }))),
            memory(NAMES.manifest, manifest),
            {
              ...memory(NAMES.contents, Buffer.alloc(0)),
              size: contents.size,
              open: (start = 0) => createReadStream(contents.path, { start }),
            },
          ],
          plain,
        );
        // npm publishes the file as it is, and registries want gzip. The contents are compressed already.
        await pipeline(createReadStream(plain), createGzip({ level: 0 }), createWriteStream(file), { signal });
        // One tag a key: npm wants a tag for what is no release.
        await run('npm', ['publish', file, '--access', 'public', '--tag', 'built', '--ignore-scripts'], {
          cwd: folder,
          environment: 'host',
          signal,
        });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** A version that no range takes for a release. */
const versionOf = ({ key }: OutputId): string => `0.0.0-k${key}`;

async function registryOf(name: string): Promise<string> {
  const scope = name.startsWith('@') ? [`${name.split('/')[0] ?? ''}:registry`] : [];
  for (const key of [...scope, 'registry']) {
    const { stdout } = await run('npm', ['config', 'get', key], { cwd: process.cwd(), environment: 'host' });
    const url = stdout.trim();
    if (URL.canParse(url)) return url.endsWith('/') ? url : `${url}/`;
  }
  throw new NodeosError('npm has no registry');
}

/** The content of one member of an archive that is not trusted, as it comes. */
function memberOf(body: AsyncIterable<Uint8Array>, name: string, signal: AbortSignal): PassThrough {
  const found = new PassThrough();
  const extract = tar.extract();
  // What follows the member is not fetched.
  const enough = new AbortController();
  extract.on('entry', (header, stream, next) => {
    stream.on('end', next).on('error', next);
    if (header.name !== name) return void stream.resume();
    stream.on('end', () => enough.abort()).pipe(found);
  });
  pipeline(body, createGunzip(), extract, { signal: AbortSignal.any([signal, enough.signal]) }).then(
    () => found.destroy(new NodeosError(`the package has no ${name}`)),
    (error: unknown) => (enough.signal.aborted ? undefined : found.destroy(error as Error)),
  );
  return found;
}

const memory = (path: string, bytes: Uint8Array): Entry => ({
  ...{ path, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size: bytes.length },
  open: (offset = 0) => Readable.from([bytes.subarray(offset)]),
});
