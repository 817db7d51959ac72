/** What a start reads, as it was measured: the chunks in their order, and how long the machine computes before each. */
export interface Read {
  /** Of the chunk; the first characters of its id are enough. */
  readonly id: string;
  /** As they are stored. */
  readonly bytes: number;
  /** Milliseconds that the machine computes after the chunk before, and before it asks for this one. */
  readonly after: number;
}

export interface Trace {
  /** The name of the image. */
  readonly image: string;
  /** Stored bytes of the whole image. */
  readonly stored: number;
  readonly reads: readonly Read[];
  /** Milliseconds from the last chunk to the first byte of the answer. */
  readonly rest: number;
}

/** A line of JSON for each image: name, stored bytes, rest, and a triple for each read. */
export const encodeTraces = (traces: readonly Trace[]): string =>
  traces
    .map(({ image, stored, rest, reads }) =>
      JSON.stringify([image, stored, rest, reads.map(({ id, bytes, after }) => [id, bytes, after])]),
    )
    .map((line) => `${line}\n`)
    .join('');

export const decodeTraces = (text: string): Trace[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [image, stored, rest, reads] = JSON.parse(line) as [string, number, number, [string, number, number][]];
      return { image, stored, rest, reads: reads.map(([id, bytes, after]) => ({ id, bytes, after })) };
    });
