/** The formats: what is written is read, and nothing else is. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeRecipe, encodeRecipe, makeKeys, readKeys, recipeId, type Recipe } from '@nodeos/store';
import { unpackedBound } from '../chunk/frame.js';
import { idOf, opener, sealer, trimmedLength } from '../chunk/seal.js';
import { ENCODER_NAMES, sample, SAMPLE_SUMS, zstdDecoder, zstdEncoder, type DecoderName } from '../chunk/zstd.js';
import { zstdLibrary } from '../chunk/zstd-library.js';
import { sameAsWasm } from './same-bytes.js';
import { decodeKeys, encodeKeys } from '../recipe/key-table.js';
import { decodeManifest, encodeManifest, encodeRemoved } from '../registry/manifest.js';
import { decodeTagged } from '../registry/tag.js';
import { decodePackIndex, encodePackIndex } from '../registry/pack-index.js';
import { decodeSmr } from '../smr/recipe.js';
import { decodeStartList, encodeStartList } from '../recipe/start-list.js';
import { contentsOf, flipped, imageOf, temporary } from './helpers.js';

const BLOCK = 64 << 10;

const recipes = fc
  .uniqueArray(fc.nat(1000), { maxLength: 50 })
  .map((indexes) => indexes.sort((a, b) => a - b))
  .chain((indexes) =>
    fc.record<Recipe>({
      size: fc.constant(1001 * BLOCK),
      blockSize: fc.constant(BLOCK),
      codec: fc.constantFrom('zstd', 'none'),
      cipher: fc.constantFrom('aes-256-ctr', 'none'),
      filesystem: fc.constantFrom('erofs', ''),
      records: fc.tuple(
        ...indexes.map((index) =>
          fc.record({
            index: fc.constant(index),
            rawLength: fc.integer({ min: 1, max: BLOCK }),
            storedLength: fc.integer({ min: 1, max: BLOCK }),
            id: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex')),
          }),
        ),
      ),
    }),
  );

describe('recipes', () => {
  test('a recipe is read as it was written', () => {
    fc.assert(
      fc.property(recipes, (recipe) => {
        expect(decodeRecipe(encodeRecipe(recipe), 'r')).toEqual(recipe);
      }),
    );
  });

  test('a recipe with other bytes is refused, or keeps the rules', () => {
    fc.assert(
      fc.property(recipes, fc.nat(), fc.integer({ min: 1, max: 255 }), (recipe, at, flip) => {
        try {
          encodeRecipe(decodeRecipe(flipped(encodeRecipe(recipe), at, flip), 'r'));
        } catch (error) {
          expect((error as Error).name).toBe('NodeosError');
        }
      }),
    );
  });

  test.each([
    ['cut off', (bytes: Buffer) => bytes.subarray(0, -1)],
    ['longer', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ['of four thousand million records', (bytes: Buffer) => (bytes.writeUInt32LE(0xffffffff, 12), bytes)],
    ['with a huge description', (bytes: Buffer) => (bytes.writeUInt32LE(0xffffffff, 8), bytes)],
    ['of version 2', (bytes: Buffer) => ((bytes[7] = 2), bytes)],
    ['empty', () => Buffer.alloc(0)],
  ])('a recipe that is %s is refused', (_, change) => {
    const recipe: Recipe = {
      ...{ size: BLOCK, blockSize: BLOCK, codec: 'zstd', cipher: 'none', filesystem: '' },
      records: [{ index: 0, rawLength: 5, storedLength: 9, id: 'ab'.repeat(32) }],
    };
    expect(() => decodeRecipe(change(encodeRecipe(recipe)), 'r')).toThrow(/^r: /);
  });
});

describe('tables of keys', () => {
  const id = idOf(Buffer.from('a recipe'));
  const keys = [randomBytes(32), randomBytes(32)];
  const tenant = randomBytes(32);
  const table = encodeKeys(keys, tenant, id);

  test('opens for the tenant, and has the same bytes each time', () => {
    expect(decodeKeys(table, tenant, { id, count: 2 }, 't')).toEqual(keys);
    expect(encodeKeys(keys, tenant, id)).toEqual(table);
  });

  test('opens neither for another tenant, nor for another recipe, nor if a byte was changed', () => {
    expect(() => decodeKeys(table, randomBytes(32), { id, count: 2 }, 't')).toThrow(/does not open/);
    expect(() => decodeKeys(table, tenant, { id: idOf(table), count: 2 }, 't')).toThrow(/does not open/);
    for (let at = 0; at < table.length; at++) {
      expect(() => decodeKeys(flipped(table, at), tenant, { id, count: 2 }, 't')).toThrow();
    }
  });
});

describe('key files', () => {
  test('only their owner may read them, and none is overwritten', async () => {
    const path = join(await temporary(), 'key');
    const keys = await makeKeys(path);
    expect(await readKeys(path)).toEqual(keys);
    await expect(makeKeys(path)).rejects.toThrow(/EEXIST/);
    await chmod(path, 0o644);
    await expect(readKeys(path)).rejects.toThrow(/others than its owner/);
    expect(await readFile(path, 'utf8')).toMatch(/^tenant \S{44}\nsalt \S{44}\n$/);
  });
});

describe('chunks', () => {
  test('a block comes back, and has the same chunk for the same salt only', async () => {
    const [salt, other] = [randomBytes(32), randomBytes(32)];
    const [seal, sealOther, open] = [
      await sealer('zstd', salt),
      await sealer('zstd', other),
      await opener('zstd', BLOCK),
    ];
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 3000 }), fc.nat(3000), async (bytes, zeros) => {
        const block = Buffer.concat([bytes, Buffer.alloc(zeros)]);
        const sealed = await seal(block);
        if (!sealed) return expect(block.every((byte) => byte === 0)).toBe(true);
        const again = await seal(block.subarray(0, sealed.rawLength));
        expect(again?.id).toBe(sealed.id);
        expect((await sealOther(block))?.id).not.toBe(sealed.id);
        const back = await open(sealed.stored, sealed.rawLength, sealed.key);
        expect(Buffer.concat([back, Buffer.alloc(block.length - back.length)]).equals(block)).toBe(true);
      }),
    );
  });

  test('zeros at the end are found, wherever the block lies in memory', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(40), fc.nat(15), (bytes, zeros, shift) => {
        const block = Buffer.alloc(shift + bytes.length + zeros).subarray(shift);
        block.set(bytes);
        let expected = block.length;
        while (expected > 0 && block[expected - 1] === 0) expected--;
        expect(trimmedLength(block)).toBe(expected);
      }),
    );
  });

  test('a chunk of the wrong length is an error, and one without a codec is bounded too', async () => {
    const open = await opener('none', BLOCK);
    await expect(open(Buffer.alloc(5), 6, undefined)).rejects.toThrow(/5 bytes, where its recipe says 6/);
  });
});

describe('zstd', () => {
  /** The bytes are the format: a change of them would store every chunk once more. */
  test('the encoder gives the bytes that it gave when the format was made', async () => {
    const bytes = await contentsOf(await imageOf(1 << 20, 3));
    const encode = await zstdEncoder(3, 'wasm');
    expect(idOf(await encode(bytes.subarray(0, 512 << 10)))).toBe(
      'f55a599e2102662a06680b777f8fa8ca46e1ff0c80d1dd9f037a61cae0aed301',
    );
  });

  test.each(ENCODER_NAMES)('the encoder of %s gives the same bytes as WebAssembly, or is not taken', async (name) => {
    const found = await zstdEncoder(3, name).catch((error: unknown) => String(error));
    if (typeof found === 'string') {
      expect(found).toMatch(`no zstd 1.5.7: ${name}`);
      expect([process.versions.zstd, (await zstdLibrary())?.version]).not.toEqual(['1.5.7', 10507]);
      return;
    }
    await sameAsWasm(found);
  });

  const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

  test('the sample that an encoder has to compress tells versions apart', async () => {
    for (const level of [1, 3] as const) {
      const frame = await (await zstdEncoder(level, 'wasm'))(sample());
      expect(sumOf(frame)).toBe(SAMPLE_SUMS[level]);
    }
    // An older version: of a package that is here for unpacking.
    const older = await (await import('@mongodb-js/zstd')).compress(Buffer.from(sample()), 3);
    expect(sumOf(older)).not.toBe(SAMPLE_SUMS[3]);
  });

  test('zstd itself unpacks our frames, and all decoders unpack those of zstd', async () => {
    const bytes = (await contentsOf(await imageOf(BLOCK, 5))).subarray(0, BLOCK - 3);
    const ours = await (await zstdEncoder(3))(bytes);
    expect(execFileSync('zstd', ['-dc'], { input: ours }).equals(bytes)).toBe(true);
    for (const name of ['wasm', 'native', 'node'] as const satisfies DecoderName[]) {
      const decode = await zstdDecoder(BLOCK, name);
      for (const flags of [[], ['--no-content-size'], ['-19'], ['--no-check']]) {
        const frame = execFileSync('zstd', ['-c', ...flags], { input: bytes });
        expect(Buffer.from(await decode(frame)).equals(bytes)).toBe(true);
      }
    }
  });

  test('what unpacks to too much is refused before it is unpacked', async () => {
    const bomb = execFileSync('zstd', ['-c'], { input: Buffer.alloc(64 << 20) });
    expect(unpackedBound(bomb)).toBeGreaterThanOrEqual(64 << 20);
    for (const name of ['wasm', 'native'] as const)
      await expect((await zstdDecoder(BLOCK, name))(bomb)).rejects.toThrow(/are the most/);
  });

  test('a damaged frame is refused or unpacked, and nothing else happens', async () => {
    const frame = Buffer.from(await (await zstdEncoder(3))(await contentsOf(await imageOf(BLOCK, 6))));
    for (const name of ['wasm', 'native'] as const) {
      const decode = await zstdDecoder(BLOCK, name);
      await fc.assert(
        fc.asyncProperty(fc.nat(frame.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
          await decode(flipped(frame, at, flip)).then(
            (bytes) => expect(bytes.length).toBeLessThanOrEqual(BLOCK),
            (error: unknown) => expect((error as { code: string }).code).toBe('EINVAL'),
          );
        }),
      );
      await expect(decode(Buffer.concat([frame, frame]))).rejects.toThrow(/ends elsewhere/);
      await expect(decode(frame.subarray(0, -1))).rejects.toThrow(/no frame/);
    }
  });
});

test('a start list has the blocks that the recipe has, each once', () => {
  const records = [1, 5, 9].map((index) => ({ index }));
  expect(decodeStartList(encodeStartList([9, 1, 7, 9, 5]), records)).toEqual([9, 1, 5]);
  expect(decodeStartList(Buffer.from('something else'), records)).toEqual([]);
  expect(recipeId(Buffer.alloc(0))).toHaveLength(64);
});

describe('bytes from others', () => {
  const refuses = (read: (bytes: Buffer) => unknown) => (bytes: Uint8Array) => {
    try {
      read(Buffer.from(bytes));
    } catch (error) {
      expect((error as Error).name).toBe('NodeosError');
    }
  };
  const blob = { digest: `sha256:${'ab'.repeat(32)}`, size: 100 };
  const layers = {
    ...{ recipe: blob, index: blob, keys: new Map([['tenant', blob]]), start: blob, packs: [blob] },
    ...{ replaces: blob.digest, created: 0 },
  };
  const recipe: Recipe = {
    ...{ size: BLOCK, blockSize: BLOCK, codec: 'zstd', cipher: 'none', filesystem: '' },
    records: [{ index: 0, rawLength: 5, storedLength: 9, id: 'ab'.repeat(32) }],
  };

  test.each<[string, Buffer, (bytes: Buffer) => unknown]>([
    ['a manifest', encodeManifest(layers, 'm'), (bytes) => decodeManifest(bytes, 'm')],
    ['the manifest of a removed image', encodeRemoved(layers), (bytes) => decodeTagged(bytes, 'm')],
    [
      'an index of packs',
      encodePackIndex(recipe, [blob], new Map([['ab'.repeat(32), { pack: blob, offset: 91, length: 9 }]])),
      (bytes) => decodePackIndex(bytes, recipe, [blob], 'm'),
    ],
    ['a recipe of stream-my-root', Buffer.from(`7 ${'ab'.repeat(32)}\n`), (bytes) => decodeSmr(bytes.toString(), 'm')],
    ['a start list', encodeStartList([0]), (bytes) => decodeStartList(bytes, recipe.records)],
  ])('%s that was changed anywhere is read or refused, and so is anything else', (_, right, read) => {
    read(right);
    const check = refuses(read);
    for (let at = 0; at < right.length; at++) check(flipped(right, at, 1 + (at % 255)));
    for (let at = 0; at < right.length; at++) check(right.subarray(0, at));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check));
    fc.assert(fc.property(fc.json(), (text) => check(Buffer.from(text))));
    fc.assert(fc.property(fc.json(), (text) => check(Buffer.from(`{"layers":[${text}]}`))));
  });
});
