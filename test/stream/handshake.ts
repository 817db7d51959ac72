/** Builds tls/handshake.c with a simulated peer and the sanitizers of the host's compiler. */
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { targetOf, DEFAULT_TARGET } from '@nodeos/targets';
import { build, plainProgress, unpack, type Step } from '@nodeos/engine';
import { tlsHandshake } from '@nodeos/init';
import { HOST_COMPILER } from '@nodeos/toolchain';

const INIT = fileURLToPath(new URL('../../packages/init', import.meta.url));
const target = targetOf(DEFAULT_TARGET);

const SANITIZERS = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
/** Calls a function in every basic block of the program. */
const WATCHED = '-fsanitize-coverage=trace-pc';
/** The files that parse bytes of the peer. The rest only computes with them. */
const READERS = /^(ssl_|x509|asn1parse|pk|oid)/;
/** The functions that world.h wraps. */
const WRAPPED = [
  'cipher_auth_decrypt_ext',
  'pk_verify_ext',
  'ct_memcmp',
  'ctr_drbg_random',
  'ecp_mul',
  'ecp_mul_restartable',
  'ssl_session_reset_msg_layer',
].map((name) => `-Wl,--wrap=mbedtls_${name}`);

const harness: Step = {
  name: 'test-handshake',
  target,
  recipe: import.meta.url,
  sources: tlsHandshake(target, HOST_COMPILER).step.sources ?? {},
  files: { tls: join(INIT, 'tls'), test: join(INIT, 'test/handshake'), random: join(INIT, 'test/random.h') },
  tools: HOST_COMPILER.tools,
  async build(context) {
    const { source } = await unpack(context, 'mbedtls');
    const library = join(source, 'library');
    await cp(join(context.file('tls'), 'mbedtls-config.h'), join(source, 'include/mbedtls/mbedtls_config.h'));
    const sources = (await readdir(library)).filter((name) => name.endsWith('.c'));
    const compile = (names: readonly string[], ...flags: string[]): Promise<unknown> =>
      context.run('gcc', [...SANITIZERS, ...flags, '-I../include', '-c', ...names], { cwd: library });
    context.progress('compiling Mbed TLS, with sanitizers');
    await Promise.all([
      compile(
        sources.filter((name) => READERS.test(name)),
        WATCHED,
      ),
      compile(sources.filter((name) => !READERS.test(name))),
    ]);
    const objects = sources.map((name) => name.replace(/\.c$/, '.o'));
    const harnessArgs = ['-Wall', '-Wextra', '-Werror', '-I../include', '-I.', join(context.file('test'), 'harness.c')];
    const output = join(context.dir, 'harness');
    await context.run('gcc', [...SANITIZERS, WATCHED, ...WRAPPED, '-o', output, ...harnessArgs, ...objects], {
      cwd: library,
    });
  },
};

/** @returns the path of the program */
export async function handshakeHarness(): Promise<string> {
  const result = await build([harness], { progress: plainProgress((text) => process.stderr.write(text)), jobs: 2 });
  return join(result.outputOf(harness), 'harness');
}
