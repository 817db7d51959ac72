/** The kernel in a virtual machine: the same files, durability and errors; its start, its end, and what is left behind. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { file, fault } from '@nodeos/block';
import { kindOf } from '@nodeos/linuxfs';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { LONG, ROOT, temporary } from '../support.js';
import { crash } from './crashes.js';
import { builtQemuKernel, checked, emptyDisk, filesystemOf, opened } from './disks.js';

let kernel: string;
let kind: 'x86_64' | 'aarch64';
beforeAll(async () => {
  kernel = await builtQemuKernel();
  kind = (await kindOf(kernel)) === 'aarch64' ? 'aarch64' : 'x86_64';
}, LONG);
afterEach(() => vi.unstubAllEnvs());

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

/** Waits until a process has ended. @returns whether it has within 20 s */
async function ended(pid: number): Promise<boolean> {
  for (let i = 0; i < 200 && isAlive(pid); i++) await sleep(100);
  return !isAlive(pid);
}

describe.each(['ext4', 'xfs', 'btrfs', 'f2fs', 'vfat'])('%s under QEMU', (type) => {
  it('writes, reads, lists, renames, trims and removes; its own program finds it sound', async () => {
    const image = emptyDisk(await temporary(), type);
    const large = randomBytes((3 << 20) + 17);
    const disk = await opened(image, { kernel });
    const mounted = await disk.mount();
    const { promises } = mounted;
    await promises.mkdir('/folder/inner', { recursive: true });
    await promises.writeFile('/folder/large', large);
    await promises.appendFile('/folder/large', 'the end');
    await Promise.all(Array.from({ length: 100 }, (_, i) => promises.writeFile(`/folder/inner/${i}`, String(i))));
    await promises.rename('/folder/inner/7', '/seven');
    await promises.rm('/folder/inner/8');
    if (filesystemOf(type).isUnix) {
      await promises.symlink('seven', '/link');
      await promises.chown('/seven', 12, 34);
      await mounted.setxattr({ path: '/seven' }, 'user.name', Buffer.from('value'));
    }
    expect(await mounted.trim()).toBeGreaterThan(type === 'f2fs' ? -1 : 0); // f2fs counts what it does later as nothing
    await mounted.unmount();

    const again = await disk.mount();
    expect(Buffer.compare(await again.promises.readFile('/folder/large'), Buffer.concat([large, Buffer.from('the end')]))).toBe(0); // prettier-ignore
    expect((await again.promises.readdir('/folder/inner')).length).toBe(98);
    const seven = filesystemOf(type).isUnix ? '/link' : '/seven';
    expect(await again.promises.readFile(seven, 'utf8')).toBe('7');
    const { mtimeMs, uid } = await again.promises.stat(seven);
    expect(Math.abs(mtimeMs - Date.now())).toBeLessThan(120_000);
    if (filesystemOf(type).isUnix) expect(uid).toBe(12);
    await expect(again.promises.stat('/folder/inner/8')).rejects.toMatchObject({ code: 'ENOENT' });
    await disk.close();
    expect(checked(image, type)).toMatchObject({ status: 0 });
  });
});

it.each(['kernel', 'power', 'client', 'both'] as const)(
  'keeps what was durable when it ends by the %s',
  { timeout: 600_000 },
  async (victim) => {
    const { looked, problems } = await crash(kernel, await temporary(), 'ext4', victim, 2, 1);
    expect(problems).toEqual([]);
    expect(looked).toBeGreaterThan(0);
  },
);

it('says EIO to all that wait when the machine ends, and what ended it', async () => {
  const disk = await opened(emptyDisk(await temporary(), 'ext4'), { kernel });
  const { promises } = await disk.mount();
  const waiting = [promises.writeFile('/x', randomBytes(8 << 20), { flush: true }), promises.readdir('/')];
  disk.kill();
  const results = await Promise.allSettled(waiting);
  expect(results[0]).toMatchObject({ status: 'rejected', reason: { code: 'EIO', cause: { message: /SIGKILL/ } } });
  await expect(promises.stat('/')).rejects.toMatchObject({ code: 'EIO' });
});

it('gives the errors of a disk to whoever asks for durability', async () => {
  const device = await file(emptyDisk(await temporary(), 'ext4'));
  const disk = await opened(fault(device, [{ operations: ['write'], fraction: 0.05 }]), { kernel });
  const { promises } = await disk.mount();
  const filling = (async () => {
    for (let i = 0; i < 100; i++) await promises.writeFile(`/f${i}`, randomBytes(1 << 20), { flush: true });
  })();
  await expect(filling).rejects.toMatchObject({ code: expect.stringMatching(/^(EIO|EROFS)$/) as string });
});

it('leaves no machine behind when this process ends without closing', async () => {
  const image = emptyDisk(await temporary(), 'ext4');
  const code = `
    import { open } from '${ROOT}packages/linuxfs/dist/index.js';
    const disk = await open('${image}', { kernel: '${kernel}' });
    await disk.mount();
    console.log(disk.pid);
    setInterval(() => undefined, 1000);`;
  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(child.stdout, 'data');
    const pid = Number(line);
    expect(isAlive(pid)).toBe(true);
    child.kill(signal);
    expect(await ended(pid), signal).toBe(true);
  }
});

it('works with a memory that is a temporary file, as on macOS, and leaves no file behind', async () => {
  const platform = Object.getOwnPropertyDescriptor(process, 'platform');
  const files = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('linuxfs-'));
  const before = files();
  const { machines } = await import('../../packages/linuxfs/dist/machine.js');
  Object.defineProperty(process, 'platform', { ...platform, value: 'darwin' });
  try {
    for (const machine of await machines(kernel, kind, 128 << 20)) {
      expect(machine.args.join(' ')).toContain('memory-backend-file,mem-path=');
      machine.settled?.();
      break; // those that are not started have no file either
    }
    const { promises } = await (await opened(emptyDisk(await temporary(), 'ext4'), { kernel })).mount();
    await promises.writeFile('/x', randomBytes(1 << 20));
    expect((await promises.readFile('/x')).length).toBe(1 << 20);
  } finally {
    Object.defineProperty(process, 'platform', platform ?? {});
  }
  expect(files()).toEqual(before);
});

describe('what cannot be started', () => {
  it('says that QEMU is not there', async () => {
    const image = emptyDisk(await temporary(), 'ext4');
    vi.stubEnv('PATH', '/nowhere');
    await expect(opened(image, { kernel })).rejects.toThrow(`qemu-system-${kind} is not installed, or not in PATH`);
  });

  it('says that a machine has too much memory, or too little', async () => {
    const image = emptyDisk(await temporary(), 'ext4');
    await expect(opened(image, { kernel, memory: 4 * 2 ** 30 })).rejects.toThrow('at most 2048 MiB, not 4096');
  });

  it('says what is no kernel, and where the package’s is looked for', async () => {
    const folder = await temporary();
    const image = emptyDisk(folder, 'ext4');
    writeFileSync(join(folder, 'text'), 'no kernel');
    await expect(opened(image, { kernel: join(folder, 'text') })).rejects.toThrow(/text is no kernel: it is neither/);
    vi.stubEnv('NODEOS_LINUXFS_QEMU_KERNEL', undefined);
    await expect(opened(image, { kernel: 'qemu' })).rejects.toThrow('the package @nodeos/linuxfs-qemu-x64');
    vi.stubEnv('NODEOS_LINUXFS_QEMU_KERNEL', kernel);
    await (await opened(image, { kernel: 'qemu', readOnly: true })).close();
  });
});
