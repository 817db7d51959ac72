import { cpSync, linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { authority } from '../../nbd/test/pki.js';
import { parse } from '../command.js';
import { mapCommand } from '../nbd/map.js';
import { serveMetrics } from '../nbd/metrics.js';
import { serveCommand } from '../nbd/serve.js';
import { tlsOf, type Tls } from '../nbd/tls.js';
import { openTrace } from '@nodeos/disk';

const folder = mkdtempSync(join(tmpdir(), 'nodeos-cli-serve-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function written(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('arguments after --', () => {
  it('are a command for an action that runs one', () => {
    expect(parse(serveCommand, ['disk', '--', 'sh', '-c', 'x'])).toMatchObject({
      operands: ['disk'],
      passthrough: ['sh', '-c', 'x'],
    });
  });

  it('are operands for all other actions', () => {
    const { operands, passthrough } = parse(mapCommand, ['one', '--', '--two']);
    expect({ operands, passthrough }).toEqual({ operands: ['one', '--two'], passthrough: [] });
  });
});

describe('TLS', () => {
  const tls = (...args: string[]): Promise<Tls | undefined> => tlsOf(parse(serveCommand, args));

  it('tells a local client the path of the keys and its identity', async () => {
    const psk = written('keys.psk', 'alice:00ff\nbob:11ff\n');
    expect(await tls('--psk', relative('.', psk))).toMatchObject({ query: { 'tls-psk-file': psk }, user: 'alice' });
    const pki = join(folder, 'pki');
    authority(pki).sign(pki, 'server', 'localhost');
    const found = await tls('--tls', relative('.', pki));
    expect(found?.query).toEqual({ 'tls-certificates': pki });
    expect(found?.user).toBe(undefined);
  });

  it('rejects a key file without keys', async () => {
    const empty = written('empty.psk', '\n');
    await expect(tls('--psk', empty)).rejects.toThrow(`--psk ${empty}: it has no key`);
  });

  it.each(['server-cert.pem', 'server-key.pem', 'ca-cert.pem'])('rejects a broken %s and names it', async (name) => {
    const good = join(folder, `for-${name}`);
    authority(good).sign(good, 'server', 'localhost');
    writeFileSync(join(good, name), 'garbage\n');
    await expect(tls('--tls', good)).rejects.toThrow(`--tls: ${join(good, name)}: `);
  });

  it('rejects a key that does not belong to the certificate', async () => {
    const [one, other] = [join(folder, 'one'), join(folder, 'other')];
    for (const pki of [one, other]) authority(pki).sign(pki, 'server', 'localhost');
    cpSync(join(other, 'server-key.pem'), join(one, 'server-key.pem'));
    await expect(tls('--tls', one)).rejects.toThrow(`--tls ${one}: server-cert.pem and server-key.pem: `);
  });
});

describe('a trace', () => {
  it('is not written over the traced disk, whatever name is used', async () => {
    const [disk, link] = [written('disk', 'content'), join(folder, 'link')];
    linkSync(disk, link);
    await expect(openTrace(link, ['/nowhere', disk])).rejects.toThrow(`--trace ${link}: it is ${disk}`);
    expect(readFileSync(disk, 'utf8')).toBe('content');
  });

  it('is not written where an overlay is to be created', async () => {
    const path = join(folder, 'new');
    await expect(openTrace(path, [relative('.', path)])).rejects.toThrow(`--trace ${path}: it is `);
    await (await openTrace(path, [join(folder, 'newer')])).close();
  });
});

it('metrics have a URL that a browser accepts, with any query', async () => {
  const metrics = await serveMetrics('::1:0', () => 'counters\n');
  try {
    expect(metrics.url).toMatch(/^http:\/\/\[::1\]:\d+\/metrics$/);
    expect(await (await fetch(`${metrics.url}?x=1`)).text()).toBe('counters\n');
  } finally {
    await metrics.close();
  }
});
