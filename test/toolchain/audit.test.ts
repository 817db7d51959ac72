/** Every file of a whole system on musl: what it needs, and what it must not have in it. readelf is the judge. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Cache } from '@nodeos/engine';
import { expect, it } from 'vitest';
import { LONG, nodeos, ROOT, temporary } from '../support.js';

const exec = promisify(execFile);

/** Unpacks what boots: the kernel, the initramfs, the image of the runtime. @returns the folder */
async function unpacked(): Promise<string> {
  const out = await temporary();
  const app = join(ROOT, 'examples/native');
  const { status, stderr } = await nodeos('build', 'kernel', 'initramfs-base', 'usr', '--app', app, '--out', out);
  expect(status, stderr).toBe(0);
  const root = join(out, 'root');
  await mkdir(root);
  await exec('bash', [
    '-c', // Several archives, one after the other.
    `cd '${root}' && while cpio -id --quiet 2>/dev/null; do :; done < '${join(out, 'initramfs-base')}'`,
  ]);
  await exec('fsck.erofs', [`--extract=${join(root, 'usr')}`, '--overwrite', join(out, 'usr.erofs')]);
  return out;
}

it(
  'refers to nothing of glibc but in Node.js, of the machine that built it, or of an age without memory protection',
  { timeout: LONG },
  async () => {
    const out = await unpacked();
    const entries = await readdir(out, { recursive: true, withFileTypes: true });
    const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const places = [new Cache().root, ROOT.replace(/\/$/, ''), `${homedir()}/`].filter((place) => place.length > 3);
    const found: string[] = [];
    let programs = 0;
    for (const path of paths) {
      const bytes = await readFile(path);
      const name = path.slice(out.length + 1);
      for (const place of places) if (bytes.includes(place)) found.push(`${name}: has ${place} in it`);
      if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) continue;
      programs++;
      found.push(...(await faultsOf(path)).map((fault) => `${name}: ${fault}`));
    }
    expect(found).toEqual([]);
    // vmlinux, init, its addon, node, musl, libstdc++, libgcc, and the addons of the application
    expect(programs).toBeGreaterThanOrEqual(9);
  },
);

/** Libraries that there are in the image. */
const LIBRARIES = ['libc.so', 'libc.musl-x86_64.so.1', 'libstdc++.so.6', 'libgcc_s.so.1', 'libatomic.so.1'];
/** What the official Node.js asks for besides, by glibc's names: musl itself answers to them, and the last is ours. */
const OF_NODE = ['libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0', 'ld-linux-x86-64.so.2'];

async function faultsOf(path: string): Promise<string[]> {
  const { stdout } = await exec('readelf', ['-dlVW', path], { maxBuffer: 64 << 20 });
  const isNode = path.endsWith('/bin/node');
  const libraries = isNode ? [...LIBRARIES, ...OF_NODE] : LIBRARIES;
  const faults: string[] = [];
  const check = (wrong: boolean, fault: string): void => {
    if (wrong) faults.push(fault);
  };
  for (const [, library = ''] of stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g))
    check(!libraries.includes(library), `needs ${library}`);
  const interpreter = /interpreter: (.*)\]/.exec(stdout)?.[1];
  check(interpreter !== undefined && interpreter !== '/lib/ld-musl-x86_64.so.1', `is loaded by ${interpreter ?? ''}`);
  check(/GLIBC_\d/.test(stdout) && !isNode, 'refers to versions of glibc');
  check(/GNU_STACK .* RWE /.test(stdout), 'has an executable stack');
  check(/\(TEXTREL\)|FLAGS.*TEXTREL/.test(stdout), 'has text relocations');
  check(/\((RPATH|RUNPATH)\)/.test(stdout), 'looks for libraries in folders of its own');
  check(/LOAD .* RWE /.test(stdout) && !path.endsWith('vmlinux'), 'has a segment that is writable and executable');
  return faults;
}
