/**
 * The stack of threads that ask for nothing, such as those of addons in C++: musl gives them 128 KiB, or what the
 * program's PT_GNU_STACK header says, up to 8 MiB. glibc gives 8 MiB, which is what addons are used to. It is address
 * space; memory is taken as it is used.
 */
import { PT_GNU_STACK, segmentsOf } from './elf.js';

const THREAD_STACK = 8n << 20n;

/**
 * @param binary a 64-bit little-endian ELF program; it is changed
 * @throws Error if it has no such header
 */
export function setThreadStack(binary: Buffer): void {
  const stack = segmentsOf(binary).find(({ type }) => type === PT_GNU_STACK);
  if (!stack) throw new Error('it has no PT_GNU_STACK header');
  binary.writeBigUInt64LE(THREAD_STACK, stack.header + 40); // p_memsz
}
