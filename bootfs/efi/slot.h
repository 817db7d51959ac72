/*
 * Which slot starts: the state of a disk and the head of a slot, as boot-state.ts and slot-head.ts describe them. The
 * bytes come from a disk, so they may be anything. bios/second.S decides by the same rules.
 */
#ifndef NODEOS_SLOT_H
#define NODEOS_SLOT_H

#include "bytes.h"

#define STATE_LENGTH 512
#define HEAD_LENGTH 4096
#define BLOCK 4096 /* bytes: each copy of the state is alone in one */
#define SECTOR 512
#define MOST_BYTES (1UL << 30) /* of a unified kernel image */

static const u32 COPY_AT[] = {24576, 28672};

/* Offsets in both tables, in the state, and in the head. */
enum { VERSION = 4, SEQUENCE = 8, SLOT = 12, TRIES = 13, VALIDATED = 14, HEADS = 16, UKI_SECTOR = 16, UKI_LENGTH = 20 };

/* What is to be done before a slot starts. */
struct choice {
    int slot;    /* the first one to try */
    int writes;  /* the state has changed */
    int is_last; /* its tries are over, and the other one is empty */
};

static inline u32 crc32(const u8 *bytes, u32 length)
{
    u32 sum = ~0U;
    while (length-- > 0) {
        sum ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320U : 0);
    }
    return ~sum;
}

/* Returns whether a table begins with "nos", the letter and the version, and ends with its checksum. */
static inline int is_intact(const u8 *table, u8 letter, u32 length)
{
    return table[0] == 'n' && table[1] == 'o' && table[2] == 's' && table[3] == letter && get32(table + VERSION) == 1 &&
           get32(table + length - 4) == crc32(table, length - 4);
}

static inline int state_is_intact(const u8 *state)
{
    return is_intact(state, 'S', STATE_LENGTH) && state[SLOT] <= 1;
}

/* Returns which copy counts: the newer one of those that are intact, or -1. A copy that could not be read is 0. */
static inline int state_current(const u8 *first, const u8 *second)
{
    int is_first = first && state_is_intact(first), is_second = second && state_is_intact(second);
    if (is_first && is_second) /* the sequence may have begun again at 0 */
        return (int)(get32(second + SEQUENCE) - get32(first + SEQUENCE)) > 0;
    return is_first ? 0 : is_second ? 1 : -1;
}

/* Returns the place of a slot's head, in sectors of 512 bytes; 0: it is empty. */
static inline u32 state_head(const u8 *state, int slot)
{
    return get32(state + HEADS + 4 * slot);
}

static inline int state_is_validated(const u8 *state, int slot)
{
    return state[VALIDATED] >> slot & 1;
}

/* Chooses, and counts the try if nobody has validated the slot. */
static inline struct choice state_choose(u8 *state)
{
    int slot = state[SLOT];
    if (state_is_validated(state, slot))
        return (struct choice){slot, 0, 0};
    if (state[TRIES] > 0)
        state[TRIES]--;
    else if (state_head(state, !slot))
        state[SLOT] = slot = !slot;
    else
        return (struct choice){slot, 0, 1};
    put32(state + SEQUENCE, get32(state + SEQUENCE) + 1);
    put32(state + STATE_LENGTH - 4, crc32(state, STATE_LENGTH - 4));
    return (struct choice){slot, 1, 0};
}

/* Returns the slot to try first if the state could not be written. Uncounted tries would never end, so a slot that
 * works goes first. */
static inline int state_without_writing(const u8 *state, struct choice choice)
{
    return state_is_validated(state, !choice.slot) ? !choice.slot : choice.slot;
}

/* Finds the unified kernel image: its place behind the head in sectors of 512 bytes, and its length in bytes. Returns
 * whether the head is whole. */
static inline int head_read(const u8 *head, u32 *sector, u32 *length)
{
    *sector = get32(head + UKI_SECTOR);
    *length = get32(head + UKI_LENGTH);
    return is_intact(head, 'H', HEAD_LENGTH) && *sector >= HEAD_LENGTH / SECTOR && *length > 0 && *length <= MOST_BYTES;
}

#endif
