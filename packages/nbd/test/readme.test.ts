/** Runs the examples of the README unchanged except for the port. Other implementations use what they serve. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { freePort } from '../../block/test/helpers.js';
import { startExample, blocksOf, type Example } from '../../block/test/readme.js';
import { authority } from './pki.js';
import { MIB, nbdsh, requirePrograms, output, pattern, tempDir } from './support.js';

const README = new URL('../README.md', import.meta.url);
const [server = '', backend = '', client = '', stream = '', tls = '', tenants = '', ...others] = blocksOf(README, 'js');
const [commands = '', ...more] = blocksOf(README, 'sh');

let port = 0;
beforeAll(async () => {
  requirePrograms('nbdinfo', 'nbdcopy', 'nbdsh', 'openssl');
  port = await freePort();
});

/** Replaces the port by one that nobody else uses. */
const moved = (text: string): string =>
  text.replaceAll('10809', String(port)).replaceAll('//localhost/', `//localhost:${port}/`);

/** Examples run one after the other, because they share a port. */
const listening = async (code: string, folder = tempDir()): Promise<Example> => {
  const example = startExample(moved(code), folder);
  await example.waitForOutput(/nbds?(\+unix)?:\/\//);
  return example;
};

it('has a test for every example', () => expect([...others, ...more]).toEqual([]));

it('keeps what the last client wrote, for the commands and the client', async () => {
  const { folder } = await listening(server);
  const [path, back] = [join(folder, 'written'), join(folder, 'back')];
  writeFileSync(path, pattern(64 * MIB));
  await output('nbdcopy', path, moved('nbd://localhost/disk'));
  await output('nbdcopy', moved('nbd://localhost/disk'), back);
  expect(readFileSync(back).equals(pattern(64 * MIB))).toBe(true);
  const [info = '', qemu = ''] = commands.split('\n');
  expect(await output('sh', '-c', moved(info))).toContain('description: a scratch disk');
  expect(qemu).toMatch(/^qemu-system-x86_64 -drive file=nbd:\/\/localhost\/disk,format=raw$/); // boots any disk
  const asked = await startExample(moved(client), join(folder, 'client')).ended;
  expect(asked).toMatch(/^67108864 extended \[ \{ offset: 0, length: 67108864, hole: false, zero: false \} \]\n$/);
});

it('serves the custom backend', async () => {
  const { folder } = await listening(backend);
  const uri = `nbd+unix:///hello?socket=${join(folder, 'hello.sock')}`;
  expect(await nbdsh(uri, 'print(h.get_size(), h.is_read_only(), h.pread(24, 512 * 1000).decode(), end="")')).toBe(
    `${2 ** 30} True every sector says hello\n`,
  );
});

it('connects the client over an HTTP upgrade', async () => {
  expect(await startExample(stream, tempDir()).ended).toBe('67108864 extended\n');
});

it('admits only clients with a certificate over TLS', async () => {
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

it('gives each tenant its own disk under the same name', async () => {
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
