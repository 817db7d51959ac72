import { getEventListeners } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Cache, remove } from '../cache.js';
import { build, type Built } from '../engine.js';
import { InterruptedError } from '@nodeos/base';
import { planOf } from '../plan.js';
import { silent } from '../progress.js';
import type { Step } from '../step.js';
import { isRunning, namesIn, pathsIn, recorder, rejectionOf, stepOf, tempDir, until } from './helpers.js';

const write = (name: string, text: string, rest: Partial<Step> = {}): Step =>
  stepOf(name, (ctx) => writeFile(join(ctx.dir, 'out'), text), { parameters: { text }, ...rest });
const reading = (name: string, input: Step): Step =>
  stepOf(
    name,
    async (ctx) =>
      writeFile(join(ctx.dir, 'out'), `${name} of ${await readFile(join(ctx.input('in'), 'out'), 'utf8')}`),
    { inputs: { in: input } },
  );
const textOf = (built: Built | undefined): string => readFileSync(join(built?.output ?? '', 'out'), 'utf8');
const finished = (cache: Cache): string[] => namesIn(join(cache.root, 'steps'));

/** A step that runs a program until it is killed, and writes the process ids to a file. */
const endless = (name: string, pidFile: string): Step =>
  stepOf(name, async (ctx) => {
    await ctx.run('sh', ['-c', 'sleep 1000 & echo "$$ $!" > "$0.new"; mv "$0.new" "$0"; wait', pidFile]);
  });
const pidsIn = (file: string): number[] => readFileSync(file, 'utf8').trim().split(' ').map(Number);

describe('build', () => {
  it('returns the results in the order wanted and uses the cache the second time', async () => {
    const cache = new Cache(tempDir());
    const a = write('a', 'A');
    const b = reading('b', a);
    const { steps: first } = await build([b, a], { cache, progress: silent, jobs: 2 });
    expect(first.map(({ step, cached }) => [step.name, cached])).toEqual([
      ['b', false],
      ['a', false],
    ]);
    expect(first.map(textOf)).toEqual(['b of A', 'A']);
    const progress = recorder();
    const { steps: second } = await build([b, a], { cache, progress, jobs: 2 });
    expect(second.map(({ cached, key }) => [cached, key])).toEqual(first.map(({ key }) => [true, key]));
    expect(progress.events.map(({ type }) => type)).toEqual(['plan']);
    expect(namesIn(join(cache.root, 'tmp'))).toEqual([]);
    expect(namesIn(join(cache.root, 'locks'))).toEqual([]);
  });

  it('runs independent steps at the same time', async () => {
    const dir = tempDir();
    // Each step waits until the other has started, so they can only finish if they run at the same time.
    const meeting = (name: string, other: string): Step =>
      stepOf(name, async () => {
        writeFileSync(join(dir, name), '');
        await until(() => existsSync(join(dir, other)), other);
      });
    const steps = [meeting('a', 'b'), meeting('b', 'a')];
    expect(
      (await build(steps, { cache: new Cache(join(dir, 'cache')), progress: silent, jobs: 2 })).steps,
    ).toHaveLength(2);
  });

  it('limits the number of steps that run at the same time', async () => {
    let running = 0;
    let most = 0;
    const steps = Array.from({ length: 5 }, (_, index) =>
      stepOf(`s${index}`, async (ctx) => {
        most = Math.max(most, ++running);
        await ctx.run('true', []);
        running--;
      }),
    );
    await build(steps, { cache: new Cache(tempDir()), progress: silent, jobs: 1 });
    expect(most).toBe(1);
  });

  it('builds inputs before the steps that use them, each once', async () => {
    const order: string[] = [];
    const noted = (name: string, inputs: Record<string, Step>): Step =>
      stepOf(
        name,
        (ctx) => {
          for (const input of Object.keys(inputs)) expect(existsSync(ctx.input(input))).toBe(true);
          order.push(name);
          return Promise.resolve();
        },
        { inputs },
      );
    const base = noted('base', {});
    const left = noted('left', { base });
    const right = noted('right', { base });
    await build([noted('top', { left, right })], { cache: new Cache(tempDir()), progress: silent, jobs: 4 });
    expect(order).toHaveLength(4);
    expect([order[0], order[3]]).toEqual(['base', 'top']);
  });

  it('does not need the inputs of a cached step', async () => {
    const cache = new Cache(tempDir());
    const a = write('a', 'A');
    const b = reading('b', a);
    await build([b], { cache, progress: silent, jobs: 1 });
    await remove(join(cache.root, 'steps', 'a'));
    const [again] = (await build([b], { cache, progress: silent, jobs: 1 })).steps;
    expect(again?.cached).toBe(true);
    expect(finished(cache)).toEqual(['b']);
    expect((await planOf(cache, [b, a])).map(({ step, state }) => [step.name, state])).toEqual([
      ['b', 'cached'],
      ['a', 'build'],
    ]);
  });

  it('builds two descriptions of the same output once', async () => {
    const cache = new Cache(tempDir());
    let times = 0;
    const twin = (): Step =>
      stepOf('twin', async (ctx) => {
        times++;
        await writeFile(join(ctx.dir, 'out'), 'twin');
      });
    const [one, two] = [twin(), twin()];
    const { steps: built } = await build([one, two, reading('user', twin())], { cache, progress: silent, jobs: 4 });
    expect(times).toBe(1);
    expect(built.map(textOf)).toEqual(['twin', 'twin', 'user of twin']);
    expect([built[0]?.step, built[1]?.step]).toEqual([one, two]);
    expect((await build([two, one], { cache, progress: silent, jobs: 1 })).steps.map(({ cached }) => cached)).toEqual([
      true,
      true,
    ]);
  });

  it('says why a step is built', async () => {
    const cache = new Cache(tempDir());
    expect((await planOf(cache, [write('a', '1')]))[0]?.reasons).toEqual(['it is not in the cache']);
    await build([write('a', '1')], { cache, progress: silent, jobs: 1 });
    expect((await planOf(cache, [write('a', '2')]))[0]?.reasons).toEqual(['parameter text changed from "1" to "2"']);
  });

  it('rejects circular steps and names that are not file names', async () => {
    const cache = new Cache(tempDir());
    const inputs: Record<string, Step> = {};
    const a = stepOf('a', () => Promise.resolve(), { inputs });
    inputs['b'] = stepOf('b', () => Promise.resolve(), { inputs: { a } });
    await expect(planOf(cache, [a])).rejects.toThrow('steps depend on themselves: a → b → a');
    await expect(planOf(cache, [write('../a', '')])).rejects.toThrow('step name "../a"');
  });

  it('explains a request for something that the step does not have', async () => {
    const options = { cache: new Cache(tempDir()), progress: silent, jobs: 1 };
    for (const ask of ['input', 'file', 'fetch'] as const) {
      const step = stepOf('asking', async (ctx) => {
        await ctx[ask]('x');
      });
      await expect(build([step], options)).rejects.toThrow(/asking has no (input|file|source) called x/);
    }
  });

  it('gives the step everything that it declares', async () => {
    const dir = tempDir();
    await writeFile(join(dir, 'given'), 'given');
    let work = '';
    const step = stepOf(
      'promises',
      async (ctx) => {
        work = ctx.work;
        expect([namesIn(ctx.dir), namesIn(ctx.work), ctx.jobs]).toEqual([[], [], 3]);
        expect(readFileSync(ctx.file('given'), 'utf8')).toBe('given');
        expect((await ctx.run('pwd', [])).stdout.trim()).toBe(ctx.work);
        ctx.progress('half');
        await writeFile(join(ctx.work, 'scratch'), '');
        await symlink('nowhere', join(ctx.dir, 'link'));
      },
      { files: { given: join(dir, 'given') } },
    );
    const progress = recorder();
    const cache = new Cache(join(dir, 'cache'));
    const [built] = (await build([step], { cache, progress, jobs: 3 })).steps;
    expect(existsSync(work)).toBe(false);
    expect(pathsIn(built?.output ?? '')).toEqual(['link']);
    expect(namesIn(join(built?.output ?? '', '..'))).toEqual(['manifest.json', 'output']);
    expect(progress.events.map((event) => (event.type === 'output' ? event.line : event.type))).toEqual([
      'plan',
      'start',
      work,
      'half',
      'done',
    ]);
  });
});

describe('a step that fails', () => {
  it('reports its command, exit status, last lines and log, and leaves nothing behind', async () => {
    const cache = new Cache(tempDir());
    const step = stepOf('failing', async (ctx) => {
      await writeFile(join(ctx.dir, 'half'), 'half');
      await ctx.run('sh', ['-c', 'seq 1 100; echo "no luck" >&2; exit 7']);
    });
    const error = await rejectionOf(build([step], { cache, progress: silent, jobs: 1 }));
    const { message, lines, log } = error;
    expect(message).toBe(`failing: sh -c 'seq 1 100; echo "no luck" >&2; exit 7': exit status 7`);
    expect(lines).toHaveLength(20);
    expect(lines).toContain('100');
    expect(lines).toContain('no luck');
    expect(readFileSync(log ?? '', 'utf8')).toMatch(/^\$ sh -c 'seq.*\n1\n2\n/);
    expect(finished(cache)).toEqual([]);
    expect(namesIn(join(cache.root, 'tmp'))).toEqual([]);
    expect(namesIn(join(cache.root, 'locks'))).toEqual([]);
  });

  it('may throw at once and shows its stack trace', async () => {
    const cache = new Cache(tempDir());
    const step = stepOf('throwing', () => {
      throw new TypeError('a bug');
    });
    const error = await rejectionOf(build([step], { cache, progress: silent, jobs: 1 }));
    expect(error.message).toMatch(/^throwing: TypeError: a bug\n.*engine\.test\.ts/);
    expect(namesIn(join(cache.root, 'tmp'))).toEqual([]);
  });

  it('ends the other steps with their processes, and dependent steps never start', async () => {
    const dir = tempDir();
    const cache = new Cache(join(dir, 'cache'));
    const pidFile = join(dir, 'pid');
    const failing = stepOf('failing', async (ctx) => {
      await until(() => existsSync(pidFile), 'the other step');
      await ctx.run('false', []);
    });
    const progress = recorder();
    const steps = [endless('endless', pidFile), failing, reading('user', failing)];
    const error = await rejectionOf(build(steps, { cache, progress, jobs: 4 }));
    expect(error.message).toBe('failing: false: exit status 1');
    await until(() => !pidsIn(pidFile).some(isRunning), 'the processes to end');
    expect(finished(cache)).toEqual([]);
    expect(namesIn(join(cache.root, 'tmp'))).toEqual([]);
    expect(progress.events.map((event) => `${event.type} ${'step' in event ? event.step.name : ''}`).sort()).toEqual(
      ['failed failing', 'plan ', 'start endless', 'start failing', 'stopped endless'].sort(),
    );
  });

  it('can be one that leaves a special file in its output', async () => {
    const cache = new Cache(tempDir());
    const step = stepOf('special', async (ctx) => {
      await ctx.run('mkfifo', [join(ctx.dir, 'pipe')]);
    });
    await expect(build([step], { cache, progress: silent, jobs: 1 })).rejects.toThrow('neither a file');
    expect(finished(cache)).toEqual([]);
  });
});

describe('an interrupted build', () => {
  it('ends its processes and leaves nothing behind', async () => {
    const dir = tempDir();
    const cache = new Cache(join(dir, 'cache'));
    const pidFile = join(dir, 'pid');
    const abort = new AbortController();
    const building = build([endless('endless', pidFile)], { cache, progress: silent, jobs: 1, signal: abort.signal });
    building.catch(() => undefined);
    await until(() => existsSync(pidFile), 'the step');
    expect(pidsIn(pidFile).every(isRunning)).toBe(true);
    abort.abort(new InterruptedError('SIGTERM'));
    const error = await rejectionOf(building, InterruptedError);
    expect(error.signal).toBe('SIGTERM');
    await until(() => !pidsIn(pidFile).some(isRunning), 'the processes to end');
    expect(finished(cache)).toEqual([]);
    expect(namesIn(join(cache.root, 'tmp'))).toEqual([]);
    expect(namesIn(join(cache.root, 'locks'))).toEqual([]);
  });

  it('kills a process that ignores SIGTERM', async () => {
    const dir = tempDir();
    const pidFile = join(dir, 'pid');
    const stubborn = stepOf('stubborn', async (ctx) => {
      await ctx.run('sh', [
        '-c',
        `trap '' TERM; echo $$ > "$0.new"; mv "$0.new" "$0"; while :; do sleep 0.1; done`,
        pidFile,
      ]);
    });
    const abort = new AbortController();
    const options = { cache: new Cache(join(dir, 'cache')), progress: silent, jobs: 1, signal: abort.signal };
    const building = build([stubborn], options);
    building.catch(() => undefined);
    await until(() => existsSync(pidFile), 'the step');
    abort.abort(new InterruptedError());
    await expect(building).rejects.toThrow('interrupted by SIGINT');
    expect(pidsIn(pidFile).some(isRunning)).toBe(false);
  });

  it('starts nothing if it is interrupted beforehand', async () => {
    const progress = recorder();
    const signal = AbortSignal.abort(new InterruptedError());
    await expect(build([write('a', '')], { cache: new Cache(tempDir()), progress, jobs: 1, signal })).rejects.toThrow(
      InterruptedError,
    );
    expect(progress.events.map(({ type }) => type)).toEqual(['plan']);
  });
});

it('a build leaves no listeners and causes no listener warning, however many steps run at once', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  onTestFinished(() => void process.off('warning', onWarning));
  const { signal } = new AbortController();
  const steps = Array.from({ length: 16 }, (_, i) =>
    stepOf(`s${i}`, async (ctx) => {
      await ctx.run('sleep', ['0.1']);
    }),
  );
  await build(steps, { cache: new Cache(tempDir()), progress: silent, jobs: 16, signal });
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  expect(warnings).toEqual([]);
});
