/** nodeos flash on loop devices: the command as a user types it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nodeos, start, temporary } from '../support.js';
import { openTerminal } from '../terminal.js';

const hasLoops = process.getuid?.() === 0 && spawnSync('losetup', ['-f']).status === 0;
const MIB = 1 << 20;

async function image(): Promise<string> {
  const path = join(await temporary(), 'image.img');
  await writeFile(path, Buffer.concat([Buffer.alloc(3 * MIB, 'data '), Buffer.alloc(MIB)]));
  await truncate(path, 8 * MIB);
  return path;
}

async function loop(size = 64 * MIB): Promise<string> {
  const path = join(await temporary(), 'drive.img');
  await writeFile(path, '');
  await truncate(path, size);
  const device = execFileSync('losetup', ['-f', '--show', path], { encoding: 'utf8' }).trim();
  onTestFinished(() => void execFileSync('losetup', ['-d', device]));
  return device;
}

describe('nodeos flash', () => {
  it('without a device lists the drives, and chooses none', async () => {
    const listed = await nodeos('flash', '--json');
    expect(listed.status).toBe(0);
    for (const line of listed.stdout.trim().split('\n').filter(Boolean))
      expect(JSON.parse(line)).toMatchObject({ event: 'drive', path: expect.stringMatching(/^\/dev\//) as string });
    const chosen = await nodeos('flash', await image());
    expect(chosen.status).toBe(2);
    expect(chosen.stderr).toContain('on which device?');
  });

  it('refuses what is no drive, what nobody confirmed, and a wrong checksum', async () => {
    const path = await image();
    const file = join(await temporary(), 'target.img');
    await writeFile(file, Buffer.alloc(16 * MIB, 1));
    expect((await nodeos('flash', path, '/dev/null')).stderr).toContain('/dev/null is no drive of this machine');
    expect((await nodeos('flash', path, '/dev/missing')).stderr).toContain('there is no such device');
    expect(await nodeos('flash', path, file)).toMatchObject({ status: 2 });
    const wrong = await nodeos('flash', path, file, '--yes', '--sha256', '0'.repeat(64));
    expect(wrong.stderr).toMatch(/the image has the SHA-256 [0-9a-f]{64}, and not 0+: nothing was written/);
    expect(execFileSync('sha256sum', [file], { encoding: 'utf8' })).toContain(
      execFileSync('sh', ['-c', "head -c 16777216 /dev/zero | tr '\\0' '\\1' | sha256sum"], { encoding: 'utf8' }).slice(
        0,
        64,
      ),
    );
  });

  it('writes an image file in place of a drive, and says how it was verified', async () => {
    const [path, file] = [await image(), join(await temporary(), 'target.img')];
    await writeFile(file, Buffer.alloc(16 * MIB, 1));
    const sum = execFileSync('sha256sum', [path], { encoding: 'utf8' }).slice(0, 64);
    const { status, stdout } = await nodeos('flash', path, file, '--yes', '--sha256', sum);
    expect([status, stdout]).toEqual([0, expect.stringMatching(/3 MiB written in .*, verified/) as string]);
    execFileSync('cmp', ['-n', String(8 * MIB), path, file]);
  });

  it('writes an image of a store, encrypted and not, and nothing if the key is missing', async () => {
    const [path, folder] = [await image(), await temporary()];
    const [key, file] = [join(folder, 'tenant.key'), join(folder, 'target.img')];
    expect(await nodeos('store', 'key', key)).toMatchObject({ status: 0 });
    const images = { plain: [], secret: ['--key', key] };
    for (const [name, keys] of Object.entries(images))
      expect(await nodeos('store', 'push', path, `${folder}/store:${name}`, ...keys)).toMatchObject({ status: 0 });
    for (const name of Object.keys(images)) {
      await writeFile(file, Buffer.alloc(16 * MIB, 1));
      const source = `store:${folder}/store:${name}`;
      const env = { NODEOS_STORE_KEY: name === 'secret' ? key : '' };
      const { status, stdout, stderr } = await start(['flash', source, file, '--yes'], { env }).ended;
      expect([status, stdout], stderr).toEqual([0, expect.stringMatching(/3 MiB written in .*, verified/) as string]);
      execFileSync('cmp', ['-n', String(8 * MIB), path, file]);
    }
    await writeFile(file, Buffer.alloc(16 * MIB, 1));
    const refused = await nodeos('flash', `store:${folder}/store:secret`, file, '--yes');
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('key') as string });
    expect((await readFile(file)).every((byte) => byte === 1)).toBe(true);
  });

  it('asks in a terminal, and takes nothing but the name of the drive for an answer', async () => {
    const [path, file] = [await image(), join(await temporary(), 'target.img')];
    await writeFile(file, Buffer.alloc(16 * MIB, 1));
    const terminal = await openTerminal(200, 30);
    const command = `node packages/cli/bin/nodeos.js flash ${path} ${file}`;
    const first = (): string => execFileSync('head', ['-c', '5', file], { encoding: 'latin1' });
    /** On an empty screen, so that no earlier question is taken for this one. */
    const ask = async (): Promise<void> => {
      await terminal.type('clear');
      await terminal.waitForScreen(/^\s*ready>\s*$/);
      await terminal.type(command);
      await terminal.waitForScreen(/Type \S+ to go on:/);
    };
    for (const answer of ['yes', '']) {
      await ask();
      await terminal.type(answer);
      await terminal.waitForScreen(/nothing was written/);
      await terminal.waitForPrompt();
    }
    await ask();
    await terminal.press('C-c');
    await terminal.waitForScreen(/interrupted/);
    await terminal.waitForPrompt();
    expect(first()).toBe('\x01\x01\x01\x01\x01');
    await ask();
    await terminal.type(file);
    await terminal.waitForScreen(/verified/);
    expect(first()).toBe('data ');
  });

  describe.skipIf(!hasLoops)('on loop devices (root)', () => {
    it('writes, verifies, and leaves out nothing', async () => {
      const [path, device] = [await image(), await loop()];
      expect((await nodeos('flash', path, device, '--dry-run')).stderr).toContain('would write');
      const { status, stdout, stderr } = await nodeos('flash', path, device, '--yes');
      expect(status, stderr).toBe(0);
      expect(stdout).toMatch(/verified$/m);
      execFileSync('cmp', ['-n', String(8 * MIB), path, device]);
    });

    it('refuses a drive that is mounted, and says where', async () => {
      const [path, device, place] = [await image(), await loop(), join(await temporary(), 'mnt')];
      await mkdir(place);
      execFileSync('mkfs.ext4', ['-q', device]);
      execFileSync('mount', [device, place]);
      const { status, stderr } = await nodeos('flash', path, device, '--yes').finally(() =>
        execFileSync('umount', [place]),
      );
      expect(status).toBe(1);
      expect(stderr).toContain(`is mounted at ${place}`);
    });

    it('refuses a drive that is too small', async () => {
      const { status, stderr } = await nodeos('flash', await image(), await loop(4 * MIB), '--yes');
      expect(status).toBe(1);
      expect(stderr).toMatch(/has 8388608 bytes, and \/dev\/loop\d+ only 4194304/);
    });
  });
});
