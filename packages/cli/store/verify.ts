/** nodeos store verify: reads all chunks of images. */
import { UsageError, visibleJson } from '@nodeos/base';
import { findImage, findRecipe, openStore, parseReference, verify, type Verified } from '@nodeos/store';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { JSON_PROGRESS } from '../json-options.js';
import { meterFor } from '../nbd/progress.js';
import { KEY_OPTION, keysOf } from './options.js';

export const verifyCommand: Command = {
  name: 'store verify',
  summary: 'Reads all chunks of images, and says which are missing or wrong. With a key, it opens them too.',
  operands: 'STORE:NAME…',
  options: { key: KEY_OPTION, json: JSON_PROGRESS },
  examples: [
    ['nodeos store verify /srv/store:debian-12', 'exit status 1 if a chunk is missing or wrong'],
    ['nodeos store verify s3://bucket/store:debian-12 --key tenant.key', 'and whether they open'],
  ],
  async run(args, io) {
    if (args.operands.length === 0) throw new UsageError('nodeos store verify: STORE:NAME is missing');
    let status = 0;
    for (const text of args.operands) {
      const found = await verifyOne(text, args, io);
      report(text, found, args, io);
      if (found.missing.length + found.invalid.length > 0) status = 1;
    }
    return status;
  },
};

async function verifyOne(text: string, args: Parsed, io: Io): Promise<Verified> {
  const { store: place, name } = parseReference(text);
  const keys = await keysOf(args, io);
  const store = openStore(place);
  const meter = meterFor('verified', args, io);
  try {
    const image = keys ? await findImage(store, name, keys.tenant) : undefined;
    const { recipe } = image ?? (await findRecipe(store, name));
    const progress = (done: number, size: number): void => meter.update(done, size);
    return await verify(recipe, store.chunks, { keys: image?.keys, progress, signal: io.signal });
  } finally {
    meter.close();
    await store.close();
  }
}

/** Ids that are listed for a person. */
const MOST = 10;

function report(text: string, { chunks, missing, invalid }: Verified, args: Parsed, io: Io): void {
  if (args.flag('json')) {
    io.stdout.write(visibleJson({ event: 'done', name: text, chunks, missing, invalid }) + '\n');
    return;
  }
  const problems = [
    ...missing.map((id) => `${text}: missing: ${id}`),
    ...invalid.map((id) => `${text}: not what its id says: ${id}`),
  ];
  for (const line of problems.slice(0, MOST)) io.stdout.write(`${line}\n`);
  if (problems.length > MOST) io.stdout.write(`${text}: ${problems.length - MOST} more\n`);
  const verdict =
    problems.length === 0 ? 'all are there' : `${missing.length} are missing, ${invalid.length} are wrong`;
  printMessage(io, `${text}: ${chunks} chunks: ${verdict}`);
}
