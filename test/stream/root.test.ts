/**
 * A root on the network with foreign servers: nbdkit and qemu-nbd. docs/stream.md describes the tests that take too
 * long for this file, such as a network that is away for a minute.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { crc32c } from '../../packages/fs/crc32c.js';
import { request, freePort, LONG } from '../support.js';
import {
  ADMIN,
  at,
  expectClean,
  ext4,
  folder,
  replacedInTurn,
  replaceableServer,
  startGuest,
  buildGuest,
  withUpper,
  type Rounds,
} from './guest.js';
import type { Streamed } from './images.js';
import { boot, IP, nbdkit, qemuNbd } from './machines.js';

let system: Streamed;
beforeAll(async () => {
  system = await buildGuest();
}, LONG);

describe('a machine boots from', () => {
  it.each([
    ['nbdkit', (port: number) => nbdkit(port, '-r', 'file', system.image), ''],
    [
      'nbdkit that knows only the oldest handshake',
      (port: number) => nbdkit(port, '--mask-handshake=0', '-r', 'file', system.image),
      '',
    ],
    [
      'qemu-nbd, by two connections',
      (port: number) => qemuNbd(port, '-r', '-f', 'raw', '-x', 'root', system.image),
      '?connections=2',
    ],
  ])('%s', async (_, start, more) => {
    const port = await freePort();
    await replaceableServer(() => start(port));
    const { machine, get } = await startGuest(system, { append: [`root=${at(port, 'root')}${more}`] });
    expect(await get('mounts')).toEqual(['overlay / overlay', 'tmpfs /var/log tmpfs']);
    expect(await get('note')).toBe('x');
    expect(await get('rename')).toEqual(['note', 'renamed']);
    expect(await get('read')).toBe(true);
    expect(await get('log')).toBe('up\n');
    expect((await machine.powerOff()).events.at(-1)).toMatchObject({ event: 'end' });
    expect(machine.console).not.toMatch(/nodeos:|error/i);
  });

  it('a server that comes late, with an address by DHCP and the runtime on a disk', async () => {
    const port = await freePort();
    const web = await freePort();
    const append = ['ip=dhcp', `root=${at(port, 'root')}`];
    const machine = await boot(system, { port: web, usr: system.usr, append });
    onTestFinished(() => machine.powerOff().then(() => undefined));
    await machine.waitForOutput(/root: connection refused; trying again/);
    await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    const mounts = await (await request(`http://127.0.0.1:${web}/mounts`)).json();
    expect(mounts).toEqual(['overlay / overlay', 'tmpfs /var/log tmpfs', '/dev/pmem0 /usr erofs']);
  });

  it('an ext4 image that is itself the root', async () => {
    const path = join(folder, 'root.ext4');
    const unpacked = join(folder, 'unpacked');
    execFileSync('fsck.erofs', [`--extract=${unpacked}`, system.small], { stdio: 'ignore' });
    writeFileSync(path, '');
    truncateSync(path, 96 << 20);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', unpacked, path], { env: ADMIN });
    const port = await freePort();
    await replaceableServer(() => qemuNbd(port, '-f', 'raw', '-x', 'root', path));
    const append = [`root=${at(port, 'root')}`, 'rootfstype=ext4', 'rw'];
    const { machine, get } = await startGuest(system, { append, usr: system.usr });
    expect(await get('mounts')).toEqual(['/dev/nbd0 / ext4', 'tmpfs /var/log tmpfs', '/dev/pmem0 /usr erofs']);
    expect(await get('note')).toBe('x');
    await machine.powerOff();
    expectClean(path);
  });
});

describe('data that a machine writes to an ext4 image on a server', () => {
  it('is there when the machine boots again', async () => {
    const path = ext4('kept');
    const { options } = await withUpper(system, path);
    for (const note of ['x', 'xx']) {
      const { machine, get } = await startGuest(system, options);
      expect(await get('note')).toBe(note);
      await machine.powerOff();
      expectClean(path);
    }
  });
});

describe('a server that goes away', () => {
  it.each([
    ['one connection', ''],
    ['two connections', '?connections=2'],
  ])('and comes back repeatedly corrupts neither reads nor writes (%s)', async (_, more) => {
    const path = ext4('killed');
    const { root, upper, options } = await withUpper(system, path, more);
    const { machine, get } = await startGuest(system, options);
    const before = await replacedInTurn(get, { root, upper }, [0, 100, 500, 1000]);
    await sleep(1000);
    const { rounds, failures } = (await get('stop')) as Rounds;
    expect(rounds).toBeGreaterThan(before);
    expect(failures).toEqual([]);
    expect(machine.console).toMatch(/\/root\S*: connection lost; trying again/);
    expect(machine.console).toMatch(/\/data: connected again after \d+ ms/);
    await machine.powerOff();
    expectClean(path);
  });

  it('and comes back with another image is not accepted', async () => {
    const port = await freePort();
    const rebuilt = join(folder, 'rebuilt.erofs');
    // Like after a build with one changed byte: the same size, but a UUID from its own content.
    const bytes = readFileSync(system.small);
    bytes.writeUInt8(bytes.readUInt8(1024 + 48) ^ 1, 1024 + 48);
    bytes.writeUInt32LE(0, 1024 + 4);
    bytes.writeUInt32LE(crc32c(bytes.subarray(1024, 4096)), 1024 + 4);
    writeFileSync(rebuilt, bytes);
    let image = system.small;
    const root = await replaceableServer(() => nbdkit(port, 'file', image)); // writable, so that it is the machine that does not write
    const { machine, get } = await startGuest(system, { append: [`root=${at(port, 'root')}`], usr: system.usr });
    expect(await get('note')).toBe('x');
    image = rebuilt;
    await root.replace();
    await machine.waitForOutput(/root: the export has become another one: its size, its start, or/);
    image = system.small;
    await root.replace();
    await machine.waitForOutput(/connected again/);
    expect(await get('read')).toBe(true);
  });

  it('or is only slow is waited for', async () => {
    const port = await freePort();
    const root = await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    const { machine, get } = await startGuest(system, { append: [`root=${at(port, 'root')}`], usr: system.usr });
    expect(await get('read')).toBe(true);
    root.signal('SIGSTOP');
    const read = get('read');
    await sleep(4000); // longer than the time after which the kernel checks a request again
    root.signal('SIGCONT');
    expect(await read).toBe(true);
    expect(machine.console).not.toMatch(/connection lost/);
  });

  it('while its filesystem is being mounted is waited for', async () => {
    const port = await freePort();
    await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    let connections = 0;
    const proxy = createServer((socket) => {
      const server = connect(port, '127.0.0.1');
      const first = connections++ === 0;
      let bytes = 0;
      const end = (): void => void [socket, server].map((one) => one.destroy());
      for (const one of [socket, server]) one.on('error', end).on('close', end);
      socket.pipe(server);
      server.on('data', (chunk) => {
        bytes += chunk.length;
        // The handshake and the superblock are shorter; a mount reads more.
        if (first && bytes > 6000) end();
        else socket.write(chunk);
      });
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void proxy.close());
    await new Promise((resolve) => proxy.once('listening', resolve));
    const append = [`root=${at((proxy.address() as AddressInfo).port, 'root')}`];
    const { machine, get } = await startGuest(system, { append, usr: system.usr });
    expect(await get('read')).toBe(true);
    expect(machine.console).toMatch(/connected again/);
    expect(connections).toBe(2);
  });

  it('for longer than nodeos.nbd.timeout makes reads fail until it comes back', async () => {
    const port = await freePort();
    const root = await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    const append = [`root=${at(port, 'root')}`, 'nodeos.nbd.timeout=1'];
    const { machine, get } = await startGuest(system, { append, usr: system.usr });
    expect(await get('read')).toBe(true);
    await root.kill();
    expect(await get('read')).toBe('EIO');
    await root.begin();
    await machine.waitForOutput(/connected again/);
    expect(await get('read')).toBe(true);
  });

  it('for ever does not prevent the end of the machine', async () => {
    const { root, upper, options } = await withUpper(system, ext4('gone'));
    const { machine, get } = await startGuest(system, options);
    await get('loop');
    await Promise.all([root.kill(), upper.kill()]);
    await machine.waitForOutput(/\/root: connection lost/);
    const { events } = await machine.powerOff();
    expect(events.at(-1)).toMatchObject({ event: 'end' });
    expect(machine.console).toMatch(/the server is gone: what was not yet written is lost/);
    expect(machine.console).toMatch(/Power down/);
  });

  it('is connected to again even if its keeper was killed', async () => {
    const port = await freePort();
    const root = await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    const { machine, get } = await startGuest(system, { append: [`root=${at(port, 'root')}`], usr: system.usr });
    await get('keeper');
    await root.replace();
    await machine.waitForOutput(/connected again/);
    expect(await get('read')).toBe(true);
  });
});

describe('nbd-attach', () => {
  it.each([
    ['by netlink', ''],
    ['by ioctl', '-i '],
  ])('attaches and detaches a device %s', async (_, how) => {
    const [port, other] = [await freePort(), await freePort()];
    await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    const server = await replaceableServer(() => nbdkit(other, 'memory', '3M'));
    const { get } = await startGuest(system, { append: [`root=${at(port, 'root')}`], usr: system.usr });
    const attach = (words: string): Promise<unknown> => get(`attach/${encodeURIComponent(words)}`);
    const length = (): Promise<unknown> => get(`device/${encodeURIComponent('/dev/nbd5')}`);
    expect(await attach(`${how}${at(other, '')} /dev/nbd5`)).toEqual({ status: 0, stdout: '' });
    expect(await length()).toBe(3 << 20);
    if (how === '') {
      await server.replace();
      expect(await length()).toBe(3 << 20);
    }
    expect(await attach('-d /dev/nbd5')).toEqual({ status: 0, stdout: '' });
    expect(await length()).toBe(0);
  });
});

/** A server that sends one message. */
async function says(words: Buffer): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => undefined).write(words)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('a root that fails says why:', () => {
  const kit = async (...args: string[]): Promise<number> => {
    const port = await freePort();
    await replaceableServer(() => nbdkit(port, ...args));
    return port;
  };
  const psk = (): string => {
    const path = join(folder, 'psk');
    writeFileSync(path, 'user:00112233445566778899aabbccddeeff\n', { mode: 0o600 });
    return path;
  };

  it.each<[string, () => Promise<string[]>, string | RegExp]>([
    [
      'nobody listens',
      async () => [`root=${at(await freePort(), 'x')}`, 'nodeos.nbd.wait=1'],
      '/x: connection refused (tried for 1 s)',
    ],
    [
      'no network',
      () => Promise.resolve(['ip=off', `root=${at(1, 'x')}`, 'nodeos.nbd.wait=1']),
      '/x: network is unreachable (does the command line have ip=?) (tried for 1 s)',
    ],
    [
      'an address that is none',
      () => Promise.resolve(['root=nbd://10.0.2/x']),
      'nbd://10.0.2/x: "10.0.2" is neither an address, such as 10.0.2.2 or [fd00::2], nor a name',
    ],
    [
      'a server that demands TLS',
      async () => [`root=${at(await kit('--tls=require', `--tls-psk=${psk()}`, 'memory', '1M'), 'x')}`],
      /\/x: the server demands TLS: nbds:\/\//,
    ],
    [
      'TLS without what begins it',
      async () => [`root=nbds://10.0.2.2:${await kit('--tls=require', `--tls-psk=${psk()}`, 'memory', '1M')}/x`],
      /\/x: \/tls\/handshake cannot be started; for root=nbds:\/\/ it comes with nodeos build --tls/,
    ],
    [
      'no such export',
      async () => {
        const port = await freePort();
        await replaceableServer(() => qemuNbd(port, '-r', '-f', 'raw', '-x', 'root', system.small));
        return [`root=${at(port, 'other')}`];
      },
      /\/other: the server has no export "other": .*other/,
    ],
    [
      'no NBD',
      async () => [`root=${at(await says(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')), 'x')}`],
      '/x: what answers there is no NBD server',
    ],
    [
      'an old NBD',
      async () => [
        `root=${at(await says(Buffer.from(`NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53${'\0'.repeat(136)}`, 'latin1')), 'x')}`,
      ],
      '/x: the server speaks the old style of NBD, which has no names of exports',
    ],
    [
      'nothing in it',
      async () => [`root=${at(await kit('null', '0'), 'x')}`],
      '/x: the export is empty: its size is 0',
    ],
    [
      'no filesystem',
      async () => [`root=${at(await kit('memory', '1M'), 'x')}`],
      '/x: cannot be mounted as erofs: there is none on it, or none that this kernel can read',
    ],
    [
      'an unknown filesystem',
      async () => [`root=${at(await kit('memory', '1M'), 'x')}`, 'rootfstype=zfs'],
      '/x: the kernel does not know the filesystem zfs',
    ],
    [
      'a layer for changes that cannot be written',
      async () => {
        const [root, upper] = [await kit('-r', 'file', system.small), await kit('-r', 'memory', '1M')];
        return [`root=${at(root, 'x')}`, `nodeos.upper=${at(upper, 'y')}`];
      },
      '/y: the export is read-only',
    ],
  ])('%s', async (_, words, why) => {
    const machine = await boot(system, { append: [IP, ...(await words())] });
    const { events, trouble } = await machine.ended;
    expect(machine.console).toMatch(/^nodeos: mount root: /m);
    if (typeof why === 'string') expect(trouble?.cause).toContain(why);
    else expect(trouble?.cause).toMatch(why);
    expect(machine.console).toContain('poweroff (nodeos.onexit)');
    expect(events.at(-1)).toMatchObject({ event: 'end', how: 1 });
  });
});
