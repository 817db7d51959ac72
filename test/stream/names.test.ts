/**
 * A root whose server has a host name. PID 1 asks the name server of the kernel's `ip=`, which a guest expects at port
 * 53.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nameServer, type NameServer } from '../../packages/init/test/name-server.js';
import { authority } from '../../packages/nbd/test/pki.js';
import { freePort, LONG } from '../support.js';
import { folder, replaceableServer, startGuest, buildGuest } from './guest.js';
import { withTls, type Streamed } from './images.js';
import { boot, HOST, IP, nbdkit } from './machines.js';

const NOBODY = '10.0.2.9';
const WITH_NAMES = `${IP}:${HOST}`;
const NAME = 'disks.example.org';

/** Only administrators can use such a low port. */
const names: NameServer | undefined = await nameServer({}, { port: 53 }).catch(() => undefined);

let system: Streamed;
beforeAll(async () => {
  system = await buildGuest();
}, LONG);

describe.skipIf(!names)(`a server with a name${names ? '' : ' (not here: port 53 is not available)'}`, () => {
  const { queries = [] } = names ?? {};
  const knows = (known: NameServer['addresses']): void => {
    if (names) names.addresses = known;
  };
  beforeEach(() => {
    queries.length = 0;
  });
  afterAll(() => names?.close());

  it('is found at one of its addresses, and found again when it moves', async () => {
    const port = await freePort();
    knows({ [NAME]: [NOBODY, HOST] });
    const root = await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    const options = { append: [`root=nbd://${NAME}:${port}/root`], usr: system.usr };
    const { machine, get } = await startGuest(system, options, WITH_NAMES);
    expect(await get('read')).toBe(true);
    expect(machine.console).toMatch(/nodeos: nbd:\/\/disks\.example\.org:\d+\/root: no route to host; trying again/);
    const again = (times: number): Promise<unknown> => machine.waitForOutput(RegExp(`(connected again[^]*){${times}}`));

    await root.replace();
    await again(1); // at its known address, although it is the second one
    expect(machine.console.match(/no route/g)).toHaveLength(1);

    knows({ [NAME]: [NOBODY] });
    await root.kill();
    queries.length = 0;
    await sleep(3000);
    expect(queries).toContain(`${NAME} 1`);
    knows({ [NAME]: [HOST] });
    await root.begin();
    await again(2);
    expect(await get('read')).toBe(true);

    knows(undefined);
    await root.replace();
    await again(3);
    expect(await get('read')).toBe(true);
  });

  it('can have that name in its certificate', async () => {
    const pki = join(folder, 'named');
    authority(pki).sign(pki, 'server', NAME);
    const port = await freePort();
    knows({ [NAME]: [HOST], 'other.example.org': [HOST] });
    const tls = [`--tls-certificates=${pki}`, '--tls=require'];
    await replaceableServer(() => nbdkit(port, ...tls, '-r', 'file', system.small));
    const machine = await withTls(system, pki);
    const append = (name: string): string[] => [`root=nbds://${name}:${port}/root`];
    const { get } = await startGuest(machine, { append: append(`${NAME}.`), usr: system.usr }, WITH_NAMES);
    expect(await get('read')).toBe(true);
    const other = await boot(machine, { append: [WITH_NAMES, ...append('other.example.org'), 'nodeos.nbd.wait=1'] });
    expect((await other.ended).trouble?.cause).toMatch(/the server's certificate: .* does not match/);
  });

  it('can be found by the first part of its name', async () => {
    const [port, other] = [await freePort(), await freePort()];
    knows({ [NAME]: [HOST] });
    await replaceableServer(() => nbdkit(port, '-r', 'file', system.small));
    await replaceableServer(() => nbdkit(other, 'memory', '3M'));
    const { get } = await startGuest(system, { append: [`root=nbd://${HOST}:${port}/root`], usr: system.usr });
    const lines = `# a comment;search example.org more.example.org;nameserver fe80::1%eth0;nameserver ${HOST}`;
    await get(`resolver/${encodeURIComponent(lines)}`);
    const words = `nbd://disks:${other}/x /dev/nbd5`;
    expect(await get(`attach/${encodeURIComponent(words)}`)).toEqual({ status: 0, stdout: '' });
    expect(await get(`device/${encodeURIComponent('/dev/nbd5')}`)).toBe(3 << 20);
    expect(new Set(queries)).toEqual(new Set([`${NAME} 1`]));
    queries.length = 0;
    knows({ alone: [HOST] });
    expect(await get(`attach/${encodeURIComponent(`nbd://alone:${other}/x /dev/nbd6`)}`)).toMatchObject({ status: 0 });
    expect([...new Set(queries)]).toEqual(['alone.example.org 1', 'alone.example.org 28', 'alone 1']);
  });

  it('is named in the error if nobody knows it', async () => {
    knows({});
    const append = [WITH_NAMES, 'root=nbd://nobody/root', 'nodeos.nbd.wait=1'];
    const { trouble } = await (await boot(system, { append })).ended;
    expect(trouble?.cause).toMatch(/root: the name server knows no address of "nobody" \(tried for 1 s\)/);
  });
});

describe('without a name server', () => {
  it('a host name is reported as an error', async () => {
    const append = [IP, 'root=nbd://nobody/root', 'nodeos.nbd.wait=1'];
    const { trouble } = await (await boot(system, { append })).ended;
    expect(trouble?.cause).toMatch(/root: no name server is known \(ip=dhcp, or the eighth part of ip=\), to look up/);
  });
});
