/**
 * Builds the static program that starts TLS connections for PID 1 (`tls/handshake.c`), with Mbed TLS. It is separate
 * because most systems do not need it, and because it needs a C library.
 */
import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Target } from '@nodeos/targets';
import { artifact, unpack, type Artifact, type Step } from '@nodeos/engine';
import type { Compiler } from '@nodeos/toolchain';
import { MBEDTLS } from './sources.js';

const HERE = fileURLToPath(new URL('../tls', import.meta.url));

const HANDSHAKE = 'handshake';

// Each function has its own section, so that the linker drops unused ones.
const FLAGS = ['-Os', '-Wall', '-Wextra', '-ffunction-sections', '-fdata-sections', '-fno-ident'];
const LINK = ['-static', '-s', '-Wl,--gc-sections', '-Wl,--build-id=none'];

export function tlsHandshake(target: Target, compiler: Compiler): Artifact<'program'> {
  const step: Step = {
    name: 'tls-handshake',
    target,
    recipe: import.meta.url,
    sources: { mbedtls: MBEDTLS },
    files: { tls: HERE },
    inputs: compiler.inputs,
    tools: compiler.tools,
    isLocal: compiler.tools.length > 0,
    async build(context) {
      const { source } = await unpack(context, 'mbedtls');
      const tlsFolder = context.file('tls');
      await copyFile(join(tlsFolder, 'mbedtls-config.h'), join(source, 'include/mbedtls/mbedtls_config.h'));
      await copyFile(join(tlsFolder, 'handshake.c'), join(source, 'library/handshake.c'));
      context.progress('compiling Mbed TLS');
      const library = join(source, 'library');
      const sources = (await readdir(library)).filter((name) => name.endsWith('.c')).sort();
      // Compiles in the folder of the sources, by relative names, so that no path of this machine gets into the output.
      const args = [...FLAGS, ...LINK, '-I../include', '-o', join(context.dir, HANDSHAKE), ...sources];
      await context.run(`${compiler.prefix}gcc`, args, { ...compiler.options(context), cwd: library });
    },
  };
  return artifact(step, 'program', HANDSHAKE);
}
