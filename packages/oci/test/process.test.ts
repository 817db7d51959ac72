/** What images start: a table of configurations and command lines, against files in memory. */
import { describe, expect, it } from 'vitest';
import type { Entry } from '@nodeos/tree';
import { directory, file, symlink } from '@nodeos/tree';
import { ImageFiles } from '../files.js';
import { parseConfig } from '../model.js';
import { exposedPorts, processOf, type ProcessOptions } from '../process.js';

/** The start of a 64-bit program, with a loader if it is dynamic. */
function elf(machine: number, loader = ''): Buffer {
  const bytes = Buffer.alloc(256);
  bytes.write('\x7fELF\x02\x01', 0, 'latin1');
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(loader === '' ? 0 : 1, 56);
  bytes.writeUInt32LE(3, 64);
  bytes.writeBigUInt64LE(128n, 72);
  bytes.writeBigUInt64LE(BigInt(loader.length + 1), 96);
  bytes.write(loader, 128);
  return bytes;
}

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n1001:x:7:8::/odd:/bin/sh\nbroken\n';
const GROUP = 'root:x:0:\nweb:x:34:\nvideo:x:44:web,other\naudio:x:45:other,web\n';
const FILES: readonly Entry[] = [
  directory(''),
  directory('usr'),
  directory('usr/bin'),
  symlink('bin', 'usr/bin'),
  directory('lib'),
  file('lib/ld.so', elf(62), 0o755),
  file('usr/bin/sh', elf(62, '/lib/ld.so'), 0o755),
  file('usr/bin/static', elf(62), 0o755),
  file('usr/bin/lost', elf(62, '/lib/ld-musl.so'), 0o755),
  file('usr/bin/arm', elf(183), 0o755),
  file('usr/bin/plain', 'echo', 0o755),
  file('usr/bin/text', 'echo', 0o644),
  file('usr/bin/script', '#! /bin/sh -e\n', 0o755),
  file('usr/bin/windows', '#!/bin/sh\r\n', 0o755),
  symlink('usr/bin/loop', 'loop'),
  symlink('usr/bin/up', '../../../../bin/static'),
  directory('etc'),
  file('etc/passwd', PASSWD),
  file('etc/group', GROUP),
  directory('srv'),
  file('srv/run', '#!/usr/bin/script\n', 0o755),
];
const files = new ImageFiles((path) => Promise.resolve(FILES.find((entry) => entry.path === path)));

const settled = (config: object, options?: ProcessOptions, found = files): ReturnType<typeof processOf> =>
  processOf(
    parseConfig(Buffer.from(JSON.stringify({ architecture: 'amd64', rootfs: { diff_ids: [] }, config })), 'it'),
    found,
    'it',
    options,
  );

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

describe('the process of an image', () => {
  it('has defaults for all but the command', async () => {
    expect(await settled({ Cmd: ['sh'] })).toEqual({
      ...{ program: '/usr/bin/sh', args: ['sh'], env: { PATH, HOME: '/root' }, cwd: '/' },
      ...{ uid: 0, gid: 0, groups: [], stopSignal: 15 },
    });
  });

  it.each<[string, object, ProcessOptions, string[]]>([
    ['entry point and arguments', { Entrypoint: ['sh', '-c'], Cmd: ['a b'] }, {}, ['sh', '-c', 'a b']],
    ['other arguments', { Entrypoint: ['sh'], Cmd: ['x'] }, { command: ['-l'] }, ['sh', '-l']],
    ['another command', { Cmd: ['x'] }, { command: ['sh', '-l'] }, ['sh', '-l']],
    ['another entry point', { Entrypoint: ['x'], Cmd: ['y'] }, { entrypoint: 'sh' }, ['sh']],
    ['both', { Entrypoint: ['x'], Cmd: ['y'] }, { entrypoint: 'sh', command: ['z'] }, ['sh', 'z']],
    ['no entry point', { Entrypoint: ['x'], Cmd: ['y'] }, { entrypoint: '', command: ['sh'] }, ['sh']],
  ])('has %s', async (_, config, options, args) => {
    expect((await settled(config, options)).args).toEqual(args);
  });

  it.each<[string, number, number, number[], string]>([
    ['', 0, 0, [], '/root'],
    ['web', 33, 34, [44, 45], '/srv'],
    ['33', 33, 34, [44, 45], '/srv'],
    ['web:root', 33, 0, [], '/srv'],
    ['web:99', 33, 99, [], '/srv'],
    ['5000', 5000, 0, [], '/'],
    ['5000:video', 5000, 44, [], '/'],
    ['1001', 7, 8, [], '/odd'], // a name that is a number
  ])('is of the user %j', async (User, uid, gid, groups, HOME) => {
    expect(await settled({ Cmd: ['sh'], User })).toMatchObject({ uid, gid, groups, env: { HOME } });
    expect(await settled({ Cmd: ['sh'] }, { user: User })).toMatchObject({ uid, gid });
  });

  it.each<[string, number]>([
    ['SIGQUIT', 3],
    ['winch', 28],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
  ])('ends by %s', async (StopSignal, stopSignal) => {
    expect(await settled({ Cmd: ['sh'], StopSignal })).toMatchObject({ stopSignal });
  });

  it.each<[string, string, string]>([
    ['a name', 'script', '/usr/bin/script'],
    ['a path', '/bin/sh', '/bin/sh'],
    ['a path from the working folder', './run', '/srv/run'],
    ['a link that leads above the root', 'up', '/usr/bin/up'],
  ])('finds %s', async (_, name, program) => {
    expect(await settled({ Cmd: [name], WorkingDir: '/srv' })).toMatchObject({ program, args: [name] });
  });

  it('takes variables of the image, and those of the command line over them', async () => {
    const Env = ['PATH=/bin', 'A=1=2', 'HOME=/x', 'none', '=odd'];
    expect((await settled({ Cmd: ['sh'], Env }, { env: { HOME: '/y' } })).env).toEqual({
      PATH: '/bin',
      A: '1=2',
      HOME: '/y',
    });
  });

  it.each<[string, object, RegExp]>([
    ['nothing to start', {}, /says nothing that it starts/],
    ['an empty name', { Cmd: [''] }, /says nothing that it starts/],
    ['an unknown program', { Cmd: ['none'] }, /has no program "none" \(PATH is /],
    ['a path to nothing', { Cmd: ['/none'] }, /\/none is not in the image/],
    ['a link to itself', { Cmd: ['/bin/loop'] }, /is not in the image/],
    ['a folder', { Cmd: ['/usr'] }, /\/usr is no program, but a directory/],
    ['what is not executable', { Cmd: ['/bin/text'] }, /is not executable/],
    ['a text', { Cmd: ['plain'] }, /neither a program nor a script/],
    ['a program for another machine', { Cmd: ['arm'] }, /is a program for arm64, and the image is for amd64/],
    ['a missing loader', { Cmd: ['lost'] }, /needs the dynamic loader "\/lib\/ld-musl\.so"/],
    ['a script from Windows', { Cmd: ['windows'] }, /needs the interpreter "\/bin\/sh\\r"/],
    ['an unknown user', { Cmd: ['sh'], User: 'none' }, /has no user "none"/],
    ['an unknown group', { Cmd: ['sh'], User: 'web:none' }, /has no group "none"/],
    ['a number that is none', { Cmd: ['sh'], User: '99999999999' }, /has no user "99999999999"/],
    ['an unknown signal', { Cmd: ['sh'], StopSignal: 'SIGNONE' }, /"SIGNONE" is no signal/],
    ['a NUL character', { Cmd: ['sh', 'a\0b'] }, /NUL/],
  ])('refuses %s', async (_, config, message) => {
    await expect(settled(config)).rejects.toThrow(message);
  });

  it('knows numbers alone in an image without /etc', async () => {
    const bare = new ImageFiles((path) =>
      Promise.resolve(FILES.find((entry) => entry.path === path && !path.startsWith('etc'))),
    );
    expect(await settled({ Cmd: ['static'], User: '7:8' }, {}, bare)).toMatchObject({ uid: 7, gid: 8, groups: [] });
    await expect(settled({ Cmd: ['static'], User: 'web' }, {}, bare)).rejects.toThrow(/has no user "web"/);
  });

  it('reads the ports of TCP and UDP', () => {
    const ExposedPorts = ['80/tcp', '53/udp', '8080', '9/sctp', '0/tcp', '70000/tcp', 'x'];
    expect(exposedPorts({ ExposedPorts })).toEqual([
      { port: 80, protocol: 'tcp' },
      { port: 53, protocol: 'udp' },
      { port: 8080, protocol: 'tcp' },
    ]);
  });
});
