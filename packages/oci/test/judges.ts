/** What other tools make of an image: umoci, and buildah with its storage driver vfs. Both need root. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdtemp, readdir, readFile, readlink, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Entry } from '@nodeos/tree';

const run = promisify(execFile);

/** A line for each file: its type, mode, owner, time, content or target, and the first of its names. */
export type Listing = Readonly<Record<string, string>>;

export interface Judge {
  readonly name: string;
  unpack(layout: string): Promise<Listing>;
}

export const umoci: Judge = {
  name: 'umoci',
  async unpack(layout) {
    const folder = await mkdtemp(join(tmpdir(), 'nodeos-umoci-'));
    try {
      await run('umoci', ['unpack', '--image', `${layout}:latest`, join(folder, 'bundle')]);
      return await listingOf(join(folder, 'bundle/rootfs'));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

export const buildah: Judge = {
  name: 'buildah',
  async unpack(layout) {
    const folder = await mkdtemp(join(tmpdir(), 'nodeos-buildah-'));
    // It makes a name of the path, which must be in lower case.
    const lower = join(tmpdir(), `nodeos-layout-${randomBytes(6).toString('hex')}`);
    await symlink(layout, lower);
    const storage = ['--storage-driver', 'vfs', '--root', join(folder, 'root'), '--runroot', join(folder, 'run')];
    try {
      const { stdout: container } = await run('buildah', [...storage, 'from', `oci:${lower}:latest`]);
      const { stdout: mounted } = await run('buildah', [...storage, 'mount', container.trim()]);
      const listing = await listingOf(mounted.trim());
      await run('buildah', [...storage, 'umount', container.trim()]);
      return listing;
    } finally {
      await rm(lower);
      await rm(folder, { recursive: true, force: true });
    }
  },
};

const TYPES: readonly (readonly [string, number])[] = [
  ['file', 0o100000],
  ['directory', 0o040000],
  ['symlink', 0o120000],
  ['character-device', 0o020000],
  ['block-device', 0o060000],
  ['fifo', 0o010000],
];

export async function listingOf(root: string): Promise<Listing> {
  const found: Record<string, string> = {};
  const first = new Map<number, string>();
  const visit = async (path: string): Promise<void> => {
    const full = join(root, path);
    const stat = await lstat(full);
    const type = TYPES.find(([, bits]) => bits === (stat.mode & 0o170000))?.[0] ?? '?';
    const what =
      type === 'file'
        ? digest(await readFile(full))
        : type === 'symlink'
          ? await readlink(full)
          : type.endsWith('device')
            ? String(stat.rdev)
            : '';
    const name = first.get(stat.ino);
    if (type !== 'directory') first.set(stat.ino, name ?? path);
    found[path] = lineOf({
      type,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      mtime: Math.floor(stat.mtimeMs / 1000),
      what,
      same: name,
    });
    if (type === 'directory')
      for (const child of (await readdir(full)).sort()) await visit(path === '' ? child : `${path}/${child}`);
  };
  await visit('');
  return found;
}

/** The same of our own tree. */
export async function listingOfTree(tree: Iterable<Entry>): Promise<Listing> {
  const found: Record<string, string> = {};
  for (const entry of tree) {
    const { path, type, mode, uid, gid, mtime, link, rdev, hardLink } = entry;
    const what =
      type === 'file'
        ? digest(Buffer.concat(await collect(entry.open?.())))
        : type === 'symlink'
          ? (link ?? '')
          : rdev
            ? String(rdev[0] * 256 + rdev[1])
            : '';
    found[path] = lineOf({ type, mode, uid, gid, mtime, what, same: hardLink });
  }
  return found;
}

async function collect(content?: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const bytes of content ?? []) all.push(bytes);
  return all;
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 12);

interface Line {
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly what: string;
  readonly same: string | undefined;
}

const lineOf = ({ type, mode, uid, gid, mtime, what, same }: Line): string =>
  `${type} ${mode.toString(8)} ${uid}:${gid} @${mtime} ${what}${same === undefined ? '' : ` = ${same}`}`;
