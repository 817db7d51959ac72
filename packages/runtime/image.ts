/** The runtime as a filesystem image for /usr. A machine maps it from a disk instead of unpacking it into memory. */
import { createHash } from 'node:crypto';
import { chmod, cp, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target } from '@nodeos/targets';
import { artifact, inputPath, type Artifact, type Step } from '@nodeos/engine';
import { erofsId, guidOf, writeErofs } from '@nodeos/fs';
import { fromDirectory } from '@nodeos/tree';
import { erofsUtils } from './erofs-utils/erofs-utils.js';
import { EROFS_UTILS, LIBZSTD } from './erofs-utils/sources.js';

const FILE = 'usr.erofs';

/** The image's size in bytes is a multiple of this huge-page size, because memory devices consist of huge pages. */
const ALIGN = 2 << 20;

/** @param runtime a step with the output that `runtime.ts` describes */
export function runtimeImage(target: Target, runtime: Step): Artifact<'image'> {
  const step: Step = {
    name: 'usr',
    target,
    recipe: import.meta.url,
    inputs: { runtime },
    isLocal: true, // made in a quarter of a second
    async build(context) {
      const tree = fromDirectory(join(context.input('runtime'), 'root'));
      await writeErofs(tree, join(context.dir, FILE), { align: ALIGN });
    },
  };
  return artifact(step, 'image', FILE);
}

const COMPRESSED = 'usr-compressed.erofs';
/** zstd in clusters of 512 KiB: a third of the size. Level 19 saves another 6 %, and takes minutes. */
const COMPRESSION = ['-zzstd,level=9', '-C524288'];

/**
 * The same, compressed, for media where room is scarcer than time, such as CDs.
 * @param plain the image of `runtimeImage`, from whose id this one's is derived
 */
export function compressedRuntimeImage(target: Target, runtime: Step, plain: Artifact<'image'>): Artifact<'image'> {
  const step: Step = {
    name: 'usr-compressed',
    target,
    recipe: import.meta.url,
    parameters: { compression: COMPRESSION },
    inputs: { runtime, plain: plain.step, utils: erofsUtils(target) },
    async build(context) {
      const tree = join(context.work, 'usr');
      await cp(join(context.input('runtime'), 'root'), tree, { recursive: true, verbatimSymlinks: true });
      await setModes(tree);
      const id = await erofsId(inputPath(context, 'plain', plain));
      const how = [...COMPRESSION, EROFS_UTILS.version, LIBZSTD.version].join(' ');
      const uuid = guidOf(createHash('sha256').update(id).update(how).digest());
      const program = (name: string): string => join(context.input('utils'), name);
      const image = join(context.dir, COMPRESSED);
      // Files are compressed in segments of one size, so the number of workers changes no byte.
      const options = ['--quiet', '--all-root', '-T0', '-x-1', '-U', uuid, `--workers=${context.jobs}`, ...COMPRESSION];
      context.progress('compressing the runtime');
      await context.run(program('mkfs.erofs'), [...options, image, tree]);
      context.progress('unpacking it once, to be sure'); // its authors call the compressor experimental
      await context.run(program('fsck.erofs'), ['--extract', image]);
    },
  };
  return artifact(step, 'image', COMPRESSED);
}

/** As in trees of folders: only the executable bit counts, because the others depend on a umask. */
async function setModes(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) continue;
    const isExecutable = entry.isDirectory() || ((await stat(path)).mode & 0o100) !== 0;
    await chmod(path, isExecutable ? 0o755 : 0o644);
    if (entry.isDirectory()) await setModes(path);
  }
}
