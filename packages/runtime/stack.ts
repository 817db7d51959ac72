/**
 * The stack of threads that ask for nothing, such as those of addons in C++: musl gives them 128 KiB, or what the
 * program's PT_GNU_STACK header says, up to 8 MiB. glibc gives 8 MiB, which is what addons are used to. It is address
 * space; memory is taken as it is used.
 */
const PT_GNU_STACK = 0x6474e551;

export const THREAD_STACK = 8n << 20n;

/**
 * @param binary a 64-bit little-endian ELF program; it is changed
 * @throws Error if it has no such header
 */
export function setThreadStack(binary: Buffer, bytes = THREAD_STACK): void {
  const [start, size, count] = [Number(binary.readBigUInt64LE(32)), binary.readUInt16LE(54), binary.readUInt16LE(56)];
  for (let header = start; header < start + size * count; header += size) {
    if (binary.readUInt32LE(header) !== PT_GNU_STACK) continue;
    binary.writeBigUInt64LE(bytes, header + 40); // p_memsz
    return;
  }
  throw new Error('it has no PT_GNU_STACK header');
}
