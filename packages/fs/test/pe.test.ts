/** Programs for UEFI, judged by objdump and sbverify's parser; the firmware judges them at every boot from a medium. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory, regions, writeImage, type BlockBackend } from '@nodeos/block';
import { afterAll, describe, expect, it } from 'vitest';
import { random } from '../../nbd/test/fuzz.js';
import { pe, peSections, type PeOptions } from '../pe.js';

const root = mkdtempSync(join(tmpdir(), 'nodeos-pe-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const has = (tool: string): boolean => spawnSync(tool, ['--version']).error === undefined;

const PROGRAM: PeOptions = {
  machine: 0x8664,
  sections: [
    { name: '.text', source: Buffer.alloc(100, 0x90), length: 100, isCode: true },
    { name: '.cmdline', source: Buffer.from('console=ttyS0'), length: 13 },
    { name: '.linux', source: Buffer.alloc(10_000, 7), length: 10_000 },
  ],
};

async function write(options: PeOptions): Promise<string> {
  const path = join(root, 'program.efi');
  const { regions: list, size } = pe(options);
  const device = regions(list, { size });
  await writeImage(device, path).finally(() => device.close());
  return path;
}

function deviceOf(bytes: Uint8Array): BlockBackend {
  const device = memory(bytes.length);
  void device.write?.(bytes, 0);
  return device;
}

describe('a program for UEFI', () => {
  it.skipIf(!has('objdump'))('is right for objdump', async () => {
    const text = execFileSync('objdump', ['-h', '-f', await write(PROGRAM)], { encoding: 'utf8' });
    expect(text).toContain('pei-x86-64');
    expect(text).toMatch(/start address 0x0*1000$/m);
    expect(text).toMatch(/\.text +00000064 +0*1000 +0*1000 +00001000[^]*READONLY, CODE/);
    expect(text).toMatch(/\.cmdline +0000000d +0*2000 +0*2000 +00002000/);
    expect(text).toMatch(/\.linux +00002710 +0*3000 +0*3000 +00003000/);
  });

  it.skipIf(!has('sbsign'))('can be signed, and is signed without a warning', async () => {
    const [key, cert, signed] = ['key.pem', 'cert.pem', 'signed.efi'].map((name) => join(root, name)) as [
      string,
      string,
      string,
    ];
    const subject = ['-subj', '/CN=test', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
    execFileSync('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', cert], { stdio: 'pipe' });
    const path = await write(PROGRAM);
    const sign = spawnSync('sbsign', ['--key', key, '--cert', cert, '--output', signed, path], { encoding: 'utf8' });
    expect(sign.stderr).not.toContain('warning');
    const verify = spawnSync('sbverify', ['--cert', cert, signed], { encoding: 'utf8' });
    expect([verify.stdout, verify.stderr]).toEqual(['Signature verification OK\n', '']);
  });

  it('is read by our own reader', async () => {
    const bytes = readFileSync(await write(PROGRAM));
    const places = await peSections(deviceOf(bytes));
    expect([...places]).toEqual([...pe(PROGRAM).places]);
    const { offset, length } = places.get('.cmdline') ?? { offset: 0, length: 0 };
    expect(bytes.toString('latin1', offset, offset + length)).toBe('console=ttyS0');
  });

  it('is refused if it is damaged, whatever the damage', async () => {
    const bytes = readFileSync(await write(PROGRAM));
    const dice = random(5);
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const damaged = Buffer.from(bytes);
      for (let changes = dice.int(4); changes >= 0; changes--) damaged.writeUInt8(dice.int(255), dice.int(450));
      const device = deviceOf(damaged.subarray(0, dice.percent(10) ? dice.int(bytes.length - 1) + 1 : bytes.length));
      try {
        for (const { offset, length } of (await peSections(device)).values())
          expect(offset + length).toBeLessThanOrEqual(device.size);
      } catch (error) {
        expect(error).toMatchObject({ code: 'EINVAL' });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  it('refuses what the format cannot hold', () => {
    const [text] = PROGRAM.sections;
    expect(() => pe({ ...PROGRAM, sections: [] })).toThrow('a program of 0 sections');
    expect(() => pe({ ...PROGRAM, sections: [{ name: '.too-long-a-name', source: 'zeros', length: 1 }] })).toThrow(
      'called',
    );
    expect(() => pe({ ...PROGRAM, sections: [{ name: '.x', source: 'zeros', length: 0 }] })).toThrow('0 bytes');
    expect(() => pe({ ...PROGRAM, sections: [{ ...text, name: '.x', source: 'zeros', length: 2 ** 31 }] })).toThrow(
      '2 GiB',
    );
  });
});
