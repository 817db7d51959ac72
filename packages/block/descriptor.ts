/**
 * Reads and writes at an offset of an open file, completely or with an error. They are synchronous if the pace allows
 * it.
 */
import { read as readPart, readSync, write as writePart, writeSync } from 'node:fs';
import { failure, type MaybePromise } from './backend.js';
import type { Pace } from './pace.js';

/**
 * Fills `into`.
 * @param name the file, for messages
 * @throws Error with the code EIO if the file ends too early; the errors of `read`
 */
export function readAt(fd: number, into: Uint8Array, position: number, pace: Pace, name: string): MaybePromise<void> {
  const started = pace.begin(into.length);
  if (started < 0) return readPooled(fd, into, position, name);
  for (let done = 0; done < into.length;) {
    const count = readSync(fd, into, done, into.length - done, position + done);
    if (count === 0) throw truncatedError(name, position + done);
    done += count;
  }
  pace.end(started, into.length);
}

/** Writes all of `bytes`. @throws the errors of `write` */
export function writeAt(fd: number, bytes: Uint8Array, position: number, pace: Pace): MaybePromise<void> {
  const started = pace.begin(bytes.length);
  if (started < 0) return writePooled(fd, bytes, position);
  // A disk that is nearly full accepts a part and refuses the rest.
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  pace.end(started, bytes.length);
}

// Callbacks cost less than the promises of a FileHandle.
const readPooled = (fd: number, into: Uint8Array, position: number, name: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const step = (done: number): void =>
      readPart(fd, into, done, into.length - done, position + done, (error, count) => {
        if (error) reject(error);
        else if (done + count >= into.length) resolve();
        else if (count === 0) reject(truncatedError(name, position + done));
        else step(done + count);
      });
    step(0);
  });

const writePooled = (fd: number, bytes: Uint8Array, position: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const step = (done: number): void =>
      writePart(fd, bytes, done, bytes.length - done, position + done, (error, count) => {
        if (error) reject(error);
        else if (done + count >= bytes.length) resolve();
        else step(done + count);
      });
    step(0);
  });

const truncatedError = (name: string, position: number): Error =>
  failure('EIO', `${name}: ends at byte ${position}, though it was longer`);
