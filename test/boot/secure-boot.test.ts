/**
 * Secure Boot: OVMF with keys of its own in its variables, whose private key comes with it. Nothing that is not signed
 * runs, neither the program that chooses a slot, nor a slot, nor the kernel in it.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { file, partitions, regions, type BlockBackend } from '@nodeos/block';
import { decodeSlotHead, HEAD_LENGTH, slotHead, type Slot } from '@nodeos/bootfs';
import { pe, peSections } from '@nodeos/fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LONG } from '../support.js';
import { EMULATED_PC } from './emulated.js';
import { booted, diskWithBoth, killed, type SlotDisk, type Way } from './slot-disk.js';

const run = promisify(execFile);

/** Of Debian's package ovmf. https://wiki.debian.org/SecureBoot/VirtualMachine */
const FIRMWARE = {
  code: '/usr/share/OVMF/OVMF_CODE_4M.secboot.fd',
  variables: '/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd',
  key: '/usr/share/ovmf/PkKek-1-snakeoil.key',
  certificate: '/usr/share/ovmf/PkKek-1-snakeoil.pem',
  password: 'snakeoil',
} as const;
const lacking = [
  ...Object.values(FIRMWARE).filter((path) => path.startsWith('/') && !existsSync(path)),
  ...['sbsign', 'sbverify', 'mcopy', 'openssl'].filter((tool) => !existsSync(`/usr/bin/${tool}`)),
];
const { emulator } = EMULATED_PC.board;
/** What changes variables must be in system management mode, or the system could enrol keys itself. */
const WAY: Way = {
  firmware: 'bios', // none that the machine would choose
  drive: 'nvme',
  machine: {
    board: { ...EMULATED_PC.board, emulator: { ...emulator, machine: `${emulator.machine},smm=on` } },
    extra: [
      ...['-global', 'driver=cfi.pflash01,property=secure,value=on'],
      ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${FIRMWARE.code}`],
      ...['-drive', `if=pflash,unit=1,format=raw,snapshot=on,file=${FIRMWARE.variables}`],
    ],
  },
};
const MACHINE = 0x8664;

describe.skipIf(lacking.length > 0)(
  `Secure Boot${lacking.map((what) => ` (not here: ${what})`).join('')}`,
  { timeout: LONG },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'nodeos-secure-'));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const key = join(folder, 'key');
    let disk: SlotDisk;
    let uki: { readonly unsigned: Buffer; readonly outside: Buffer; readonly whole: Buffer };

    beforeAll(async () => {
      await run('openssl', ['rsa', '-in', FIRMWARE.key, '-passin', `pass:${FIRMWARE.password}`, '-out', key]);
      disk = await diskWithBoth(folder);
      const unsigned = await ukiOf('b');
      uki = { unsigned, outside: await signed(unsigned), whole: await signed(await withSignedKernel(unsigned)) };
    }, LONG);

    it('does not start a disk whose first program is not signed', async () => {
      const said = await killed(disk, WAY, { at: /BdsDxe: (?:failed to load|No bootable)/, after: 500 });
      expect(said).toMatch(/BdsDxe: failed to load .*(?:Access Denied|Security Violation)/);
      expect(said).not.toContain('NodeOS: ');
    });

    it('passes by a slot that is not signed, and starts one that is', async () => {
      await signSelector();
      await fill('a', await signed(await withSignedKernel(await ukiOf('a'))));
      await disk.setState({ slot: 'b', tries: 2 });
      const { lines, ...boot } = await booted(disk, WAY);
      expect(boot).toEqual({ slot: 'a', usr: '4', isSecure: true });
      expect(lines.join('\n')).toContain('NodeOS: slot b: the firmware cannot load its kernel');
      expect(await disk.state()).toMatchObject({ slot: 'b', tries: 1 });
    });

    it('passes by a slot whose kernel is not signed', async () => {
      await fill('b', uki.outside);
      await disk.setState({ slot: 'b', tries: 2 });
      const { lines, ...boot } = await booted(disk, WAY);
      expect(boot).toEqual({ slot: 'a', usr: '4', isSecure: true });
      expect(lines.join('\n')).toContain('NodeOS: the firmware cannot load the kernel');
      expect(lines.join('\n')).toContain('NodeOS: slot b: its kernel did not start');
    });

    it('starts a slot that is signed, and its kernel too', async () => {
      await fill('b', uki.whole);
      await disk.setState({ slot: 'b', tries: 2 });
      expect(await booted(disk, WAY)).toMatchObject({ slot: 'b', usr: '5', isSecure: true });
    });

    it('passes by a slot that was changed after it was signed', async () => {
      const changed = Buffer.from(uki.whole);
      const { offset } = await sectionOf(changed, '.initrd');
      changed.writeUInt8(changed.readUInt8(offset + 100) ^ 1, offset + 100);
      await fill('b', changed);
      await disk.setState({ slot: 'b', tries: 2 });
      expect((await booted(disk, WAY)).slot).toBe('a');
    });

    async function signed(program: Buffer): Promise<Buffer> {
      const [from, to] = [join(folder, 'program'), join(folder, 'program.signed')];
      await writeFile(from, program);
      await run('sbsign', ['--key', key, '--cert', FIRMWARE.certificate, '--output', to, from]);
      await run('sbverify', ['--cert', FIRMWARE.certificate, to]);
      return readFile(to);
    }

    async function ukiOf(slot: Slot): Promise<Buffer> {
      const { offset, length } = decodeSlotHead(await disk.read(disk.heads[slot], HEAD_LENGTH)).uki;
      return disk.read(disk.heads[slot] + offset, length);
    }

    /** The same with a kernel that is itself signed: the firmware checks it when the stub has it loaded. */
    async function withSignedKernel(program: Buffer): Promise<Buffer> {
      const sections = [];
      for (const [name, place] of await peSections(deviceOf(program))) {
        const bytes = program.subarray(place.offset, place.offset + place.length);
        const source = name === '.linux' ? await signed(bytes) : bytes;
        sections.push({ name, source, length: source.length, isCode: name === '.text' });
      }
      const image = pe({ machine: MACHINE, sections });
      const bytes = Buffer.alloc(image.size);
      await regions(image.regions, { size: image.size }).read(bytes, 0);
      return bytes;
    }

    async function sectionOf(program: Buffer, name: string) {
      return (await peSections(deviceOf(program))).get(name) ?? { offset: 0, length: 0 };
    }

    async function fill(slot: Slot, program: Buffer): Promise<void> {
      const path = join(folder, `slot-${slot}`);
      await writeFile(path, program);
      const head = await slotHead({ file: path, size: program.length, mtime: 0 }, HEAD_LENGTH, true);
      await disk.write(disk.heads[slot], Buffer.concat([head, program]));
    }

    async function signSelector(): Promise<void> {
      const device = await file(disk.path, { readOnly: true });
      const { offset = 0 } = (await partitions(device)).find(({ name }) => name === 'esp') ?? {};
      await device.close();
      const [esp, path, program] = [`${disk.path}@@${offset}`, '::/EFI/BOOT/BOOTX64.EFI', join(folder, 'selector')];
      await run('mcopy', ['-n', '-i', esp, path, program]);
      await writeFile(program, await signed(await readFile(program)));
      await run('mcopy', ['-o', '-i', esp, program, path]);
    }
  },
);

const deviceOf = (bytes: Buffer): BlockBackend => ({
  size: bytes.length,
  read: (into, offset) => into.set(bytes.subarray(offset, offset + into.length)),
  close: () => undefined,
});
