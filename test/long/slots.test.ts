/** The code that chooses a slot, with many more random states than the unit tests have. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { comparePairs, compileSlots, hasCompiler } from '../../bootfs/test/slot-program.js';

describe.skipIf(!hasCompiler)(`what the loader for UEFI decides${hasCompiler ? '' : ' (not here: gcc)'}`, () => {
  const root = mkdtempSync(join(tmpdir(), 'nodeos-slots-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('is what the model decides, for a million pairs of copies', () => {
    const program = join(root, 'slots');
    compileSlots(program);
    const seen = comparePairs(program, { pairs: 1_000_000, seed: 11 });
    console.log(seen);
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(10_000);
  });
});
