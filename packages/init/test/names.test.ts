import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { hostNameOf } from '../guest/boot.js';
import type { SystemConfig } from '@nodeos/contract';
import { parseCommandLine } from '../guest/config.js';
import { machineSetupOf } from '../guest/machine.js';

describe('names', () => {
  const named = (name: string | undefined, line = ''): string =>
    hostNameOf({
      cmdline: parseCommandLine(line),
      run: {},
      machine: machineSetupOf(undefined),
      ...(name === undefined ? {} : { app: { name } as SystemConfig }),
    });

  it.each([
    ['web', '', 'web'],
    ['@acme/Web_Shop 2', '', 'web-shop-2'],
    ['web', 'nodeos.hostname=Front', 'front'],
    ['--', '', 'nodeos'],
    [undefined, '', 'nodeos'],
    [`${'a'.repeat(62)}-b`, '', 'a'.repeat(62)],
  ])('of %j with %j is %s', (name, line, expected) => {
    expect(named(name, line)).toBe(expected);
  });

  it('are always valid host names', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z-]{0,90}$/)), (name) => {
        expect(named(name)).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      }),
    );
  });
});

describe('the command line of the kernel', () => {
  it('consists of words, some with a value', () => {
    expect([...parseCommandLine(' quiet  a=b=c\tip=dhcp ip= \n')]).toEqual([
      ['quiet', ''],
      ['a', 'b=c'],
      ['ip', ''],
    ]);
    expect(parseCommandLine('').size).toBe(0);
  });
});
