/** Mounts of the real kernel; whoever looks at them is a program of the system. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { delay, fault, memory, random, readOnly, type BlockBackend } from '@nodeos/block';
import { describe, expect, test } from 'vitest';
import { mountFiles } from '../index.js';
import { complaintOf, missing, mounted, shell, temporary } from './helpers.js';

/** Bytes that no other place has, with holes. */
async function noise(size: number, seed = 1): Promise<{ device: BlockBackend; bytes: Buffer }> {
  const draw = random(seed);
  const bytes = Buffer.alloc(size);
  const device = memory(size);
  for (let at = 0; at < size; at += 64 << 10) {
    if (draw() < 0.3) continue;
    const part = bytes.subarray(at, at + (64 << 10));
    for (let i = 0; i < part.length; i++) part[i] = draw() * 256;
    await device.write?.(part, at);
  }
  return { device, bytes };
}

const MIB = 1 << 20;

describe.skipIf(missing !== undefined)(`files of block devices${missing ? ` (${missing})` : ''}`, () => {
  test('devices of any size are files with their bytes, and nothing else is there', async () => {
    const sizes = { 'empty.img': 0, 'byte.img': 1, 'odd.img': 3 * MIB + 123, 'ä b\n.img': 8 * MIB };
    const files = await Promise.all(
      Object.entries(sizes).map(async ([name, size]) => ({ name, ...(await noise(size, size + 1)) })),
    );
    const { folder } = await mounted(files.map(({ name, device }) => ({ name, device: readOnly(device) })));
    expect((await shell('find . -type f -printf "%f\\0%s\\0%m\\0"', folder)).split('\0').slice(0, -1)).toEqual(
      files.flatMap(({ name, bytes }) => [Buffer.from(name).toString('latin1'), String(bytes.length), '400']),
    );
    const [, , odd] = files;
    const copy = join(await temporary(), 'copy');
    await writeFile(copy, odd?.bytes ?? '');
    await shell(`cmp odd.img ${copy}; tail -c 5 odd.img | cmp - ${copy} -i 0:${3 * MIB + 118}`, folder);
    for (const { name, bytes } of files)
      expect((await shell(`cat '${name}'`, folder)) === bytes.toString('latin1')).toBe(true);
    expect(await complaintOf('cat none', folder)).toMatch(/No such file/);
    expect(await complaintOf('echo x > odd.img', folder)).toMatch(/Read-only file system/);
    expect(await shell('df --output=size -B1 . | tail -1', folder)).toMatch(String(11 * MIB + 4096));
  });

  test('a folder of a thousand files is listed whole', async () => {
    const files = Array.from({ length: 1000 }, (_, index) => ({
      name: `${index}-${'x'.repeat(200)}`,
      device: memory(index),
    }));
    const { folder } = await mounted(files);
    expect(await shell('ls | wc -l; ls -l 999-* | cut -d" " -f5', folder)).toBe('1000\n999\n');
  });

  test('requests are answered while others wait', async () => {
    const { device } = await noise(8 * MIB);
    const { folder } = await mounted([{ name: 'disk', device: delay(device, 2000) }]);
    const started = performance.now();
    const read = 'dd if=disk of=/dev/null bs=4k count=1 iflag=direct status=none';
    await shell(`for at in 0 1 2 3 4 5 6 7; do ${read} skip=$((at * 256)) & done; wait`, folder);
    expect(performance.now() - started).toBeLessThan(8 * 2000);
  });

  test('what is written is on the device, and a flush reaches it', async () => {
    const { device, bytes } = await noise(4 * MIB);
    let flushes = 0;
    const counted: BlockBackend = {
      ...device,
      flush: () => {
        flushes++;
      },
    };
    const { folder } = await mounted([{ name: 'disk', device: counted }]);
    await shell(
      'yes | head -c 3000001 | dd of=disk bs=1M oflag=seek_bytes seek=70000 conv=notrunc,fsync status=none',
      folder,
    );
    bytes.fill('y\n', 70_000, 3_070_001);
    await shell(`fallocate -p -o ${2 * MIB} -l ${MIB} disk; sync disk`, folder);
    bytes.fill(0, 2 * MIB, 3 * MIB);
    const read = Buffer.alloc(4 * MIB);
    await device.read(read, 0);
    expect(read.equals(bytes)).toBe(true);
    expect((await shell('cat disk', folder)) === bytes.toString('latin1')).toBe(true);
    expect(flushes).toBeGreaterThanOrEqual(2);
    expect(await complaintOf('truncate -s 1M disk', folder)).toMatch(/not permitted/);
    expect(await complaintOf('dd if=/dev/zero of=disk bs=1M seek=4 count=1 conv=notrunc', folder)).toMatch(/No space/);
    expect(await complaintOf('rm -f disk', folder)).toMatch(/not implemented|not permitted|denied/i);
  });

  test('holes are found as on the device', async () => {
    const device = memory(40 * MIB);
    await device.write?.(Buffer.from('data'), 10 * MIB);
    await device.write?.(Buffer.from('data'), 30 * MIB);
    const { folder } = await mounted([{ name: 'disk', device }]);
    const script = `import os
f = os.open('disk', os.O_RDONLY)
print([os.lseek(f, at, how) // 1048576 for at, how in [(0, os.SEEK_DATA), (10485760, os.SEEK_HOLE), (20971520, os.SEEK_DATA)]])
try: os.lseek(f, 35 * 1048576, os.SEEK_DATA)
except OSError as error: print(error.errno)`;
    expect(await shell(`python3 -c "${script}"`, folder)).toBe('[10, 10, 30]\n6\n');
  });

  test.skipIf(!existsSync('/dev/loop-control'))(
    'a filesystem lies on it by loop, and e2fsck finds nothing',
    async () => {
      const device = memory(32 * MIB);
      const { folder } = await mounted([{ name: 'disk', device }]);
      const other = await temporary();
      const tree = join(import.meta.dirname, '..');
      await shell(
        `mke2fs -q -t ext4 disk; mount -o loop disk ${other}; trap 'umount ${other}' EXIT; cp -r ${tree}/*.ts ${other}; fstrim ${other}; for f in ${tree}/*.ts; do cmp $f ${other}/\${f##*/}; done`,
        folder,
      );
      await shell('e2fsck -fn disk; debugfs -R "stat mount.ts" disk | grep -q regular', folder);
    },
  );

  test('a device that fails gives errors to its readers, and the others go on', async () => {
    const { device } = await noise(2 * MIB);
    const errors: unknown[] = [];
    const files = [
      { name: 'bad', device: fault(device, [{ operations: ['read'], range: { offset: MIB, length: 1 } }]) },
      { name: 'good', device },
    ];
    const { folder } = await mounted(files, { onError: (error) => errors.push(error) });
    expect(await complaintOf('cat bad > /dev/null', folder)).toMatch(/Input\/output error/);
    expect(errors.map(String).join()).toMatch(/fails as it was told to/);
    expect(await shell('cat good | wc -c', folder)).toBe(`${2 * MIB}\n`);
  });

  test('whoever has a file open keeps it after the folder is unmounted, until he is done', async () => {
    const { device, bytes } = await noise(MIB);
    const mount = await mounted([{ name: 'disk', device }]);
    const reader = spawn('/bin/sh', ['-c', 'exec 9<disk; echo open; read -r _; cat <&9'], { cwd: mount.folder });
    await once(reader.stdout, 'data');
    expect(await mount.unmount()).toBe(true);
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(mount.folder);
    const parts: Buffer[] = [];
    reader.stdout.on('data', (part: Buffer) => parts.push(part));
    reader.stdin.end('go on\n');
    await once(reader, 'close');
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    await mount.ended;
  });

  test('an abort gives errors to whoever still uses a file', async () => {
    const { device } = await noise(MIB);
    const mount = await mounted([{ name: 'disk', device: delay(device, 60_000) }]);
    const complaint = complaintOf('cat disk', mount.folder);
    await new Promise((resolve) => setTimeout(resolve, 300));
    mount.abort();
    expect(await complaint).toMatch(/not connected|abort|Input\/output/i);
    await mount.ended;
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(mount.folder);
  });

  test('somebody else unmounts it', async () => {
    const mount = await mounted([{ name: 'disk', device: memory(MIB) }]);
    await shell(`umount ${mount.folder}`, '/');
    await mount.ended;
  });

  test('what cannot be mounted is refused, and says why', async () => {
    const folder = await temporary();
    const file = { name: 'disk', device: memory(MIB) };
    await writeFile(join(folder, 'file'), '');
    await expect(mountFiles([file], join(folder, 'none'))).rejects.toThrow(/none: ENOENT/);
    await expect(mountFiles([file], join(folder, 'file'))).rejects.toThrow(/file: not a folder/);
    await expect(mountFiles([file, file], folder)).rejects.toThrow(/two files are called "disk"/);
    for (const name of ['', '.', '..', 'a/b', 'a\0', 'x'.repeat(256)])
      await expect(mountFiles([{ ...file, name }], folder)).rejects.toThrow(/no name of a file/);
    const mount = await mounted([file]);
    await expect(mountFiles([file], mount.folder)).rejects.toThrow(/mounted there already/);
  });
});
