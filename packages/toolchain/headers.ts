/** The headers for target programs, ready before the C library is built: those of the kernel and of musl. */
import { join } from 'node:path';
import { type Target } from '@nodeos/targets';
import { unpack, type Source, type Step } from '@nodeos/engine';
import { MUSL, MUSL_FIXES } from './sources.js';
import { unpackMusl } from './musl-source.js';

/** @param linux the kernel layer's own source, so that headers and kernel have the same version */
export function headers(target: Target, linux: Source): Step {
  return {
    name: 'toolchain-headers',
    target,
    recipe: import.meta.url,
    sources: { linux, musl: MUSL, 'musl-fixes': MUSL_FIXES },
    tools: ['gcc', 'make'],
    async build(context) {
      const exclude = ['Documentation', 'drivers', 'fs', 'net', 'sound', 'tools/testing'];
      await unpack(context, 'linux', { exclude });
      const { arch, cross } = target;
      const to = join(context.dir, 'usr');
      const output = join(context.work, 'build');
      await context.run('make', [
        '-C',
        'linux',
        `O=${output}`,
        `ARCH=${arch}`,
        `INSTALL_HDR_PATH=${to}`,
        'headers_install',
      ]);
      await unpackMusl(context);
      await context.run(
        'make',
        [`ARCH=${cross.muslArch}`, 'prefix=/usr', `DESTDIR=${context.dir}`, 'install-headers'],
        {
          cwd: join(context.work, 'musl'),
        },
      );
    },
  };
}
