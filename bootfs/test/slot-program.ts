/** The loader's own code (efi/slot.h), compiled for this machine with sanitizers, and what it decides. */
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { expected, randomCopy, seeded, type Copies } from './slot-model.js';

export const hasCompiler = spawnSync('gcc', ['--version']).error === undefined && process.platform === 'linux';
/** Where the heads of both slots are. */
export const HEADS = [9 << 20, 41 << 20] as const;
/** Pairs for one run of the program. */
const BATCH = 20_000;
/** Bytes of an answer: four, and the state. */
const ANSWER = 516;

/** @param program the file to make */
export function compileSlots(program: string): void {
  const source = fileURLToPath(new URL('slots.c', import.meta.url));
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover'];
  execFileSync('gcc', ['-std=c11', '-Wall', '-Wextra', '-Werror', '-O1', ...sanitizers, '-o', program, source]);
}

/** Plays bytes to the program, as slots.c says. @throws Error if a sanitizer finds something */
export const play = (program: string, what: 'state' | 'head', input: Buffer): Buffer =>
  execFileSync(program, [what], { input, maxBuffer: 1 << 28 });

/** How often each outcome was seen. */
export type Seen = Record<'none' | 'kept' | 'written' | 'last', number>;

/** Compares what the program decides with the model, for random pairs of copies. */
export function comparePairs(program: string, { pairs, seed }: { pairs: number; seed: number }): Seen {
  const random = seeded(seed);
  const seen: Seen = { none: 0, kept: 0, written: 0, last: 0 };
  for (let done = 0; done < pairs; done += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, pairs - done) }, (): Copies => [
      randomCopy(random, HEADS),
      randomCopy(random, HEADS),
    ]);
    const answers = play(program, 'state', Buffer.concat(batch.flat()));
    expect(answers).toHaveLength(batch.length * ANSWER);
    for (const [index, copies] of batch.entries())
      seen[compare(copies, answers.subarray(index * ANSWER, (index + 1) * ANSWER), done + index)]++;
  }
  return seen;
}

function compare(copies: Copies, answer: Buffer, pair: number): keyof Seen {
  const { copy, first, isLast, after } = expected(copies);
  const writes = after !== copies;
  if (answer.readUInt8(0) !== (copy === undefined ? 0 : copy + 1)) expect(answer.readUInt8(0), `${pair}`).toBe(copy);
  if (copy === undefined) return 'none';
  const wanted = Buffer.from([copy + 1, first === 'b' ? 1 : 0, Number(writes), Number(isLast)]);
  const state = after[writes ? 1 - copy : copy] ?? Buffer.alloc(0);
  // Only a difference is worth the time that an assertion takes.
  if (!answer.equals(Buffer.concat([wanted, state])))
    expect(answer.toString('hex'), copies.map((one) => one.toString('hex', 0, 24)).join(' ')).toBe(
      Buffer.concat([wanted, state]).toString('hex'),
    );
  return isLast ? 'last' : writes ? 'written' : 'kept';
}
