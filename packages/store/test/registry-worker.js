// Pushes to a registry, or collects there, over and over, until it is killed. The number of each image is in its recipe.
import { writeSync } from 'node:fs';
import { memory } from '@nodeos/block';
import { collectPacks, imageStore, memoryPlace, openRepository, openWritableStore, push } from '../dist/index.js';
import { BLOCK, imageNumber } from './numbered.js';

const [job, url, seed] = process.argv.slice(2);
const TAGS = ['t0', 't1', 't2', 't3'];
const pushed = async (store, n) => {
  const tag = TAGS[n % TAGS.length];
  await push(await imageNumber(memory, n), store, tag, { blockSize: BLOCK, filesystem: String(n), bases: TAGS });
  return tag;
};
// Everything is loaded before the first moment at which it may be killed.
await pushed(imageStore(memoryPlace()), 0);
await openRepository(url).tags(new AbortController().signal);
writeSync(1, 'ready\n');
for (let n = Number(seed); ; n++) {
  if (job === 'push') {
    const line = await pushed(openWritableStore(url), n).catch((error) => {
      if (error.constructor.name !== 'TagChangedError') throw error;
    });
    if (line) writeSync(1, `${line} ${n}\n`);
  } else {
    const { updated, deleted } = await collectPacks(openRepository(url), { grace: 1500, share: 0.9 });
    writeSync(1, `collected ${updated} ${deleted}\n`);
  }
}
