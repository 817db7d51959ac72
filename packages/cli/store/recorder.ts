/** What a start reads: the blocks of the first minute. */

/** Milliseconds after the first read that count as the start. */
const START = 60_000;

/** @returns a function for each block that is read for the first time */
export function startRecorder(blocks: number[]): (index: number) => void {
  let began: number | undefined;
  return (index) => {
    began ??= performance.now();
    if (performance.now() - began < START) blocks.push(index);
  };
}
