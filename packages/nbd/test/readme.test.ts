/** The examples of the README run as they are, but for the port; other implementations use what they serve. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { freePort } from '../../block/test/helpers.js';
import { begun, blocksOf, type Example } from '../../block/test/readme.js';
import { authority } from './pki.js';
import { MIB, nbdsh, needs, output, pattern, tempDir } from './support.js';

const README = new URL('../README.md', import.meta.url);
const [server = '', backend = '', client = '', stream = '', tls = '', tenants = '', ...others] = blocksOf(README, 'js');
const [commands = '', ...more] = blocksOf(README, 'sh');

let port = 0;
beforeAll(async () => {
  needs('nbdinfo', 'nbdcopy', 'nbdsh', 'openssl');
  port = await freePort();
});

/** On a port that nobody else has. */
const moved = (text: string): string =>
  text.replaceAll('10809', String(port)).replaceAll('//localhost/', `//localhost:${port}/`);

/** The port of the example must be free again: one after the other. */
const listening = async (code: string, folder = tempDir()): Promise<Example> => {
  const example = begun(moved(code), folder);
  await example.saw(/nbds?(\+unix)?:\/\//);
  return example;
};

it('every example has its test', () => expect([...others, ...more]).toEqual([]));

it('the server keeps what its last client wrote; the commands and the client use it', async () => {
  const { folder } = await listening(server);
  const [path, back] = [join(folder, 'written'), join(folder, 'back')];
  writeFileSync(path, pattern(64 * MIB));
  await output('nbdcopy', path, moved('nbd://localhost/disk'));
  await output('nbdcopy', moved('nbd://localhost/disk'), back);
  expect(readFileSync(back).equals(pattern(64 * MIB))).toBe(true);
  const [info = '', qemu = ''] = commands.split('\n');
  expect(await output('sh', '-c', moved(info))).toContain('description: a scratch disk');
  expect(qemu).toMatch(/^qemu-system-x86_64 -drive file=nbd:\/\/localhost\/disk,format=raw$/); // boots whatever it holds
  const asked = await begun(moved(client), join(folder, 'client')).ended;
  expect(asked).toMatch(/^67108864 extended \[ \{ offset: 0, length: 67108864, hole: false, zero: false \} \]\n$/);
});

it('the backend of one’s own says what it says', async () => {
  const { folder } = await listening(backend);
  const uri = `nbd+unix:///hello?socket=${join(folder, 'hello.sock')}`;
  expect(await nbdsh(uri, 'print(h.get_size(), h.is_read_only(), h.pread(24, 512 * 1000).decode(), end="")')).toBe(
    `${2 ** 30} True every sector says hello\n`,
  );
});

it('the client over an upgrade of HTTP', async () => {
  expect(await begun(stream, tempDir()).ended).toBe('67108864 extended\n');
});

it('the server with TLS lets in who has a certificate', async () => {
  const folder = tempDir();
  const ours = authority(folder, 'ca', 'rsa');
  ours.sign(folder, 'server', 'localhost');
  ours.sign(join(folder, 'alice'), 'client', 'alice');
  writeFileSync(join(folder, 'disk.img'), pattern(MIB));
  await listening(tls, folder);
  const uri = `nbds://localhost:${port}/disk?tls-certificates=${join(folder, 'alice')}`;
  await output('nbdcopy', uri, join(folder, 'copy'));
  expect(readFileSync(join(folder, 'copy')).equals(pattern(MIB))).toBe(true);
});

it('tenants find their own disks under the same name', async () => {
  const folder = tempDir();
  mkdirSync(join(folder, 'disks'));
  writeFileSync(join(folder, 'disks', '1'), pattern(MIB, 1));
  writeFileSync(join(folder, 'disks', '2'), pattern(MIB, 2));
  const keys = join(folder, 'keys.psk');
  writeFileSync(keys, 'alice:0123456789abcdef\neve:fedcba9876543210\n', { mode: 0o600 });
  await listening(tenants, folder);
  for (const [user, seed] of [
    ['alice', 1],
    ['eve', 2],
  ] as const) {
    // prettier-ignore
    const uri = `nbds+unix://${user}@/x?socket=${join(folder, 'disks.sock')}&tls-psk-file=${keys}`;
    await output('nbdcopy', uri, join(folder, user));
    expect(readFileSync(join(folder, user)).equals(pattern(MIB, seed))).toBe(true);
  }
});
