/**
 * Images in one file: `oci-archive:` (a layout in a tar archive) and `docker-archive:` (what `docker save` writes). An
 * archive that is compressed is unpacked into a temporary folder first.
 * https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md#combined-image-json--filesystem-changeset-format
 */
import { createWriteStream, createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { closing, codeOf, collected, messageOf, NodeosError, temporaryFolder } from '@nodeos/base';
import { decompressed, type TarRecord } from '@nodeos/tree';
import { isCompressed } from './compression.js';
import { dockerSource } from './docker-archive.js';
import { layoutSource, type LayoutFiles } from './layout.js';
import type { FileReference } from './reference.js';
import type { ImageSource } from './source.js';
import { TarFile } from './tar-file.js';

const PIECE = 1 << 20;
const MAX_MEMBERS = 100_000;
/** Links from one member to another. */
const MAX_LINKS = 10;

/** A member of an archive: a file, or a link to one. */
type Member = Pick<TarRecord, 'type' | 'parts' | 'size' | 'link'>;

/** @throws NodeosError if it cannot be read, or is no archive of images */
export async function openArchive(reference: FileReference, signal: AbortSignal): Promise<ImageSource> {
  const files = await archiveFiles(reference.path, signal);
  try {
    return await (reference.kind === 'oci-archive' ? layoutSource(reference, files) : dockerSource(reference, files));
  } catch (error) {
    return closing(Promise.reject(error as Error), [() => files.close()]);
  }
}

/** The files of a tar archive, by name. */
async function archiveFiles(path: string, signal: AbortSignal): Promise<LayoutFiles> {
  const closers: (() => Promise<void>)[] = [];
  const close = (): Promise<void> => closing(Promise.resolve(), closers.splice(0));
  try {
    const archive = await TarFile.open(await plainFile(path, closers, signal), path);
    closers.push(() => archive.close());
    const members = new Map<string, Member>();
    for await (const { path: name, type, parts, size, link } of archive.records(signal)) {
      if (members.size === MAX_MEMBERS) throw new NodeosError(`${path} has more than ${MAX_MEMBERS} members`);
      members.set(name, { type, parts, size, ...(link === undefined ? {} : { link }) });
    }
    const find = (name: string): Member => {
      let at = name;
      for (let links = 0; links <= MAX_LINKS; links++) {
        const member = members.get(at);
        if (!member) break;
        if (member.type === 'file') return member;
        at = targetOf(at, member);
      }
      throw new NodeosError(`${path} has no file ${name}`, { hint: 'is it an archive of images of that kind?' });
    };
    return {
      async read(name, most) {
        const { parts, size } = find(name);
        const tooLong = (): Error =>
          new NodeosError(`${path}: ${name} has ${size} bytes, more than the ${most} that are read`);
        return collected(archive.content(parts, size, 0), most, tooLong);
      },
      open(name, offset) {
        const { parts, size } = find(name);
        return Promise.resolve(archive.content(parts, size, offset));
      },
      close,
    };
  } catch (error) {
    const failure = codeOf(error) === 'ENOENT' ? new NodeosError(`cannot read ${path}: ${messageOf(error)}`) : error;
    return closing(Promise.reject(failure as Error), [close]);
  }
}

/** `layer.tar` of skopeo's archives is a symbolic link to `../HEX.tar`. */
function targetOf(name: string, { type, link = '' }: Member): string {
  if (type === 'hard-link') return link;
  const parts = link.startsWith('/') ? [] : name.split('/').slice(0, -1);
  for (const part of link.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

async function plainFile(path: string, closers: (() => Promise<void>)[], signal: AbortSignal): Promise<string> {
  if (!(await isCompressed(path))) return path;
  const folder = await temporaryFolder('image');
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const plain = join(folder, 'archive.tar');
  await pipeline(decompressed(createReadStream(path, { highWaterMark: PIECE })), createWriteStream(plain), { signal });
  return plain;
}
