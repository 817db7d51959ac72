/**
 * `mkfs.erofs` and `fsck.erofs` for this host (https://erofs.docs.kernel.org/en/latest/mkfs.html), of one version with one
 * libzstd. Those of distributions have other versions, or no zstd at all, and would make other bytes of the same tree.
 * They are compiled from a list of files: the packages' own build needs autotools.
 */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { unpack, type Step, type StepContext } from '@nodeos/engine';
import type { Target } from '@nodeos/targets';
import { HOST_COMPILER } from '@nodeos/toolchain';
import { EROFS_UTILS, LIBZSTD } from './sources.js';

/** The programs; each is one file of the folder that is called as it is up to the point. */
const PROGRAMS = ['mkfs.erofs', 'fsck.erofs'] as const;

/** `lib/Makefile.am` with zstd and threads, and without LZ4, LZMA, libdeflate, libxxhash, libuuid and libselinux. */
const LIBRARY = `config io cache super inode xattr exclude namei data compress compressor zmap decompress compress_hints
  hashmap sha256 blobchunk dir fragments dedupe uuid_unparse uuid tar block_list rebuild diskbuf bitops dedupe_ext
  kite_deflate compressor_deflate compressor_libzstd xxhash workqueue`.split(/\s+/);

/** What `configure` would find on Linux, as far as the files above ask. */
const SETTINGS: Readonly<Record<string, string | number>> = {
  PACKAGE_VERSION: `"${EROFS_UTILS.version}"`,
  EROFS_MAX_BLOCK_SIZE: 4096,
  EROFS_MT_ENABLED: 1,
  HAVE_FALLOCATE: 1,
  HAVE_FSTATFS: 1,
  HAVE_LIBZSTD: 1,
  HAVE_LINUX_FALLOC_H: 1,
  HAVE_LINUX_FS_H: 1,
  HAVE_LINUX_TYPES_H: 1,
  HAVE_MEMRCHR: 1,
  HAVE_PTHREAD_H: 1,
  HAVE_STRUCT_STAT_ST_ATIM: 1,
  HAVE_SYS_IOCTL_H: 1,
  HAVE_SYS_RANDOM_H: 1,
  HAVE_SYS_STATFS_H: 1,
  HAVE_SYS_SYSMACROS_H: 1,
  HAVE_SYSCONF: 1,
  HAVE_UNISTD_H: 1,
  HAVE_UTIMENSAT: 1,
  HAVE_ZSTD_GETFRAMECONTENTSIZE: 1,
};

const FLAGS = ['-O2', '-g0', '-DNDEBUG', '-DHAVE_CONFIG_H', '-D_FILE_OFFSET_BITS=64', '-I.', '-Iinclude'];

/** @returns a step whose output has the programs at its top */
export function erofsUtils(target: Target): Step {
  return {
    name: 'erofs-utils',
    target,
    recipe: import.meta.url,
    sources: { 'erofs-utils': EROFS_UTILS, libzstd: LIBZSTD },
    tools: [...HOST_COMPILER.tools, 'make'],
    isLocal: true, // programs for this host
    async build(context) {
      const library = await compileZstd(context);
      const { source } = await unpack(context, 'erofs-utils');
      const lines = Object.entries(SETTINGS).map(([name, value]) => `#define ${name} ${value}\n`);
      await writeFile(join(source, 'config.h'), lines.join(''));
      const gcc = (...args: string[]): Promise<unknown> => context.run('gcc', args, { cwd: source });
      context.progress('compiling the EROFS tools');
      await gcc(...FLAGS, `-I${library}`, '-c', ...LIBRARY.map((name) => `lib/${name}.c`));
      for (const program of PROGRAMS) {
        const main = `${basename(program, '.erofs')}/main.c`;
        const objects = LIBRARY.map((name) => `${name}.o`);
        const linked = [...objects, join(library, 'libzstd.a'), '-lpthread', '-s', '-o', join(context.dir, program)];
        await gcc(...FLAGS, `-I${library}`, main, ...linked);
      }
    },
  };
}

/** @returns the folder of the library and of its header */
async function compileZstd(context: StepContext): Promise<string> {
  const { source } = await unpack(context, 'libzstd', { exclude: ['tests', 'programs', 'contrib', 'doc'] });
  const library = join(source, 'lib');
  context.progress('compiling libzstd');
  const without = ['ZSTD_LIB_DICTBUILDER=0', 'ZSTD_LIB_DEPRECATED=0', 'ZSTD_LEGACY_SUPPORT=0'];
  const flags = 'CFLAGS=-O2 -g0 -DNDEBUG';
  await context.run('make', ['-C', library, `-j${context.jobs}`, 'CC=gcc', flags, ...without, 'libzstd.a']);
  return library;
}
