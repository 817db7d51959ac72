import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { UsageError } from '@nodeos/base';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { checkFree, parsePublish } from '../ports.js';

describe('--publish', () => {
  it.each([
    ['8080:80', { protocol: 'tcp', address: '127.0.0.1', host: 8080, guest: 80 }],
    ['8080:80/tcp', { protocol: 'tcp', address: '127.0.0.1', host: 8080, guest: 80 }],
    ['5353:53/udp', { protocol: 'udp', address: '127.0.0.1', host: 5353, guest: 53 }],
    ['0.0.0.0:80:8080', { protocol: 'tcp', address: '0.0.0.0', host: 80, guest: 8080 }],
    ['192.168.1.2:1:65535/udp', { protocol: 'udp', address: '192.168.1.2', host: 1, guest: 65535 }],
  ])('accepts %s', (text, publish) => {
    expect(parsePublish(text)).toEqual(publish);
  });

  it.each([
    ...[
      '',
      '80',
      ':80',
      '80:',
      '0:80',
      '80:0',
      '65536:80',
      '80:65536',
      '80:80/sctp',
      '80:80/',
      '-1:80',
      '8e3:80',
      ' 80:80',
      '80:80 ',
    ],
    ...[
      'localhost:80:80',
      '::1:80:80',
      '1.2.3:80:80',
      '999.1.1.1:80:80',
      '1.2.3.4.5:80:80',
      '80:80:80',
      '99999999999999999999:80',
    ],
    ...['80:80,hostfwd=tcp::22-:22', '80:80\n'],
  ])('rejects %j', (text) => {
    expect(() => parsePublish(text)).toThrow(UsageError);
    expect(() => parsePublish(text)).toThrow(`--publish ${text}: expected [ADDRESS:]HOST:GUEST[/udp]`);
  });

  it('accepts every port', () => {
    const port = fc.integer({ min: 1, max: 65535 });
    fc.assert(
      fc.property(fc.ipV4(), port, port, fc.constantFrom('tcp', 'udp'), (address, host, guest, protocol) => {
        expect(parsePublish(`${address}:${host}:${guest}/${protocol}`)).toEqual({ address, host, guest, protocol });
      }),
    );
  });
});

describe('a port of the host', () => {
  it('is reported with an alternative if a program listens on it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const publish = parsePublish(`${port}:80`);
    await expect(checkFree([publish])).rejects.toMatchObject({
      message: `port ${port} of 127.0.0.1: another program has it`,
      hint: expect.stringMatching(/^publish another one: --publish \d+:80$/) as string,
    });
    // The other protocol has separate ports.
    await checkFree([{ ...publish, protocol: 'udp' }]);
    server.close();
    await once(server, 'close');
    await checkFree([publish]);
    await checkFree([publish]);
  });

  it('is reported if a program receives datagrams on it', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    const publish = parsePublish(`${port}:53/udp`);
    await expect(checkFree([publish])).rejects.toThrow(`port ${port} of 127.0.0.1: another program has it`);
    socket.close();
    await once(socket, 'close');
    await checkFree([publish]);
  });

  it('is reported if its address is not local', async () => {
    await expect(checkFree([parsePublish('192.0.2.1:8080:80')])).rejects.toThrow(
      /^port 8080 of 192\.0\.2\.1: .*EADDRNOTAVAIL/,
    );
  });

  it('has an alternative even at the end of the range', async () => {
    const hint = expect.stringMatching(/--publish 65534:80$/) as string;
    await expect(checkFree([parsePublish('192.0.2.1:65535:80')])).rejects.toMatchObject({ hint });
  });

  it('is not tested if none is published', async () => {
    await checkFree([]);
  });
});
