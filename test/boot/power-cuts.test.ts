/** The power is cut a few times while a disk's data grow, and while they are written. test/long has more. */
import { describe, it } from 'vitest';
import { LONG } from '../support.js';
import { cutGrowth, cutRecords, useLargeDisk } from './cut-disk.js';

const POINTS = 2;

describe('a power cut', { timeout: LONG }, () => {
  const { folder, image } = useLargeDisk();

  it('of a first boot leaves a disk that boots, grows, and is whole', () =>
    cutGrowth({ image: image(), folder, points: POINTS, seed: 3 }));

  it('while data are written leaves all that was synced', () =>
    cutRecords({ image: image(), folder, points: POINTS, seed: 4 }));
});
