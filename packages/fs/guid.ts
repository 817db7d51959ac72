/** UUIDs from hashes: version 8 of https://www.rfc-editor.org/rfc/rfc9562 */

/** The 16 bytes of a UUID. @param hash at least 16 bytes */
export function uuidFrom(hash: Uint8Array): Buffer {
  const bytes = Buffer.from(hash.subarray(0, 16));
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes;
}

/** The same as text, such as the id of a partition. */
export function guidOf(hash: Uint8Array): string {
  const hex = uuidFrom(hash).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
