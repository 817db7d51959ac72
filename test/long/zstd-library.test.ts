/** The library of zstd 1.5.7, which Debian's next suite has: the bytes of the format, in less time. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { fromNextSuite } from './next-suite.js';

const run = promisify(execFile);

/** Compresses blocks of this file's Node.js by both encoders. Prints how many differ, and seconds of the processor. */
const SCRIPT = `
import { readFileSync } from 'node:fs';
const { zstdEncoder } = await import(process.argv[1]);
const bytes = readFileSync(process.execPath).subarray(0, 48 << 20);
const result = { blocks: 0, different: 0 };
for (const level of [1, 3]) {
  const encoders = { library: await zstdEncoder(level, 'library'), wasm: await zstdEncoder(level, 'wasm') };
  for (const length of [512 << 10, 256 << 10, 100_003]) {
    for (let at = 0; at < bytes.length; at += length) {
      const made = Object.entries(encoders).map(([name, encode]) => {
        const before = process.cpuUsage().user;
        const frame = encode(bytes.subarray(at, at + length));
        result[name] = (result[name] ?? 0) + (process.cpuUsage().user - before) / 1e6;
        return Buffer.from(frame);
      });
      result.blocks++;
      if (!made[0].equals(made[1])) result.different++;
    }
  }
}
console.log(JSON.stringify(result));
`;

test('the library of the next Debian is taken, gives the bytes of the format, and is faster', async () => {
  // By itself: with it comes a C library that is too new for the rest of this host.
  const folder = await fromNextSuite('zstd', 'libzstd1', async (fresh) => {
    const libraries = join(fresh, 'root/usr/lib');
    const [path = ''] = (await readdir(libraries, { recursive: true })).filter((one) => one.endsWith('/libzstd.so.1'));
    await mkdir(join(fresh, 'lib'));
    await copyFile(join(libraries, path), join(fresh, 'lib/libzstd.so.1'));
  });
  const module = join(import.meta.dirname, '../../packages/store/dist/chunk/zstd.js');
  const env = { ...process.env, LD_LIBRARY_PATH: join(folder, 'lib') };
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', SCRIPT, module], { env });
  process.stdout.write(stdout);
  const result = JSON.parse(stdout) as Record<'blocks' | 'different' | 'library' | 'wasm', number>;
  expect(result.blocks).toBeGreaterThan(1000);
  expect(result.different).toBe(0);
  expect(result.library).toBeLessThan(result.wasm);
});
