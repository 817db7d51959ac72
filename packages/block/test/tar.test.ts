/** Members of tar archives, made by GNU tar and judged by nbdkit, and corrupt archives. */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tarMember, tarMembers } from '../index.js';
import { device, expectRobust, tool } from './formats.js';
import { errorOf, noise, readAll, scratch } from './helpers.js';

const path = scratch();
const LONG = `${'a-long-name-'.repeat(12)}.vmdk`;
const folder = path('files');
mkdirSync(join(folder, 'sub', 'x'.repeat(95)), { recursive: true });
const files: Record<string, Uint8Array> = {
  'box.ovf': noise(700, 1),
  'disk.img': noise(40_000, 2),
  [LONG]: noise(512, 3),
  [`sub/${'x'.repeat(95)}/ü.img`]: noise(1000, 4),
  empty: new Uint8Array(0),
};
for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
symlinkSync('disk.img', join(folder, 'link'));

function archive(...options: string[]): Buffer {
  const name = path('tar');
  tool('tar', '--create', '-f', name, ...options, '-C', folder, '.');
  return readFileSync(name);
}

describe.each(['ustar', 'gnu', 'pax'])('members of an archive of the format %s', (form) => {
  // A ustar name has at most 100 bytes after its last slash.
  const names = Object.keys(files).filter((name) => form !== 'ustar' || name !== LONG);
  const made = (): Buffer => archive(`--format=${form}`, ...(form === 'ustar' ? [`--exclude=${LONG}`] : []));

  it('equal the files that were added', async () => {
    const bytes = made();
    expect((await tarMembers(device(bytes))).map(({ name }) => name).sort()).toEqual([...names].sort());
    for (const name of names) expect(await readAll(await tarMember(device(bytes), name))).toEqual(files[name]);
    expect(await readAll(await tarMember(device(bytes), './disk.img'))).toEqual(files['disk.img']);
  });

  it('are where nbdkit finds them', () => {
    const name = path('tar');
    writeFileSync(name, made());
    const to = path('judged');
    execFileSync('nbdkit', ['-U', '-', '--filter=tar', 'file', name, 'tar-entry=./disk.img', '--run', `nbdcopy "$uri" ${to}`]); // prettier-ignore
    expect(readFileSync(to).equals(files['disk.img'] ?? Buffer.alloc(0))).toBe(true);
  });

  it('are read or refused however the archive is corrupted', async () => {
    const bytes = made();
    const at = (await tarMembers(device(bytes))).map(({ offset }) => offset - 512);
    await expectRobust(bytes, (inner) => tarMember(inner, 'disk.img'), { near: [0, ...at] });
  });
});

it('lists the existing members in the error for a missing one', async () => {
  const error = await errorOf(() => tarMember(device(archive()), 'disk.vmdk'));
  expect(error).toMatchObject({ code: 'ENOENT', message: expect.stringContaining('there is no "disk.vmdk" in the archive: it has "') }); // prettier-ignore
  expect(error.message).toContain('"disk.img"');
});

it('uses the last of several members with the same name', async () => {
  const name = path('tar');
  const own = path('own');
  mkdirSync(own);
  for (const seed of [1, 2]) {
    writeFileSync(join(own, 'disk'), noise(600, seed));
    tool('tar', '--append', '-f', name, '-C', own, 'disk');
  }
  expect(await readAll(await tarMember(device(readFileSync(name)), 'disk'))).toEqual(noise(600, 2));
});

it.each(['gnu', 'pax'])('refuses a sparse file of the format %s instead of returning its stored form', async (form) => {
  const own = path('own');
  mkdirSync(own);
  writeFileSync(join(own, 'sparse'), 'x');
  truncateSync(join(own, 'sparse'), 1 << 20);
  const name = path('tar');
  tool('tar', '--create', '--sparse', `--format=${form}`, '-f', name, '-C', own, 'sparse');
  await expect(tarMember(device(readFileSync(name)), 'sparse')).rejects.toMatchObject({ code: 'ENOTSUP' });
});

it('does not list a hard link, which has no bytes of its own', async () => {
  const own = path('own');
  mkdirSync(own);
  writeFileSync(join(own, 'a'), 'x');
  linkSync(join(own, 'a'), join(own, 'b'));
  const name = path('tar');
  tool('tar', '--create', '-f', name, '-C', own, 'a', 'b');
  expect((await tarMembers(device(readFileSync(name)))).map((member) => member.name)).toEqual(['a']);
});

it('reads the binary size of a member of 8 GiB or more', async () => {
  const header = archive('--format=gnu', '--exclude=*').subarray(0, 512);
  const bytes = Buffer.from(header);
  bytes.fill(0, 124, 136);
  bytes[124] = 0x80;
  bytes.writeBigUInt64BE(2n ** 40n, 128);
  bytes[156] = 0x30;
  bytes.fill(0x20, 148, 156);
  bytes.write(
    bytes
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0') + '\0 ',
    148,
    'latin1',
  );
  expect((await tarMembers(device(bytes)))[0]?.length).toBe(2 ** 40);
  await expect(tarMember(device(bytes), './')).rejects.toThrow('the archive ends within');
});

it('refuses bytes that are not a tar archive', async () => {
  await expect(tarMembers(device(noise(2048, 1)))).rejects.toMatchObject({ code: 'EINVAL', message: 'tar: this is no tar archive' }); // prettier-ignore
});
