/** The state of a disk and the heads of its slots: the codecs, and the loaders' own reading of the same bytes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  BootStateError,
  currentBootState,
  decodeBootState,
  encodeBootState,
  nextSequence,
  type BootState,
} from '../boot-state.js';
import { decodeSlotHead, encodeSlotHead, HEAD_LENGTH, SlotHeadError, type SlotHead } from '../slot-head.js';
import { randomState, seeded } from './slot-model.js';
import { comparePairs, compileSlots, hasCompiler, HEADS, play } from './slot-program.js';

const MIB = 1 << 20;
/** FUZZ_INPUTS=1000000 npx vitest run --project unit bootfs/test/slots.test.ts */
const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 100_000);
const STATE: BootState = {
  sequence: 7,
  slot: 'b',
  tries: 3,
  slots: { a: { head: 9 * MIB, validated: true }, b: { head: 41 * MIB, validated: false } },
};
const HEAD: SlotHead = {
  uki: { offset: 4096, length: 8 * MIB },
  kernel: { offset: 12288, length: 4 * MIB },
  initramfs: { offset: 5 * MIB, length: 3 * MIB },
  commandLine: 'console=ttyS0 quiet',
  isSlot: true,
};

/** The same bytes with some changed, and the checksum that fits. */
function changed(bytes: Buffer, change: (bytes: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  copy.writeUInt32LE(crc32(copy.subarray(0, -4)), copy.length - 4);
  return copy;
}

describe('the state', () => {
  it('is the bytes that its description says', () => {
    const bytes = encodeBootState(STATE);
    expect(bytes.subarray(0, 24).toString('hex')).toBe(
      '6e6f7353' + '01000000' + '07000000' + '01030100' + '00480000' + '00480100',
    );
    expect(bytes.subarray(24, 508)).toEqual(Buffer.alloc(484));
    expect(bytes.readUInt32LE(508)).toBe(crc32(bytes.subarray(0, 508)));
  });

  it('comes back as it was', () => {
    const random = seeded(1);
    for (let n = 0; n < 1000; n++) {
      const state = randomState(random, HEADS);
      expect(decodeBootState(encodeBootState(state))).toEqual(state);
    }
  });

  it.each<[string, Buffer, string]>([
    ['short', Buffer.alloc(511), 'a boot state of 511 bytes: 512 are needed'],
    ['zeros', Buffer.alloc(512), 'there is no boot state'],
    ['another version', changed(encodeBootState(STATE), (b) => b.writeUInt8(2, 4)), 'has the version 2: 1 is known'],
    ['a third slot', changed(encodeBootState(STATE), (b) => b.writeUInt8(2, 12)), 'names the slot 2'],
    ['a wrong bit', Buffer.concat([encodeBootState(STATE).fill(1, 300, 301)]), 'is damaged'],
  ])('is refused: %s', (_, bytes, message) => {
    expect(() => decodeBootState(bytes)).toThrow(BootStateError);
    expect(() => decodeBootState(bytes)).toThrow(message);
  });

  it.each<[Partial<BootState>, string]>([
    [{ tries: 256 }, 'the number of tries is 256'],
    [{ sequence: -1 }, 'the sequence is -1'],
    [{ slots: { ...STATE.slots, b: { head: 100, validated: true } } }, 'the sector of the head of slot b'],
    [{ slots: { ...STATE.slots, a: { head: 2 ** 41, validated: true } } }, 'the sector of the head of slot a'],
  ])('is not written with %j', (change, message) => {
    expect(() => encodeBootState({ ...STATE, ...change })).toThrow(message);
  });

  it('is the newer one of two copies, also when the sequence begins again', () => {
    const copy = (sequence: number): Buffer => encodeBootState({ ...STATE, sequence });
    const broken = Buffer.alloc(512);
    expect(currentBootState([copy(1), copy(2)])?.copy).toBe(1);
    expect(currentBootState([copy(2), copy(1)])?.copy).toBe(0);
    expect(currentBootState([copy(2), copy(2)])?.copy).toBe(0);
    expect(currentBootState([copy(0xffffffff), copy(nextSequence({ sequence: 0xffffffff }))])?.copy).toBe(1);
    expect(currentBootState([broken, copy(2)])).toEqual({ copy: 1, state: { ...STATE, sequence: 2 } });
    expect(currentBootState([copy(2), broken])?.copy).toBe(0);
    expect(currentBootState([broken, broken])).toBeUndefined();
  });
});

describe('the head of a slot', () => {
  it('comes back as it was', () => {
    expect(decodeSlotHead(encodeSlotHead(HEAD))).toEqual(HEAD);
    const longest = { ...HEAD, isSlot: false, commandLine: 'x'.repeat(1023) };
    expect(decodeSlotHead(encodeSlotHead(longest))).toEqual(longest);
  });

  it.each<[string, Buffer, string]>([
    ['short', Buffer.alloc(4095), 'a head of 4095 bytes'],
    ['zeros', Buffer.alloc(4096), 'there is no head of a slot'],
    ['a wrong bit', Buffer.concat([encodeSlotHead(HEAD).fill(1, 3000, 3001)]), 'the head is damaged'],
    ['another version', changed(encodeSlotHead(HEAD), (b) => b.writeUInt8(9, 4)), 'the version 9: 1 is known'],
    [
      'a kernel in the head',
      changed(encodeSlotHead(HEAD), (b) => b.writeUInt32LE(7, 24)),
      'kernel: 4194304 bytes at the sector 7',
    ],
    ['nothing of an initramfs', changed(encodeSlotHead(HEAD), (b) => b.writeUInt32LE(0, 36)), 'initramfs: 0 bytes'],
    [
      'a line without an end',
      changed(encodeSlotHead(HEAD), (b) => b.fill('x', 64, 1088)),
      'the command line is no text',
    ],
    ['a line of two lines', changed(encodeSlotHead(HEAD), (b) => b.fill('\n', 64, 65)), 'the command line is no text'],
  ])('is refused: %s', (_, bytes, message) => {
    expect(() => decodeSlotHead(bytes)).toThrow(SlotHeadError);
    expect(() => decodeSlotHead(bytes)).toThrow(message);
  });

  it.each<[Partial<SlotHead>, string]>([
    [{ commandLine: 'a\nb' }, 'printable ASCII'],
    [{ uki: { offset: 0, length: 1 } }, 'uki: 1 bytes at 0'],
    [{ kernel: { offset: 4097, length: 1 } }, 'kernel: 1 bytes at 4097'],
    [{ initramfs: { offset: 4096, length: 2 ** 32 } }, 'initramfs: 4294967296 bytes'],
  ])('is not written with %j', (change, message) => {
    expect(() => encodeSlotHead({ ...HEAD, ...change })).toThrow(message);
  });

  it('is not written with a command line of 1024 characters', () => {
    expect(() => encodeSlotHead({ ...HEAD, commandLine: 'x'.repeat(1024) })).toThrow(
      'a command line of 1024 characters',
    );
  });

  it('survives any bytes', { timeout: 24 * 3_600_000 }, () => {
    const random = seeded(2);
    const good = encodeSlotHead(HEAD);
    let refused = 0;
    for (let n = 0; n < INPUTS; n++) {
      const bytes = changed(good, (b) => {
        for (let spoilt = random(5); spoilt > 0; spoilt--) b.writeUInt8(random(256), random(random(2) ? 100 : 4096));
      });
      try {
        decodeSlotHead(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(SlotHeadError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(INPUTS / 10);
  });
});

describe.skipIf(!hasCompiler)(`what the loader for UEFI decides${hasCompiler ? '' : ' (not here: gcc)'}`, () => {
  const root = mkdtempSync(join(tmpdir(), 'nodeos-slots-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const program = join(root, 'slots');
  beforeAll(() => compileSlots(program));

  it('is what the model decides, for 20000 pairs of copies', () => {
    const seen = comparePairs(program, { pairs: 20_000, seed: 3 });
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(200);
  });

  it('takes the heads that the codec takes, and never one that it refuses for its start or its checksum', () => {
    const random = seeded(4);
    const heads = Array.from({ length: 20_000 }, () => {
      const spoil = (b: Buffer): void => {
        for (let spoilt = random(3); spoilt > 0; spoilt--)
          b.writeUInt8(random(256), random(random(2) ? 24 : HEAD_LENGTH));
      };
      if (random(2)) return changed(encodeSlotHead(HEAD), spoil);
      const bytes = encodeSlotHead(HEAD);
      spoil(bytes);
      return bytes;
    });
    const answers = play(program, 'head', Buffer.concat(heads));
    let taken = 0;
    for (const [index, head] of heads.entries()) {
      const [sector, length] = [head.readUInt32LE(16), head.readUInt32LE(20)];
      const isIntact =
        head.toString('latin1', 0, 4) === 'nosH' &&
        head.readUInt32LE(4) === 1 &&
        head.readUInt32LE(4092) === crc32(head.subarray(0, 4092));
      const isTaken = isIntact && sector >= 8 && length > 0 && length <= 1 << 30;
      if (answers.readUInt8(index * 9) !== Number(isTaken))
        expect(answers.readUInt8(index * 9), `${index}`).toBe(isTaken);
      if (!isTaken) continue;
      taken++;
      expect([1, 5].map((at) => answers.readUInt32LE(index * 9 + at))).toEqual([sector, length]);
    }
    expect(taken).toBeGreaterThan(5000);
  });
});
