import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeosError, UsageError } from '@nodeos/base';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, type Io } from '../command.js';
import { configCommand } from '../commands/config.js';
import { startCommand } from '../commands/start.js';
import { cardsOf } from '../config/cards.js';
import { defineConfig, type NodeosConfig } from '../config/define.js';
import { KEY_NAMES, KEYS, type KeyName } from '../config/schema.js';
import { checkConfig, settle, type Settled } from '../config/settle.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-config-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A folder with these files. Objects are written as JSON. */
function folder(files: Readonly<Record<string, string | object>>): string {
  const dir = mkdtempSync(join(root, 'app-'));
  const all = { 'package.json': { name: 'web', main: 'main.js' }, ...files };
  for (const [name, content] of Object.entries(all))
    writeFileSync(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  return dir;
}

const ioWith = (env: Readonly<Record<string, string>> = {}): Pick<Io, 'env' | 'stderr'> => ({
  env,
  stderr: { write: () => true } as unknown as Io['stderr'],
});

const settled = (
  dir: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Settled> => settle(dir, parse({ name: 'start', ...startCommand }, args), ioWith(env));

const rowOf = ({ rows }: Settled, key: string): unknown => rows.find((row) => row.key === key);

async function errorOf(work: Promise<unknown>): Promise<NodeosError> {
  const error = await work.then(() => undefined).catch((error: unknown) => error);
  if (!(error instanceof NodeosError)) throw new Error(`no error that a user can act on: ${String(error)}`);
  return error;
}

describe('a configuration is read from', () => {
  const EXPECTED = { key: 'memory', value: '512M' };

  it.each([
    [
      'nodeos.config.ts',
      `import { defineConfig, type NodeosConfig } from 'nodeos';
       enum Size { Large = '512M' }
       const config: NodeosConfig = { memory: Size.Large };
       export default defineConfig(config satisfies NodeosConfig);`,
    ],
    ['nodeos.config.js', `import { defineConfig } from 'nodeos'; export default defineConfig({ memory: '512M' });`],
    [
      'nodeos.config.mjs',
      `import { defineConfig } from 'nodeos'; export default await Promise.resolve(defineConfig({ memory: '512M' }));`,
    ],
    ['nodeos.config.json', '\uFEFF{ "memory": "512M" }'],
  ])('%s', async (name, content) => {
    expect(rowOf(await settled(folder({ [name]: content })), 'memory')).toEqual({ ...EXPECTED, from: name });
  });

  it('nodeos in package.json', async () => {
    const dir = folder({ 'package.json': { name: 'web', nodeos: { memory: '512M' } } });
    expect(rowOf(await settled(dir), 'memory')).toEqual({ ...EXPECTED, from: 'package.json' });
  });

  it('a program that imports another file, and a package of its folder', async () => {
    const dir = folder({
      'shared.ts': `export const memory: string = '512M';`,
      'nodeos.config.ts': `import { memory } from './shared'; import manifest from './package.json'; export default { memory, hostname: manifest.name };`,
    });
    const found = await settled(dir);
    expect([rowOf(found, 'memory'), rowOf(found, 'hostname')]).toMatchObject([EXPECTED, { value: 'web' }]);
  });

  it('a program again, after a file that it imports has changed', async () => {
    const dir = folder({
      'shared.ts': `export const memory: string = '128M';`,
      'nodeos.config.ts': `import { memory } from './shared'; export default { memory };`,
    });
    expect((await settled(dir)).values.memory).toBe('128M');
    writeFileSync(join(dir, 'shared.ts'), `export const memory: string = '512M';`);
    expect((await settled(dir)).values.memory).toBe('512M');
  });

  it('a program again, after it has changed', async () => {
    const dir = folder({ 'nodeos.config.mjs': `export default { memory: '128M' }` });
    expect((await settled(dir)).values.memory).toBe('128M');
    writeFileSync(join(dir, 'nodeos.config.mjs'), `export default { memory: '512M' }`);
    expect((await settled(dir)).values.memory).toBe('512M');
  });
});

describe('a configuration is refused', () => {
  it.each<[string, string | object, string, string]>([
    ['an unknown key, with the closest one', { memroy: '1G' }, 'there is no key memroy', 'did you mean memory?'],
    ['a key unlike all others, with a list', { colour: 1 }, 'there is no key colour', 'the keys are: app, build,'],
    ['a key of every object', '{ "__proto__": {} }', 'there is no key __proto__', 'the keys are'],
    ['a key of all functions', { constructor: {} }, 'there is no key constructor', 'the keys are'],
    ['a nested key', { network: { dsn: [] } }, 'there is no key network.dsn', 'did you mean network.dns?'],
    ['a wrong type', { memory: 512 }, 'memory is 512; expected a size such as 256M or 1G', ''],
    ['a wrong word', { libc: 'uclibc' }, "libc is 'uclibc'; expected musl or glibc", ''],
    ['a number out of range', { cpus: 0 }, 'cpus is 0; expected a whole number from 1 to 255', ''],
    ['an item of a list', { publish: ['8080:80', '80'] }, "publish[1] is '80'; expected [ADDRESS:]HOST:GUEST", ''],
    ['a variable that is no text', { env: { PORT: 80 } }, 'env.PORT is 80; expected text', ''],
    ['a variable with =', { env: { 'A=B': '' } }, "env is 'A=B'; expected names of variables without =", ''],
    ['several applications', { app: ['a', 'b'] }, 'expected one application: a system cannot run several yet', ''],
    ['no object', [1], 'the configuration is [ 1 ]; expected an object', ''],
    ['a name of a machine', { hostname: 'my host' }, "hostname is 'my host'; expected a name of letters", ''],
    [
      'a place of the system',
      { files: { '/usr/lib/x': 'x' } },
      "files is '/usr/lib/x'; expected a place that is not",
      '',
    ],
    ['a place with ..', { files: { '/srv/../etc/passwd': 'x' } }, 'expected an absolute path without .', ''],
    ['an unknown format', { formats: ['floppy'] }, "formats[0] is 'floppy'; expected a format", ''],
    ['an address without a prefix', { network: { interfaces: { eth0: { address: '10.0.0.1' } } } }, '.address is', ''],
    ['an interface without an address', { network: { interfaces: { eth0: {} } } }, 'eth0.address is undefined', ''],
    ['a name server that is none', { network: { dns: ['127.0.0.1'] } }, "network.dns[0] is '127.0.0.1'", ''],
    ['what is not JSON', '{', 'nodeos.config.json is not valid JSON', ''],
  ])('for %s', async (_name, content, message, hint) => {
    const error = await errorOf(settled(folder({ 'nodeos.config.json': content })));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toContain(message);
    expect(error.message).toContain('nodeos.config.json');
    expect(error.hint ?? '').toContain(hint);
  });

  it('for wrong settings of package.json, too', async () => {
    const error = await errorOf(settled(folder({ 'package.json': { name: 'web', nodeos: { cpu: 2 } } })));
    expect(error).toMatchObject({
      message: 'package.json: there is no key nodeos.cpu',
      hint: 'did you mean nodeos.cpus?',
    });
  });

  it('if its program runs once and exports nothing', async () => {
    const runs = globalThis as { nodeosRuns?: number };
    const dir = folder({ 'nodeos.config.mjs': 'globalThis.nodeosRuns = (globalThis.nodeosRuns ?? 0) + 1;' });
    const error = await errorOf(settled(dir));
    expect(error.message).toBe('nodeos.config.mjs: the configuration is undefined; expected an object');
    expect(runs.nodeosRuns).toBe(1);
  });

  it('if there are two', async () => {
    const error = await errorOf(settled(folder({ 'nodeos.config.json': {}, 'nodeos.config.mjs': '' })));
    expect(error.message).toContain('has several configurations: nodeos.config.mjs, nodeos.config.json');
  });

  it('if its program throws, with the place', async () => {
    const dir = folder({ 'nodeos.config.ts': 'export default {};\nthrow new Error("no luck");' });
    const error = await errorOf(settled(dir));
    expect(error.message).toBe(`${join(dir, 'nodeos.config.ts')}: no luck`);
    expect(error.lines.join()).toContain('nodeos.config.ts:2');
  });
});

describe('of several sources', () => {
  const dir = folder({
    'package.json': { name: 'web', nodeos: { user: 'root', libc: 'glibc', env: { A: '1', B: '2' }, cpus: 3 } },
    'nodeos.config.json': {
      ...{ libc: 'musl', env: { B: 'file', C: '3' }, memory: '64M', cpus: 4, publish: ['1:80'], trustedKeys: ['k1'] },
      ...{ remoteCaches: ['/a'], data: 'd.img', append: 'quiet', fragments: ['f'], board: 'microvm', node: 24 },
    },
  });

  it('the option wins, then the environment, the file, package.json and the default', async () => {
    const found = await settled(dir, ['--cpus', '5'], { NODEOS_REMOTE_CACHE: '/b /c' });
    const from = (key: string): unknown => rowOf(found, key);
    expect(['cpus', 'remoteCaches', 'memory', 'user', 'restart'].map(from)).toEqual([
      { key: 'cpus', value: 5, from: '--cpus' },
      { key: 'remoteCaches', value: ['/b', '/c'], from: 'NODEOS_REMOTE_CACHE' },
      { key: 'memory', value: '64M', from: 'nodeos.config.json' },
      { key: 'user', value: 'root', from: 'package.json' },
      { key: 'restart', value: 'on-failure', from: 'default' },
    ]);
  });

  it('variables are combined by name, and keys to trust are added', async () => {
    const found = await settled(dir, ['--trust', 'k3'], { NODEOS_TRUSTED_KEYS: 'k2' });
    expect(found.values.env).toEqual({ A: '1', B: 'file', C: '3' });
    expect(found.rows.filter(({ key }) => key.startsWith('env.')).map(({ key, from }) => `${key} ${from}`)).toEqual([
      'env.A package.json',
      'env.B nodeos.config.json',
      'env.C nodeos.config.json',
    ]);
    // The project's own keys are kept apart: they count only if the user trusts them too.
    expect([found.args.texts('trust'), found.projectKeys]).toEqual([['k3'], ['k1']]);
    expect(rowOf(found, 'trustedKeys')).toMatchObject({ from: 'nodeos.config.json, NODEOS_TRUSTED_KEYS, --trust' });
  });

  it('options that are not given have the values of the configuration', async () => {
    const { args } = await settled(dir);
    expect([args.text('memory'), args.number('cpus', 1), args.texts('publish'), args.text('append')]).toEqual([
      ...['64M', 4, ['1:80'], 'quiet'],
    ]);
    const given = (await settled(dir, ['-p', '2:80', '-m', '1G', '--cpus', '2'])).args;
    expect([given.texts('publish'), given.text('memory'), given.number('cpus', 1)]).toEqual([['2:80'], '1G', 2]);
  });

  it('paths begin at the folder of the file', async () => {
    const { args } = await settled(dir);
    expect([args.text('data'), args.texts('fragment')]).toEqual([join(dir, 'd.img'), [join(dir, 'f')]]);
  });

  it.each([
    [['--format', 'iso'], ['data']],
    [['--target', 'aarch64'], ['machine']],
    [['--node-build', 'musl'], ['node']],
    [['--no-remote'], ['remote']],
    [['--no-network'], ['publish']],
  ])('%j leaves out what it makes meaningless: %j', async (given, options) => {
    const [{ args: with_ }, { args: without }] = [await settled(dir, given), await settled(dir)];
    for (const option of options) {
      expect(without.texts(option)).not.toEqual([]);
      expect(with_.texts(option)).toEqual([]);
    }
  });

  it('an option that says the same leaves out nothing', async () => {
    const same = folder({ 'nodeos.config.json': { target: 'x86_64', board: 'microvm' } });
    expect((await settled(same, ['--target', 'x86_64'])).args.text('machine')).toBe('microvm');
  });

  it('nothing can be changed any more', async () => {
    const { values, rows } = await settled(dir);
    for (const part of [values, values.env, rows, rows[0]]) expect(Object.isFrozen(part)).toBe(true);
  });

  it('the folder of the application can be another one', async () => {
    const outer = folder({ 'nodeos.config.json': { app: '.', memory: '1G' } });
    writeFileSync(join(outer, 'nodeos.config.json'), JSON.stringify({ app: dir, memory: '1G' }));
    expect(await settled(outer)).toMatchObject({ app: dir, values: { memory: '1G', user: 'root' } });
  });
});

describe('any JSON gives settled values, or an error that a user can act on', () => {
  const anyKey = fc.oneof(fc.constantFrom(...KEY_NAMES), fc.string());
  const hostile = fc.constantFrom<unknown>(
    'dhcp',
    '10.0.0.1/24',
    '/etc/x',
    '/',
    '8080:80',
    { interfaces: {} },
    [[]],
    Infinity,
    '\0',
    {},
  );
  const value = fc.oneof(fc.jsonValue(), hostile, fc.dictionary(fc.string(), fc.oneof(fc.jsonValue(), hostile)));

  const check = (content: unknown): void => {
    let checked: object;
    try {
      checked = checkConfig(content, 'nodeos.config.json', '/srv');
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect((error as UsageError).message).toMatch(/^nodeos\.config\.json: /);
      expect((error as UsageError).message.length).toBeLessThan(1000);
      return;
    }
    expect(Object.keys(checked).every((name) => KEY_NAMES.includes(name as KeyName))).toBe(true);
    // What is settled settles to the same.
    expect(checkConfig(JSON.parse(JSON.stringify(checked)), 'nodeos.config.json', '/srv')).toEqual(checked);
  };

  it('of any form', () => fc.assert(fc.property(fc.jsonValue(), check)));

  it('with keys that are known', () =>
    fc.assert(fc.property(fc.dictionary(anyKey, value, { maxKeys: 3 }), check), { numRuns: 1000 }));

  it('with one key', () =>
    fc.assert(
      fc.property(fc.constantFrom(...KEY_NAMES), value, (key, one) => check({ [key]: one })),
      { numRuns: 2000 },
    ));

  it('with networks', () => {
    const byte = fc.integer({ min: 0, max: 255 });
    const address = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
    const withPrefix = fc.tuple(address, fc.integer({ min: 0, max: 33 })).map(([ip, prefix]) => `${ip}/${prefix}`);
    const one = fc.record({ address: withPrefix, gateway: address, mtu: fc.integer() }, { requiredKeys: [] });
    const network = fc.record(
      {
        interfaces: fc.dictionary(fc.constantFrom('eth0', 'eth1'), fc.oneof(fc.constant('dhcp'), one)),
        dns: fc.array(address),
      },
      { requiredKeys: [] },
    );
    fc.assert(fc.property(network, (given) => check({ network: given })));
  });
});

describe('the emulated network', () => {
  const cards = (network: NonNullable<NodeosConfig['network']>): unknown =>
    cardsOf(checkConfig(defineConfig({ network }), 'test', '/').network);

  it.each([['dhcp'], ['off'], [{ dns: ['10.0.0.1'] }]] as const)('is QEMU’s own with %j', (network) => {
    expect(cards(network)).toEqual([{}]);
  });

  it('has the machine at its address, and this host as its router', () => {
    const eth0 = { address: '192.168.7.9/24', gateway: '192.168.7.1' };
    expect(cards({ interfaces: { eth0 }, dns: ['192.168.7.53'] })).toEqual([
      { subnet: { network: '192.168.7.0/24', guest: '192.168.7.9', host: '192.168.7.1', nameServer: '192.168.7.53' } },
    ]);
  });

  it('has a card for each interface, in the order of their names, with their MAC addresses', () => {
    const interfaces = {
      eth10: { address: '10.2.0.1/16' },
      eth2: 'dhcp',
      '52:54:00:00:00:09': { address: '10.9.0.1/30' },
    } as const;
    expect(cards({ interfaces })).toMatchObject([{ mac: '52:54:00:00:00:09' }, {}, { subnet: { guest: '10.2.0.1' } }]);
  });

  it('is another one for each interface with DHCP, and QEMU’s own for the first', () => {
    expect(cards({ interfaces: { eth0: 'dhcp', eth1: 'dhcp' } })).toEqual([
      {},
      { subnet: { network: '10.0.3.0/24', guest: '10.0.3.15', host: '10.0.3.2', nameServer: '10.0.3.3' } },
    ]);
  });

  it('has three different addresses in it, whatever they are', () => {
    const byte = fc.integer({ min: 1, max: 223 }).filter((value) => value !== 127);
    const any = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
    fc.assert(
      fc.property(any, fc.integer({ min: 8, max: 29 }), any, any, (guest, prefix, gateway, dns) => {
        const [card] = cardsOf({ interfaces: { eth0: { address: `${guest}/${prefix}`, gateway } }, dns: [dns] });
        const { subnet } = card ?? {};
        const bits = (address = ''): string =>
          address
            .split('.')
            .map((part) => Number(part).toString(2).padStart(8, '0'))
            .join('');
        const [network, ...all] = [subnet?.network.split('/')[0], subnet?.guest, subnet?.host, subnet?.nameServer];
        expect(new Set(all).size).toBe(3);
        for (const address of all) expect(bits(address).slice(0, prefix)).toBe(bits(network).slice(0, prefix));
      }),
    );
  });
});

describe('docs/config.md', () => {
  it('has every key with its values, default, option and variable, and no other', async () => {
    const page = await readFile(new URL('../../../docs/config.md', import.meta.url), 'utf8');
    const rows = page.split('\n').flatMap((line) => {
      const [, key, values, fallback, option] = /^\| `(\w+)` +\| (.*?) +\| (.*?) +\| (.*?) +\|/.exec(line) ?? [];
      return key === undefined ? [] : [[key, values, fallback, option]];
    });
    const cell = (value: unknown): string => {
      if (value === undefined || (Array.isArray(value) && value.length === 0)) return 'none';
      if (typeof value === 'function') return 'see below';
      return [value]
        .flat()
        .map((one) => `\`${one as string | number}\``)
        .join(', ');
    };
    const other = ({ option, variable }: { option?: string; variable?: string }): string =>
      [option === 'app' ? 'APP, `--app`' : option && `\`--${option}\``, variable && `\`${variable}\``]
        .filter(Boolean)
        .join(', ');
    expect(rows).toEqual(
      KEY_NAMES.map((name) => [name, KEYS[name].values, cell(KEYS[name].fallback), other(KEYS[name])]),
    );
  });
});

it('nodeos config knows every option that is a key', () => {
  const options = KEY_NAMES.flatMap((name) => KEYS[name].option ?? []).filter((option) => option !== 'app');
  expect(Object.keys(configCommand.options)).toEqual(expect.arrayContaining(options));
});
