/** Systems with glibc, in machines: their kernel is compiled by the host's compiler, a second one beside the toolchain's. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stackInGuest } from '../boot/addon.js';
import { exec, freePort, LONG, nodeos, request, ROOT, start } from '../support.js';
import { answersInGuest } from '../toolchain/answers.js';

const GLIBC = ['--libc', 'glibc'];

describe('Node.js on glibc', { timeout: LONG }, () => {
  it('is the same version, with the libraries of a distribution, on a kernel that needs no toolchain', async () => {
    const code = `console.log(process.version, process.report.getReport().header.glibcVersionRuntime)`;
    const { status, stdout, stderr } = await exec(code, ...GLIBC);
    expect(status, stderr).toBe(0);
    expect(stdout).toBe('v26.12.1 2.41\n');
    const plan = (await nodeos('build', ...GLIBC, '--explain')).stdout;
    expect(plan).not.toContain('toolchain');
  });

  it('answers as on musl', async () => {
    expect(await answersInGuest(...GLIBC)).toEqual(await answersInGuest('--libc', 'musl'));
  });

  it('runs an application', async () => {
    const port = await freePort();
    const guest = start(['start', join(ROOT, 'examples/fastify'), ...GLIBC, '--publish', `${port}:80`]);
    await guest.waitForOutput(/the guest's port 80/);
    expect(await (await request(`http://127.0.0.1:${port}/`)).text()).not.toBe('');
  });

  it('gives a thread of an addon the usual stack size', async () => {
    expect(await stackInGuest(...GLIBC)).toBe("2000 [ 'deep.node' ]\n");
  });
});
