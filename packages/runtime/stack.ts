/**
 * The stack size of threads that do not request one, such as threads of C++ addons. musl gives them 128 KiB, or the
 * size in the program's PT_GNU_STACK header, up to 8 MiB. glibc gives 8 MiB, which addons expect. The size is address
 * space only: memory is used as the stack grows.
 */
import { PT_GNU_STACK, segmentsOf } from './elf.js';

const THREAD_STACK = 8n << 20n;

/**
 * Sets the stack size of threads to 8 MiB.
 * @param binary a 64-bit little-endian ELF program, which is changed in place
 * @throws Error if it has no PT_GNU_STACK header
 */
export function setThreadStack(binary: Buffer): void {
  const stack = segmentsOf(binary).find(({ type }) => type === PT_GNU_STACK);
  if (!stack) throw new Error('it has no PT_GNU_STACK header');
  binary.writeBigUInt64LE(THREAD_STACK, stack.header + 40); // p_memsz
}
