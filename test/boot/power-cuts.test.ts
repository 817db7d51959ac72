/** The power is cut a few times while a disk's data grow, and while they are written. test/long has more. */
import { describe, it } from 'vitest';
import { LONG } from '../support.js';
import { cutGrowth, cutRecords, useLargeDisk } from './cut-disk.js';
import { replayGrowth, replayRecords } from './cut-replay.js';

const POINTS = 2;
/** Of one recorded run. */
const REPLAYED = 20;

describe('a power cut', { timeout: LONG }, () => {
  const { folder, image } = useLargeDisk();

  it('of a first boot leaves a disk that boots, grows, and is whole', () =>
    cutGrowth({ image: image(), folder, points: POINTS, seed: 3 }));

  it('while data are written leaves all that was synced', () =>
    cutRecords({ image: image(), folder, points: POINTS, seed: 4 }));

  it(`at ${REPLAYED} points of one first boot leaves data that are whole`, () =>
    replayGrowth({ image: image(), folder, points: REPLAYED, seed: 5, bootEvery: REPLAYED }));

  it(`at ${REPLAYED} points of one run that writes leaves all that was synced`, () =>
    replayRecords({ image: image(), folder, points: REPLAYED, seed: 6 }));
});
