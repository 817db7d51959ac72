/** The help of `nodeos nbd` and its handling of wrong arguments. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { nbd } from './nbd-command.js';

const THIS = fileURLToPath(import.meta.url);
const ACTIONS = ['serve', 'info', 'list', 'map', 'copy', 'attach', 'detach', 'plot'];

describe('help and usage', () => {
  it('nodeos nbd --help lists every action; without an action it does the same with status 2', async () => {
    const asked = await nbd('--help');
    for (const action of ACTIONS) expect(asked.stdout).toMatch(new RegExp(`^ {2}${action} `, 'm'));
    expect(await nbd()).toEqual({ ...asked, status: 2 });
    expect(await nbd('help', 'copy')).toEqual(await nbd('copy', '--help'));
  });

  it.each(ACTIONS)('%s --help shows options and examples', async (action) => {
    const { status, stdout } = await nbd(action, '--help');
    expect(status).toBe(0);
    expect(stdout).toContain(`nodeos nbd ${action} `);
    expect(stdout).toContain('Options:');
    expect(stdout).toContain(`Examples:\n  nodeos nbd ${action}`);
  });

  it.each([
    [['fly'], 'unknown action "fly"', 'serve, info, list, map, copy, attach, detach, plot'],
    [['serve'], 'no source', 'nodeos nbd serve disk.img'],
    [['serve', 'ftp://x/y'], 'nothing is known of ftp://', 'memory:SIZE'],
    [['serve', 'memory:lots'], 'memory: lots: expected a size such as 512M', ''],
    [['serve', 'x/a.img', 'y/a.img'], 'two sources are called a.img', 'NAME=y/a.img'],
    [['serve', 'memory:1M', 'b=memory:2M', '--export', 'x'], '--export x: only with one source', 'x=memory:1M'],
    [['serve', 'memory:1M', 'b=memory:2M', '--overlay', 'x'], '--overlay: only with one source', ''],
    [['serve', 'memory:1M', '--read-only', '--overlay', 'x'], 'needs no overlay', ''],
    [['serve', 'memory:1M', '--listen', 'http://x'], '--listen http://x: expected nbd:', 'nbd://127.0.0.1:10809'],
    [['serve', 'memory:1M', '--listen', 'nbds://127.0.0.1:0'], 'there is no TLS without certificates', '--tls DIR'],
    [['serve', 'memory:1M', '--listen', 'nbd://127.0.0.1/x'], 'names an export', '--export'],
    [['serve', 'memory:1M', '--tls-optional'], '--tls-optional: there is no TLS', '--psk FILE'],
    [
      ['serve', 'memory:1M', '--listen', 'nbd://127.0.0.1:0', '--metrics', 'x'],
      '--metrics x: expected [HOST:]PORT',
      '',
    ],
    [['serve', 'memory:1M', '--max-request', '1K'], '--max-request 1K: expected a size from 64K to 256M', ''],
    [['serve', 'memory:1M', '--max-request', 'much'], '--max-request much: expected a size', ''],
    [['copy', 'memory:1M'], 'DESTINATION is missing', 'nodeos nbd copy --help'],
    [['copy', 'memory:1M', 'memory:1M', 'x'], 'not also x', ''],
    [['copy', 'memory:1M', 'memory:1M', '--', 'x'], 'not also x', ''],
    [['serve', 'memory:1M', '--export', 'x'.repeat(4097)], 'names and descriptions have at most 4096 bytes', ''],
    [['serve', 'memory:1M', '--description', '…'.repeat(1366)], 'have at most 4096 bytes', ''],
    [['serve', THIS, '--trace', THIS, '--', 'true'], 'which would be overwritten', ''],
    [['serve', THIS, '--overlay', '/nowhere/x', '--trace', '/nowhere/x'], 'it is /nowhere/x', ''],
    [['copy', 'memory:1M', 'http://x/y'], 'http://x/y: cannot be written', 'NBD exports'],
    [['copy', 'memory:1', 'memory:1', '--requests', '0'], '--requests 0: expected a number of at least 1', ''],
    [['copy', 'memory:1', 'memory:1', '--no-sparse', '--destination-is-zero'], 'either zeros are written', ''],
    [['copy', 'memory:1', '-', '--verify'], '--verify: not to standard output: it cannot be read back', ''],
    [['copy', 'memory:1', '-', '--json'], '--json: not to standard output', ''],
    [['list', 'disk.img'], 'disk.img: expected a server', 'nbd://10.0.0.2'],
    [['info', 'nbd://'], 'nbd://: ', ''],
    [['detach', '/dev/sda'], '/dev/sda: expected a device such as /dev/nbd0', ''],
    [['attach'], 'nodeos nbd attach SOURCE [/dev/nbdN]', ''],
  ])('%j give status 2', async (args, cause, remedy) => {
    const { status, stdout, stderr } = await nbd(...args);
    expect(stderr).toContain(cause);
    expect(stderr).toContain(remedy);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  it.each([
    [['info', '/nowhere'], 'cannot open /nowhere: ENOENT'],
    [['info', '/'], 'cannot open /: '],
    [['copy', 'memory:1M', '/nowhere/x'], 'cannot create /nowhere/x: ENOENT'],
    [['copy', 'memory:2M', 'memory:1M'], 'the source has 2097152 bytes, the target has only 1048576'],
    [['copy', 'memory:1M', '/dev/null'], 'neither a file nor a block device'],
    [['map', 'nbd+unix:///?socket=/nowhere'], 'no server has made this socket'],
    [['serve', 'memory:1M', '--listen', 'nbd+unix:///?socket=/nowhere/x'], 'cannot listen at /nowhere/x'],
    [['serve', 'memory:1M', '--psk', '/nowhere'], '--psk: cannot read /nowhere'],
    [['serve', 'memory:1M', '--tls', '/nowhere'], 'cannot read /nowhere/server-cert.pem'],
    [['serve', 'memory:1M', '--trace', '/nowhere/x'], '--trace /nowhere/x: ENOENT'],
    [['plot', '/nowhere'], 'cannot read the trace /nowhere'],
  ])('%j fail with an explanation and status 1', async (args, cause) => {
    const { status, stderr } = await nbd(...args);
    expect(stderr).toContain(cause);
    expect(status).toBe(1);
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  it.skipIf(existsSync('/sys/module/nbd') || existsSync('/sys/block/nbd0'))(
    'attach and detach fail without a driver',
    async () => {
      for (const args of [
        ['attach', 'memory:1M'],
        ['attach', 'nbd://127.0.0.1/'],
        ['detach', '/dev/nbd0'],
      ]) {
        const { status, stderr } = await nbd(...args);
        expect(stderr).toMatch(/^nodeos: this kernel has no NBD driver\n {2}modprobe nbd/);
        expect(status).toBe(1);
      }
    },
  );
});
