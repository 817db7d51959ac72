/** nodeos image: what is in disks and filesystems. */
import { writeFile, mkdir, readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { regions, writeImage } from '@nodeos/block';
import { erofs, fat, gpt, GPT_TYPES, guidOf } from '@nodeos/fs';
import { characterDevice, file, symlink } from '@nodeos/tree';
import { describe, expect, it } from 'vitest';
import { nodeos, temporary } from '../support.js';

const MIB = 1 << 20;

/** A disk with a FAT and an EROFS. @returns its path */
async function disk(): Promise<string> {
  const esp = await fat([file('EFI/BOOT/README.TXT', 'of the ESP')], { size: 2 * MIB, label: 'ESP' });
  const usr = await erofs([
    file('bin/tool', 'a tool', 0o4755),
    file('odd\u001b[31mname', 'odd'),
    symlink('lib', '/usr/lib'),
    characterDevice('null', 0o666, [1, 3]),
  ]);
  const partitions = [
    { type: GPT_TYPES.esp, id: guidOf(Buffer.alloc(16, 1)), name: 'esp', offset: MIB, length: 2 * MIB },
    { type: GPT_TYPES.linux, id: guidOf(Buffer.alloc(16, 2)), name: 'usr-a', offset: 3 * MIB, length: MIB },
  ];
  const size = 5 * MIB;
  const moved = (list: readonly { offset?: number; length: number; source: object | string }[], by: number) =>
    list.map((region) => ({ ...region, offset: (region.offset ?? 0) + by }));
  const all = [
    ...gpt({ size, id: guidOf(Buffer.alloc(16, 3)), partitions }),
    ...moved(esp.regions, MIB),
    ...moved(usr.regions, 3 * MIB),
  ].sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
  const path = join(await temporary(), 'disk.img');
  const described = regions(all as Parameters<typeof regions>[0], { size });
  await writeImage(described, path).finally(() => described.close());
  return path;
}

describe('nodeos image', () => {
  it('says what is in a disk, as text and as JSON', async () => {
    const path = await disk();
    const text = await nodeos('image', 'info', path);
    expect(text.stdout).toBe(
      '5 MiB: a disk\n  partition 1 esp: 2 MiB at 1048576, fat12 ESP\n  partition 2 usr-a: 1 MiB at 3145728, erofs\n',
    );
    const json = JSON.parse((await nodeos('image', 'info', path, '--json')).stdout) as object;
    expect(json).toMatchObject({ size: 5 * MIB, partitions: [{ filesystem: { format: 'fat12', label: 'ESP' } }, {}] });
  });

  it('lists files, and shows no control characters', async () => {
    const path = await disk();
    const { stdout } = await nodeos('image', 'ls', `${path}:2`);
    expect(stdout).toContain('-4755 0:0           6 1970-01-01 00:00 bin/tool\n');
    expect(stdout).toContain('lib -> /usr/lib\n');
    expect(stdout).not.toContain('\u001b');
    expect((await nodeos('image', 'ls', `partition:1:${path}/EFI/BOOT/`)).stdout.trim().split('\n')).toHaveLength(2);
  });

  it('names the partitions of a disk if asked for its files, and says what is not there', async () => {
    const path = await disk();
    const { status, stderr } = await nodeos('image', 'ls', path);
    expect(status).toBe(1);
    expect(stderr).toContain(`it is a disk: ${path}:1, ${path}:2`);
    expect((await nodeos('image', 'ls', `${path}:1/missing`)).stderr).toContain('there is no missing in it');
  });

  it('writes the content of a file', async () => {
    const path = await disk();
    expect((await nodeos('image', 'cat', `${path}:1/EFI/BOOT/README.TXT`)).stdout).toBe('of the ESP');
    expect((await nodeos('image', 'cat', `${path}:2/lib`)).stderr).toContain('lib is no file, but a symlink');
  });

  it('unpacks into a new folder, and says what it leaves out', async () => {
    const [path, folder] = [await disk(), join(await temporary(), 'out')];
    const { status, stderr } = await nodeos('image', 'extract', `partition:2:${path}`, folder);
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('1 devices and pipes are left out, such as null');
    expect(stderr).toContain('1 files lost their set-id bits');
    expect(await readFile(join(folder, 'bin/tool'), 'latin1')).toBe('a tool');
    expect((await stat(join(folder, 'bin/tool'))).mode & 0o7777).toBe(0o755);
    expect((await readdir(folder)).sort()).toEqual(['bin', 'lib', 'odd\u001b[31mname']);
    const again = await nodeos('image', 'extract', `partition:2:${path}`, folder);
    expect(again.stderr).toContain('is there, and is not empty');
  });

  it('leaves nothing of a damaged filesystem', async () => {
    const [path, parent] = [await disk(), await temporary()];
    const bytes = await readFile(path);
    bytes.fill(0xff, 3 * MIB + 1200, 3 * MIB + 1300);
    await writeFile(path, bytes);
    await mkdir(join(parent, 'there'));
    expect(await nodeos('image', 'extract', `partition:2:${path}`, join(parent, 'there'))).toMatchObject({ status: 1 });
    expect(await readdir(parent)).toEqual(['there']);
    expect(await readdir(join(parent, 'there'))).toEqual([]);
  });
});
