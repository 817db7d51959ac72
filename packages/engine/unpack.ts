/** Unpacks sources, plain or wrapped in a Debian package, and applies patches. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeosError } from '@nodeos/base';
import type { StepContext } from './step.js';

const AR_MAGIC = '!<arch>\n'; // the start of a Debian package, deb(5)

export interface Unpacked {
  readonly source: string;
  /** The unpacked Debian package that contained the tarball. */
  readonly wrapping?: string;
}

export interface UnpackOptions {
  /**
   * Files and folders to leave out, as paths below the source's folder. `*` stands for a part of a name. Nine of
   * ten files of GCC's source are tests, for example, and take most of the time of unpacking and removing it.
   */
  readonly exclude?: readonly string[];
}

/**
 * Unpacks a source tarball, or the tarball inside a Debian package.
 * @param name the source's name, and the name of the new folder in the scratch folder
 * @throws NodeosError if a Debian package contains no source tarball
 */
export async function unpack(context: StepContext, name: string, options: UnpackOptions = {}): Promise<Unpacked> {
  const file = await context.fetch(name);
  const source = join(context.work, name);
  context.progress(`unpacking ${name}`);
  await context.run('mkdir', [source]);
  if (!(await isDebianPackage(file))) {
    await untar(context, file, source, options);
    return { source };
  }
  const wrapping = join(context.work, `${name}-package`);
  await unpackDebian(context, file, wrapping);
  const names = await readdir(wrapping, { recursive: true });
  const tarball = names.find((path) => /^usr\/src\/(?:[^/]+\/)?[^/]+\.tar\.\w+$/.test(path));
  if (tarball === undefined) throw new NodeosError(`${file}: there is no source tarball in this Debian package`);
  await untar(context, join(wrapping, tarball), source, options);
  return { source, wrapping };
}

/** Unpacks the files of a Debian package. @param to a new folder */
export async function unpackDebian(context: StepContext, file: string, to: string): Promise<void> {
  await context.run('mkdir', [to]);
  await context.run('ar', ['x', file, 'data.tar.xz'], { cwd: to });
  await context.run('tar', ['-xf', 'data.tar.xz', '--no-same-owner'], { cwd: to });
}

async function untar(context: StepContext, file: string, to: string, { exclude = [] }: UnpackOptions): Promise<void> {
  // The first component is the folder of the version.
  const patterns = exclude.map((path) => `--exclude=*/${path}`);
  const matching = ['--anchored', '--wildcards', '--no-wildcards-match-slash'];
  await context.run('tar', [
    ...['-xf', file, '-C', to, '--strip-components=1', '--no-same-owner'],
    ...(patterns.length === 0 ? [] : [...matching, ...patterns]),
  ]);
}

async function isDebianPackage(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const start = Buffer.alloc(AR_MAGIC.length);
    await file.read(start, 0, start.length, 0);
    return start.toString('latin1') === AR_MAGIC;
  } finally {
    await file.close();
  }
}

/** Applies a patch without fuzz. @throws NodeosError with the tool's output if it does not apply exactly */
export async function patch(context: StepContext, source: string, path: string, strip = 1): Promise<void> {
  await context.run('patch', ['-d', source, `-p${strip}`, '--fuzz=0', '--forward', '-i', path]);
}

/** Applies all `*.patch` files of a folder in the order of their names. */
export async function patchAll(context: StepContext, source: string, folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.patch')).sort();
  for (const name of names) await patch(context, source, join(folder, name));
}
