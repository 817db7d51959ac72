import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Cache } from '../cache.js';
import { build } from '../engine.js';
import { jsonProgress, plainProgress, silent, type Progress } from '../progress.js';
import { terminalProgress } from '../terminal-progress.js';
import type { Step } from '../step.js';
import { stepOf, tempDir } from './helpers.js';

const good = stepOf('good', async (ctx) => {
  await ctx.run('echo', ['hello']);
});
const fail: Step['build'] = async (ctx) => {
  await ctx.run('false', []);
};
const bad = stepOf('bad', fail, { inputs: { good } });
const never = stepOf('never', () => Promise.resolve(), { inputs: { bad } });

async function watched(steps: Step[], progressTo: (write: (text: string) => void) => Progress): Promise<string> {
  let text = '';
  const progress = progressTo((more) => void (text += more));
  await build(steps, { cache: new Cache(tempDir()), progress, jobs: 1 }).catch(() => undefined);
  await progress.close();
  return text;
}

describe('plain progress', () => {
  it('prints a line at the start and the end of each step', async () => {
    const text = await watched([never], plainProgress);
    expect(text.replace(/[\d.]+ s/, 'N s').split('\n')).toEqual([
      'good: building, because it is not in the cache',
      'good: done in N s',
      'bad: building, because it is not in the cache',
      'bad: failed',
      '',
    ]);
  });
});

describe('JSON progress', () => {
  it('prints an object for each event', async () => {
    const text = await watched([bad], jsonProgress);
    const events = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const common = { target: 'x86_64' };
    const reasons = ['it is not in the cache'];
    const key = expect.stringMatching(/^[0-9a-f]{64}$/) as string;
    expect(events).toEqual([
      { ...common, event: 'plan', step: 'good', key, state: 'build', reasons },
      { ...common, event: 'plan', step: 'bad', key, state: 'build', reasons },
      { ...common, event: 'start', step: 'good' },
      { ...common, event: 'output', step: 'good', line: 'hello' },
      { ...common, event: 'done', step: 'good', seconds: expect.any(Number) as number },
      { ...common, event: 'start', step: 'bad' },
      { ...common, event: 'failed', step: 'bad', message: 'false: exit status 1' },
    ]);
  });
});

describe('terminal progress', () => {
  /** A stream that records its output and may claim to be a terminal. */
  const screen = (isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } => {
    let text = '';
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString();
        done();
      },
    });
    return {
      stream: Object.assign(stream, { isTTY, columns: 80, rows: 24 }) as unknown as NodeJS.WriteStream,
      text: () => stripVTControlCharacters(text),
    };
  };

  it.each([true, false])('shows the outcome of each step (terminal: %s) on the given stream only', async (isTTY) => {
    const { stream, text } = screen(isTTY);
    const signalListeners = process.listenerCount('SIGINT');
    const progress = terminalProgress(stream);
    const building = build([never], { cache: new Cache(tempDir()), progress, jobs: 1 });
    await expect(building).rejects.toThrow('bad: false: exit status 1');
    expect(process.listenerCount('SIGINT')).toBe(signalListeners);
    await progress.close();
    expect(text()).toMatch(/bad failed/);
    expect(text()).toMatch(/never was not built/);
    expect(text()).toMatch(/good/);
  });

  it('shows nothing if nothing is built', async () => {
    const { stream, text } = screen(true);
    const cache = new Cache(tempDir());
    await build([good], { cache, progress: silent, jobs: 1 });
    const progress = terminalProgress(stream);
    await build([good], { cache, progress, jobs: 1 });
    await progress.close();
    expect(text()).toBe('');
  });
});
