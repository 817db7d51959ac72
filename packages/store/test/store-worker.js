// Does one thing to a store, over and over, until it is killed: push, gc or commit. Each image's name says its contents.
import { Buffer } from 'node:buffer';
import { writeSync } from 'node:fs';
import {
  collect,
  commit,
  findImage,
  folderPlace,
  imageStore,
  memoryPlace,
  openImage,
  push,
  readKeys,
} from '../dist/index.js';
import { memory, overlay, readOnly } from '@nodeos/block';
import { rmSync } from 'node:fs';
import { BLOCK, imageNumber } from './numbered.js';

const [job, folder, keyPath, seed] = process.argv.slice(2);
const keys = await readKeys(keyPath);
const place = folderPlace(folder);
const store = imageStore(place);
// Everything is loaded before the first moment at which it may be killed.
await push(await imageNumber(memory, 0), imageStore(memoryPlace()), 'warm', { keys, blockSize: BLOCK });
writeSync(1, 'ready\n');
for (let n = Number(seed); ; n++) {
  if (job === 'push') await push(await imageNumber(memory, n), store, `n${n}`, { keys, blockSize: BLOCK });
  if (job === 'gc') {
    for (const name of (await store.names()).filter((one) => one !== 'base').slice(0, -4)) await store.remove(name);
    await collect(place, { grace: 2000 });
  }
  if (job === 'commit') {
    // Number n+1 is number n with one block changed.
    const image = await findImage(store, 'base', keys.tenant);
    const path = `${folder}/../changes-${process.pid}`;
    rmSync(path, { force: true });
    rmSync(`${path}.lock`, { force: true });
    const over = await overlay(readOnly(await openImage(image, store.chunks)), path, { identity: image.id });
    await over.write(Buffer.alloc(100, n & 255), 3 * BLOCK);
    await over.flush();
    await over.close();
    const device = await openImage(image, store.chunks);
    await commit({ image, device, path }, store, `c${n}`, { keys });
  }
  writeSync(1, `${n}\n`);
}
