/** The archives of the layer, built by the real steps from small inputs and unpacked with cpio and lz4. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { targetOf } from '@nodeos/targets';
import { type Step, type StepContext } from '@nodeos/engine';
import { afterAll, describe, expect, it } from 'vitest';
import { basePart, type Part } from '@nodeos/rootfs';
import { runtimePart } from '@nodeos/runtime';
import { filesPart, extraPart } from '@nodeos/app';
import { initramfs } from '../initramfs.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-initramfs-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const target = targetOf('x86_64');
const lacking = ['cpio', 'lz4'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);

const made = (files: Readonly<Record<string, string>>): ((dir: string) => void) => {
  return (dir) => {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), content);
    }
  };
};
const step = (name: string, make: (dir: string) => void): Step => ({
  name,
  target,
  recipe: import.meta.url,
  build: (context) => Promise.resolve(make(context.dir)),
});

const RUNTIME = step(
  'runtime',
  made({ 'root/bin/node': 'NODE'.repeat(5000), 'root/lib/libc.so.6': 'LIBC', 'include/node/node.h': '' }),
);
const INIT = step('init', made({ init: 'PID1', 'init.js': 'INIT', 'syscalls.node': 'ADDON' }));
const APP = step('app', made({ 'nodeos.json': '{"name":"web"}', 'files/index.js': 'APP', 'files/lib/a.js': 'A' }));
const MODULES = step('app-modules', made({ 'files/node_modules/ms/index.js': 'MS' }));

const [base, app, modules, runtime] = [basePart(INIT), filesPart(APP), extraPart(MODULES), runtimePart(RUNTIME)];
const imageOf = (...parts: Part[]): Step => initramfs(target, 'initramfs', parts).step;

/** Builds a step and its inputs, each once, in folders. */
async function built(wanted: Step, where: string, done = new Map<Step, string>()): Promise<string> {
  const known = done.get(wanted);
  if (known !== undefined) return known;
  const inputs: Record<string, string> = {};
  for (const [name, input] of Object.entries(wanted.inputs ?? {})) inputs[name] = await built(input, where, done);
  const dir = join(where, `${done.size}-${wanted.name}`);
  const work = `${dir}-work`;
  for (const path of [dir, work]) mkdirSync(path, { recursive: true });
  const context = {
    dir,
    work,
    target,
    input: (name: string) => inputs[name],
    progress: () => undefined,
    run: (tool: string, args: string[]) => Promise.resolve(void execFileSync(tool, args, { cwd: work, stdio: 'pipe' })),
  };
  await wanted.build(context as unknown as StepContext);
  done.set(wanted, dir);
  return dir;
}

const unpack = (archive: Buffer, to: string): void => {
  mkdirSync(to, { recursive: true });
  // Creating devices needs root, so they are checked in the listing instead.
  execFileSync('cpio', ['-idm', '--quiet', '--nonmatching', 'dev/console'], {
    input: archive,
    cwd: to,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
};
const list = (archive: Buffer): string[] =>
  execFileSync('cpio', ['-itv', '--quiet', '--numeric-uid-gid'], {
    input: archive,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
  })
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' '));

/** Unpacks like the kernel: one archive after the other, with padding between them. Data that is not cpio is LZ4. */
function unpackAll(image: Buffer, to: string): number {
  let archives = 0;
  for (let at = 0; at < image.length; archives++) {
    if (image.readUInt32LE(at) === 0x184c2102) {
      unpack(execFileSync('lz4', ['-d', '-c'], { input: image.subarray(at), maxBuffer: 1 << 26 }), to);
      return archives + 1;
    }
    expect(image.toString('latin1', at, at + 6)).toBe('070701');
    unpack(image.subarray(at), to);
    at = image.indexOf('TRAILER!!!', at) + 10;
    while (at < image.length && image[at] === 0) at++;
    expect(at % 4).toBe(0);
  }
  return archives;
}

describe.skipIf(lacking.length > 0)(`the initramfs${lacking.map((what) => ` (not here: ${what})`).join('')}`, () => {
  it('contains the system, the application and its dependencies', async () => {
    const output = await built(imageOf(base, app, modules, runtime), join(root, 'full'));
    const to = join(root, 'full/unpacked');
    expect(unpackAll(readFileSync(join(output, 'initramfs')), to)).toBe(4);
    const contents: Record<string, string> = {
      init: 'PID1',
      'sbin/init': 'INIT',
      'sbin/syscalls.node': 'ADDON',
      'usr/bin/node': 'NODE'.repeat(5000),
      'bin/node': 'NODE'.repeat(5000), // through the symbolic link
      'usr/lib/libc.so.6': 'LIBC',
      'app/index.js': 'APP',
      'app/lib/a.js': 'A',
      'app/node_modules/ms/index.js': 'MS',
      'etc/nodeos.json': '{"name":"web"}',
    };
    for (const [path, content] of Object.entries(contents)) expect(readFileSync(join(to, path), 'utf8')).toBe(content);
    expect(lstatSync(join(to, 'init')).mode & 0o777).toBe(0o755);
    expect(readdirSync(join(to, 'app')).sort()).toEqual(['index.js', 'lib', 'node_modules']);
    expect(existsSync(join(to, 'include'))).toBe(false);
  });

  it('has two parts without an application', async () => {
    const output = await built(imageOf(base, runtime), join(root, 'bare'));
    const to = join(root, 'bare/unpacked');
    expect(unpackAll(readFileSync(join(output, 'initramfs')), to)).toBe(2);
    expect(existsSync(join(to, 'etc/nodeos.json'))).toBe(false);
  });

  it('has its own name and an empty /usr without a runtime', async () => {
    const output = await built(initramfs(target, 'initramfs-base', [base, app]).step, join(root, 'base'));
    const to = join(root, 'base/unpacked');
    expect(unpackAll(readFileSync(join(output, 'initramfs-base')), to)).toBe(2);
    expect(readdirSync(join(to, 'usr'))).toEqual([]);
    expect(readlinkSync(join(to, 'lib64'))).toBe('usr/lib64');
  });

  it('has a skeleton that PID 1 and Node.js can start in', async () => {
    const { archive } = { archive: imageOf(base, runtime).inputs?.['init'] as Step };
    const lines = list(readFileSync(join(await built(archive, join(root, 'skeleton')), 'archive.cpio')));
    const JAN = 'Jan 1 1970';
    expect(lines).toEqual(
      expect.arrayContaining([
        `crw------- 1 0 0 5, 1 ${JAN} dev/console`,
        `drwxrwxrwt 1 0 0 0 ${JAN} tmp`,
        `drwx------ 1 0 0 0 ${JAN} root`,
        `drwxr-xr-x 1 1000 1000 0 ${JAN} home/app`,
        `-rwxr-xr-x 1 0 0 4 ${JAN} init`,
      ]),
    );
    const paths = lines.map((line) => line.split(`${JAN} `)[1]?.replace(/ -> .*/, '') ?? '');
    expect(new Set(paths).size).toBe(paths.length);
    for (const [index, path] of paths.entries()) {
      if (path.includes('/')) expect(paths.slice(0, index)).toContain(dirname(path));
    }
  });

  it('is identical when built in another folder', async () => {
    const bytes = async (where: string): Promise<Buffer> =>
      readFileSync(join(await built(imageOf(base, app, runtime), join(root, where)), 'initramfs'));
    expect((await bytes('here')).equals(await bytes('there/and further'))).toBe(true);
  });

  it('repacks a part only if it changed', () => {
    const names = (...parts: Part[]): string[] => Object.keys(imageOf(...parts).inputs ?? {});
    expect(names(base, app, runtime)).toEqual(['init', 'app', 'runtime']);
    expect(names(runtime, base, app, modules)).toEqual(['init', 'app', 'app-modules', 'runtime']);
    for (const part of Object.values(imageOf(base, app, runtime).inputs ?? {})) {
      expect(Object.keys(part.inputs ?? {})).toHaveLength(1);
    }
  });
});
