/** NBD URIs according to their specification. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { formatUri, isNbdUri, parsePskFile, parseUri, tlsOf, type NbdUri } from '../wire/uri.js';

describe('a URI', () => {
  it('is parsed to what it was formatted from', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((one) => !one.includes('\0'));
    const host = fc.constantFrom('example.com', '192.0.2.1', '2001:db8::1', 'fe80::1%eth0');
    const at = fc.oneof(fc.record({ host, port: fc.nat(65535) }), fc.record({ path: text }));
    const more = { username: text, certificates: text, pskFile: text, serverName: text, insecure: fc.constant(true) };
    const uris = fc.record(
      { tls: fc.boolean(), at, export: fc.oneof(fc.constant(''), text), ...more },
      { requiredKeys: ['tls', 'at', 'export'] },
    );
    fc.assert(
      fc.property(uris, (uri) => {
        expect(parseUri(formatUri(uri as NbdUri))).toEqual(uri);
      }),
    );
    expect(formatUri({ tls: false, at: { host: '::1', port: 1 }, export: '' })).toBe('nbd://[::1]:1');
    expect(formatUri({ tls: true, at: { path: '/a b' }, export: 'c/d' })).toBe('nbds+unix:///c/d?socket=/a%20b');
  });

  it.each([
    ['nbd://example.com', { tls: false, at: { host: 'example.com', port: 10809 }, export: '' }],
    ['nbd://example.com/', { tls: false, at: { host: 'example.com', port: 10809 }, export: '' }],
    ['nbd://192.0.2.1:99/disk', { tls: false, at: { host: '192.0.2.1', port: 99 }, export: 'disk' }],
    ['nbd://[2001:db8::1]/disk', { tls: false, at: { host: '2001:db8::1', port: 10809 }, export: 'disk' }],
    ['nbd://localhost//a%20b', { tls: false, at: { host: 'localhost', port: 10809 }, export: '/a b' }],
    [
      'nbds://alice@example.com/x?tls-psk-file=keys',
      { tls: true, at: { host: 'example.com', port: 10809 }, export: 'x', username: 'alice', pskFile: 'keys' },
    ],
    [
      'nbds://example.com?tls-certificates=/etc/pki&tls-verify-peer=false',
      { tls: true, at: { host: 'example.com', port: 10809 }, export: '', certificates: '/etc/pki', insecure: true },
    ],
    ['nbd+unix:///disk?socket=/run/nbd.sock', { tls: false, at: { path: '/run/nbd.sock' }, export: 'disk' }],
    [
      'nbds+unix://bob@/x?socket=a&tls-psk-file=k',
      { tls: true, at: { path: 'a' }, export: 'x', username: 'bob', pskFile: 'k' },
    ],
    ['nbd://host:80/x', { tls: false, at: { host: 'host', port: 80 }, export: 'x' }],
    ['nbd://host.1:/x', { tls: false, at: { host: 'host.1', port: 10809 }, export: 'x' }],
    ['nbd://[fe80::1%25eth0]:1/', { tls: false, at: { host: 'fe80::1%eth0', port: 1 }, export: '' }],
    ['NBD://host/a/../b', { tls: false, at: { host: 'host', port: 10809 }, export: 'a/../b' }],
    ['nbd+unix:///?socket=/a+b', { tls: false, at: { path: '/a+b' }, export: '' }],
    [
      'nbds://host/?tls-verify-peer=0&tls-hostname=other',
      { tls: true, at: { host: 'host', port: 10809 }, export: '', insecure: true, serverName: 'other' },
    ],
    ['nbds://host/?tls-verify-peer=1', { tls: true, at: { host: 'host', port: 10809 }, export: '' }],
    ['nbds+unix://?socket=a', { tls: true, at: { path: 'a' }, export: '' }],
  ])('is parsed: %s', (text, expected) => {
    expect(parseUri(text)).toEqual(expected);
    expect(isNbdUri(text)).toBe(true);
  });

  it.each([
    ['http://example.com/', 'expected nbd://'],
    ['nbd+unix:///disk', 'expected …+unix:///EXPORT?socket=PATH'],
    ['nbd+unix://host/disk?socket=a', 'expected …+unix'],
    ['nbd:///disk', 'expected a host'],
    ['nbd://host/disk?socket=a', 'no socket='],
    ['nbd://host:99999/', 'not a URI'],
    [`nbd://host/${'x'.repeat(4097)}`, 'at most 4096 bytes'],
    ['disk.img', 'not a URI'],
    ['nbd://host/a#b', 'not a URI'],
    ['nbd://[host]/', 'not a URI'],
    ['nbd://a b/', 'not a URI'],
    ['nbd://::1/', 'not a URI'],
    ['nbd://host/a%00b', 'a byte of zero'],
    ['nbd://host/%ff', '%ff is not UTF-8'],
    ['nbds://host/?tls-certficates=/etc/pki', 'unknown parameter tls-certficates=: expected socket, tls-certificates'],
    ['nbds://host/?tls-verify-peer=no', 'tls-verify-peer=no: expected true or false'],
  ])('is refused: %s', (text, reason) => {
    expect(() => parseUri(text)).toThrow(reason);
  });
});

describe('keys', () => {
  it('are read from a file of psktool', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nodeos-nbd-uri-'));
    const file = join(folder, 'keys.psk');
    writeFileSync(file, 'alice:0011aaFF\nbob:22\n');
    const { psk } = await tlsOf(parseUri(`nbds://bob@host/?tls-psk-file=${file}`));
    expect(psk).toEqual({ identity: 'bob', key: Buffer.from([0x22]) });
    await expect(tlsOf(parseUri(`nbds://eve@host/?tls-psk-file=${file}`))).rejects.toThrow('has no key for "eve"');
    expect(() => parsePskFile('alice:xyz')).toThrow('line 1: expected IDENTITY:HEXADECIMAL');
    rmSync(folder, { recursive: true });
  });
});
