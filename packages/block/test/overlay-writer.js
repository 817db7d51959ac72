// Writes to an overlay until it is killed. After each flush, a line reports the last write before it.
import { writeSync } from 'node:fs';
import { memory, overlay, readOnly } from '../dist/index.js';
import { SECTOR, SECTORS, writeOf } from './overlay-writes.js';

const [path, start, blockSize] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const device = await overlay(readOnly(memory(SECTORS * SECTOR)), path, { blockSize, identity: 'zeros' });
writeSync(1, 'ready\n');
for (let n = start; ; n++) {
  const { first, count } = writeOf(n);
  await device.write(new Uint8Array(new Uint32Array((count * SECTOR) / 4).fill(n).buffer), first * SECTOR);
  if (n % 7 === 0) {
    await device.flush();
    writeSync(1, `${n}\n`);
  }
}
