/** The fuzzers of the unit and system tests, with a million inputs each. */
import { describe, expect, it } from 'vitest';
import { runOwnTests } from './own-tests.js';

const MILLION = '1000000';

/** What it is; its project; its file; the variable that says how many inputs. */
const FUZZERS: readonly (readonly [name: string, project: string, file: string, variable: string])[] = [
  ['tar archives', 'unit', 'packages/tree/test/tar-reader.test.ts', 'FUZZ_INPUTS'],
  ['FAT', 'unit', 'packages/fs/test/fat-fuzz.test.ts', 'FUZZ_INPUTS'],
  ['EROFS', 'unit', 'packages/fs/test/erofs-reader.test.ts', 'FUZZ_INPUTS'],
  ['ISO 9660', 'unit', 'packages/fs/test/iso-reader.test.ts', 'FUZZ_INPUTS'],
  ['GPT', 'unit', 'packages/block/test/gpt-fuzz.test.ts', 'FUZZ_INPUTS'],
  ['sectors of slots', 'unit', 'bootfs/test/slots.test.ts', 'FUZZ_INPUTS'],
  ['TLS handshakes', 'system', 'test/stream/handshake.test.ts', 'NODEOS_HANDSHAKES'],
];

describe('a million damaged inputs', () => {
  it.each(FUZZERS)('of %s do no harm', async (_, project, file, variable) => {
    // Their own limits of time are for few inputs.
    const args = ['--project', project, '--testTimeout', '3600000', file];
    expect(await runOwnTests(args, { env: { [variable]: MILLION } })).toEqual({ files: 1, failed: [] });
  });
});
