import { describe, expect, it } from 'vitest';
import { checkSystemConfig, contractHeader, entryPath, isGuestEvent, SYSTEM_VERSION, word } from '../index.js';

const SYSTEM = {
  version: SYSTEM_VERSION,
  name: 'web',
  main: '/app/index.js',
  args: ['--port', ['a', { name: 'PORT', quoted: true }]],
  nodeArgs: [],
  env: { MODE: 'test' },
  first: [],
  cwd: '/app',
  user: 'app',
  restart: 'on-failure',
};

describe('the header for C', () => {
  it('contains the names of ports, words, paths and events', () => {
    const lines = contractHeader().split('\n');
    for (const line of [
      '#define PORT_EVENTS "nodeos.events"',
      '#define WORD_ON_EXIT "nodeos.onexit"',
      '#define PATH_NBD_SECRET "/nbd/secret"',
      '#define EVENT_GAVE_UP "gave-up"',
      '#define APP_ID 1000',
    ])
      expect(lines).toContain(line);
    const names = lines.flatMap((line) => /^#define (\w+)/.exec(line)?.[1] ?? []);
    expect(new Set(names).size).toBe(names.length);
  });
});

it('words and paths have the forms that the kernel and archives expect', () => {
  expect(word('nbdWait', 5)).toBe('nodeos.nbd.wait=5');
  expect(entryPath('/etc/nodeos.json')).toBe('etc/nodeos.json');
});

describe('events', () => {
  it.each([
    [{ us: 1, event: 'pid1' }, true],
    [{ us: 1, event: 'exit', status: 0, signal: 15, more: 'x' }, true],
    [{ us: 1, event: 'exit', status: 0 }, false],
    [{ us: '1', event: 'pid1' }, false],
    [{ us: 1, event: 'toString' }, false],
    [null, false],
    [[], false],
  ])('%j is recognised: %s', (value, expected) => expect(isGuestEvent(value)).toBe(expected));
});

describe('nodeos.json', () => {
  it('is accepted as the build writes it', () => {
    expect(checkSystemConfig(SYSTEM)).toBe(SYSTEM);
    expect(checkSystemConfig({ ...SYSTEM, onexit: 'shell', first: [{ ...SYSTEM, from: 'prestart' }] })).toBeDefined();
  });

  it.each([
    [[], 'it is no object'],
    [{ ...SYSTEM, version: 2 }, 'its version is 2; this init knows 1'],
    [{ ...SYSTEM, version: undefined }, 'its version is undefined; this init knows 1'],
    [{ ...SYSTEM, main: 'index.js' }, 'main is not an absolute path'],
    [{ ...SYSTEM, args: [7] }, 'args is not a list of arguments'],
    [{ ...SYSTEM, env: { A: 1 } }, 'env is not variables'],
    [{ ...SYSTEM, user: 'toor' }, 'user is not app or root'],
    [{ ...SYSTEM, first: [{}] }, 'first is not a list of programs'],
    [{ ...SYSTEM, onexit: 'explode' }, 'onexit is not reboot, poweroff, halt, shell'],
  ])('rejects variant %# and names the problem', (value, message) => {
    expect(() => checkSystemConfig(value)).toThrow(message);
  });
});
