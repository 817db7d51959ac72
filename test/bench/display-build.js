/**
 * A build of two steps that takes as long as it takes to write so many lines, and what it cost this process, as JSON on
 * descriptor 3. Arguments: terminal or plain, how many lines, how long each, a folder for the cache.
 */
import { writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { targetOf } from '@nodeos/targets';
import { build, Cache, plainProgress, terminalProgress } from '@nodeos/engine';

const [, , kind, lines, length, cache] = process.argv;
const TOOL = `
  const line = 'object.o '.repeat(${Number(length)} / 9) + '\\n';
  let n = 0;
  const turn = () => { if (n++ < ${Number(lines)}) process.stdout.write(line, () => setTimeout(turn, 10)); };
  turn();
`;
const step = (name) => ({
  name,
  target: targetOf('x86_64'),
  recipe: import.meta.url,
  build: (context) => context.run(process.execPath, ['-e', TOOL]),
});
const progress = kind === 'terminal' ? terminalProgress() : plainProgress((text) => process.stderr.write(text));
const before = process.cpuUsage();
const started = performance.now();
await build([step('one'), step('two')], { cache: new Cache(cache), progress, jobs: 2 });
await progress.close();
const { user, system } = process.cpuUsage(before);
writeSync(3, JSON.stringify({ processor: (user + system) / 1e6, wall: (performance.now() - started) / 1e3 }));
