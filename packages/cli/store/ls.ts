/** nodeos store ls: the images of a store. */
import { formatSize, UsageError, visible, visibleJson } from '@nodeos/base';
import { findRecipe, openStore, parseReference, shareOfAll, type ImageStore } from '@nodeos/store';
import type { Command, Io } from '../command.js';
import { jsonLineForEach } from '../json-options.js';
import { paddedSize } from '../cache/common.js';

export const lsCommand: Command = {
  name: 'store ls',
  summary: 'Lists the images of a store. It reads no chunks and needs no key.',
  operands: 'STORE|STORE:NAME…',
  options: { json: jsonLineForEach('image') },
  examples: [
    ['nodeos store ls /srv/store', 'all images: size, stored bytes, chunks'],
    ['nodeos store ls https://cdn.example/store:debian-12', 'one, of a store that cannot list'],
  ],
  async run(args, io) {
    if (args.operands.length === 0) throw new UsageError('nodeos store ls: STORE is missing', { hint: 'see --help' });
    for (const text of args.operands) await list(text, args.flag('json'), io);
    return 0;
  },
};

async function list(text: string, isJson: boolean, io: Io): Promise<void> {
  const named = nameIn(text);
  const store = openStore(named?.store ?? text);
  try {
    const names = named ? [named.name] : await store.names();
    for (const name of names) io.stdout.write(`${await lineOf(store, name, isJson)}\n`);
  } finally {
    await store.close();
  }
}

/** A store may have a colon of its own, in its protocol or port. */
function nameIn(text: string): ReturnType<typeof parseReference> | undefined {
  const after = text.slice(text.lastIndexOf('/') + 1);
  const isPort = /^[a-z0-9+.-]+:\/\/[^/]*:\d+$/i.test(text);
  return after.includes(':') && !isPort ? parseReference(text) : undefined;
}

async function lineOf(store: ImageStore, name: string, isJson: boolean): Promise<string> {
  const { recipe, id } = await findRecipe(store, name);
  const { size, blockSize, codec, cipher, filesystem } = recipe;
  const { chunks, bytes } = shareOfAll(recipe);
  if (isJson) return visibleJson({ name, id, size, blockSize, codec, cipher, filesystem, chunks, storedBytes: bytes });
  const kind = [filesystem, codec, cipher === 'none' ? '' : 'encrypted'].filter((word) => word !== '').join(', ');
  return `${id.slice(0, 12)}  ${paddedSize(size)}  ${paddedSize(bytes)} stored  ${chunks} chunks of ${formatSize(blockSize)}  ${visible(`${name} (${kind})`)}`;
}
