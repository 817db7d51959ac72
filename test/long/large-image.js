// Makes one large image in a process of its own, and says what that took: large-image.js KIND FOLDER IMAGE
import { stat } from 'node:fs/promises';
import { regions, writeImage } from '@nodeos/block';
import { erofs, fat, gpt, GPT_TYPES, iso, writeErofs } from '@nodeos/fs';
import { fromDirectory } from '@nodeos/tree';

const MIB = 2 ** 20;
const ID = '01234567-89ab-8cde-8f01-23456789abcd';

/** @param {{ regions: readonly object[], size: number }} image @param {string} path */
async function write({ regions: list, size }, path) {
  const device = regions(list, { size });
  await writeImage(device, path);
  await device.close();
}

/** @type {Record<string, (folder: string, path: string) => Promise<unknown>>} */
const KINDS = {
  erofs: (folder, path) => writeErofs(fromDirectory(folder), path),
  // The largest volume, whatever is in it.
  async fat(folder, path) {
    const size = 0xffffffff * 512;
    await write(await fat(fromDirectory(folder), { size, label: 'LARGE' }), path);
  },
  async iso(folder, path) {
    await write(await iso(fromDirectory(folder), { label: 'LARGE' }), path);
  },
  async disk(folder, path) {
    const size = 16 * 2 ** 30;
    const image = await erofs(fromDirectory(folder));
    const partition = { type: GPT_TYPES.linux, id: ID, name: 'large', offset: MIB, length: size - 2 * MIB };
    const moved = image.regions.map((region) => ({ ...region, offset: region.offset + MIB }));
    await write(
      { regions: [...gpt({ size, id: ID, firstUsable: MIB, partitions: [partition] }), ...moved], size },
      path,
    );
  },
};

const [kind = '', folder = '', path = ''] = process.argv.slice(2);
await KINDS[kind]?.(folder, path);
console.log(JSON.stringify({ size: (await stat(path)).size }));
