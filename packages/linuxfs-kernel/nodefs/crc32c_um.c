// SPDX-License-Identifier: GPL-2.0
/*
 * CRC32C by the instruction that x86 processors have had since SSE4.2: ext4, xfs and btrfs sum all of their metadata, and
 * User Mode Linux has no fast code for it. It uses general registers only, so no state of the processor is saved.
 */
#include <linux/cache.h>
#include <linux/crc32.h>
#include <linux/init.h>
#include <linux/unaligned.h>

#define SSE4_2 (1 << 20)	/* of ECX of CPUID's leaf 1 */

static bool has_instruction __ro_after_init;

static int __init look_for_instruction(void)
{
	u32 eax = 1, ebx, ecx = 0, edx;

	asm volatile("cpuid" : "+a" (eax), "=b" (ebx), "+c" (ecx), "=d" (edx));
	has_instruction = ecx & SSE4_2;
	return 0;
}
early_initcall(look_for_instruction);

/* Stands for the function of that name in lib/crc32.c, which is weak. */
u32 __pure __crc32c_le(u32 crc, unsigned char const *at, size_t size)
{
	u64 sum = crc;

	if (!has_instruction)
		return __crc32c_le_base(crc, at, size);
	for (; size >= 8; size -= 8, at += 8)
		asm("crc32q %1, %0" : "+r" (sum) : "r" (get_unaligned((const u64 *)at)));
	for (; size > 0; size--, at++)
		asm("crc32b %1, %0" : "+r" (sum) : "rm" (*at));
	return sum;
}
