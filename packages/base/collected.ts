/**
 * Reads all of a stream that is not trusted.
 * @param most the largest size, in bytes
 * @param tooLong makes the error for a longer one
 */
export async function collected(body: AsyncIterable<Uint8Array>, most: number, tooLong: () => Error): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > most) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
