/* Numbers, and how they are in tables: little-endian, at any place. */
#ifndef NODEOS_BYTES_H
#define NODEOS_BYTES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

static inline u32 get32(const u8 *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (u32)at[3] << 24;
}

static inline void put32(u8 *at, u32 value)
{
    for (int i = 0; i < 4; i++, value >>= 8)
        at[i] = value;
}

#endif
