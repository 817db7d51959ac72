/* What both programs for UEFI need: their own sections, and words for people. */
#ifndef NODEOS_PROGRAM_H
#define NODEOS_PROGRAM_H

#include "efi.h"

#define LOADER_DATA 2
#define SLOT_OPTION u"" WORD_SLOT u"=" /* a letter follows */

static const struct guid LOADED_IMAGE = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct guid DEVICE_PATH = {0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};

struct section { const u8 *bytes; u64 size; };

static inline void copy(u8 *to, const u8 *from, u64 n)
{
    for (u64 i = 0; i < n; i++)
        to[i] = from[i];
}

static inline int same_name(const u8 *name, const char *wanted)
{
    for (int i = 0; i < 8; i++) {
        if (name[i] != (u8)wanted[i])
            return 0;
        if (!wanted[i])
            return 1;
    }
    return 1;
}

/* Finds a section of this program. https://learn.microsoft.com/windows/win32/debug/pe-format */
static inline struct section find(const struct loaded_image *self, const char *name)
{
    const u8 *header = self->base + get32(self->base + 0x3c);
    u32 count = header[6] | header[7] << 8, optional = header[20] | header[21] << 8;
    for (const u8 *at = header + 24 + optional; count > 0; count--, at += 40) {
        struct section found = {self->base + get32(at + 12), get32(at + 8)};
        if (same_name(at, name))
            return found;
    }
    return (struct section){0, 0};
}

static inline void say(const struct system_table *system, const u16 *text)
{
    system->output->output(system->output, text);
}

/* Says why nothing starts, and gives people time to read it. */
static inline status fail(const struct system_table *system, const u16 *text, status error)
{
    say(system, u"NodeOS: ");
    say(system, text);
    say(system, u"\r\n");
    system->boot->stall(5000000);
    return error;
}

#endif
