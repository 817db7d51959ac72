/** The power is cut a few times while a disk's data grow, and while they are written. test/long has more. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { LONG } from '../support.js';
import { cutGrowth, cutRecords, largeDisk } from './cut-disk.js';

const POINTS = 2;

describe('a power cut', { timeout: LONG }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-cuts-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let image = '';
  beforeAll(async () => {
    image = await largeDisk(folder);
  }, LONG);

  it('of a first boot leaves a disk that boots, grows, and is whole', () =>
    cutGrowth({ image, folder, points: POINTS, seed: 3 }));

  it('while data are written leaves all that was synced', () => cutRecords({ image, folder, points: POINTS, seed: 4 }));
});
