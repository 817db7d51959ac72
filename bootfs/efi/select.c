/*
 * The program in the EFI system partition of a disk with slots: it chooses a slot, and starts the unified kernel image
 * in it. The state and the slots are at fixed places on the same disk, outside of the filesystem, so that nothing is
 * ever written to that.
 *
 * The section .state has the state that counts if both copies are broken. Like the stub, it has no writable data and no
 * relocations.
 *
 * https://uefi.org/specs/UEFI/2.10/13_Protocols_Media_Access.html#block-i-o-protocol
 */
#include "contract.h"
#include "program.h"
#include "slot.h"

#define PIECE (1UL << 20) /* bytes: some firmware fails at larger reads */
#define MEDIA_PATH 4
#define HARD_DRIVE 1
#define PATH_END 0x7f
#define MOST_PATH 1024

static const struct guid BLOCK_IO = {0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};

/* What is read before a slot is chosen, in pages. */
struct buffers { u8 copies[2][BLOCK], head[HEAD_LENGTH], state[BLOCK]; };

struct disk {
    struct system_table *system;
    handle self;
    struct block_io *io;
};

static void warn(const struct disk *disk, int slot, const u16 *text)
{
    const u16 letter[] = {'a' + slot, 0};
    say(disk->system, u"NodeOS: slot ");
    say(disk->system, letter);
    say(disk->system, u": ");
    say(disk->system, text);
    say(disk->system, u"\r\n");
}

/* Returns the length of the path of the disk that a partition is on, or 0. */
static u32 disk_path(const u8 *path)
{
    u32 length = 0, size;
    for (u32 at = 0; at < MOST_PATH && path[at] != PATH_END; at += size) {
        size = path[at + 2] | path[at + 3] << 8;
        if (size < 4)
            return 0;
        if (path[at] == MEDIA_PATH && path[at + 1] == HARD_DRIVE)
            length = at;
    }
    return length < MOST_PATH ? length : 0;
}

/* Finds the disk that this program comes from: the path of its partition without the partition. */
static status find_disk(struct disk *disk)
{
    struct boot_services *boot = disk->system->boot;
    static const u8 END[] = {PATH_END, 0xff, 4, 0};
    u8 path[MOST_PATH + sizeof END];
    const u8 *partition, *rest = path;
    struct loaded_image *self;
    handle device;
    status error = boot->get(disk->self, &LOADED_IMAGE, (void **)&self);
    if (!error)
        error = boot->get(self->device, &DEVICE_PATH, (void **)&partition);
    if (error)
        return error;
    u32 length = disk_path(partition);
    if (!length)
        return ERROR(NOT_FOUND);
    copy(path, partition, length);
    copy(path + length, END, sizeof END);
    error = boot->locate_path(&BLOCK_IO, &rest, &device);
    if (!error)
        error = boot->get(device, &BLOCK_IO, (void **)&disk->io);
    if (error)
        return error;
    const struct block_medium *medium = disk->io->medium;
    if (*rest != PATH_END || medium->is_partition || !medium->is_present)
        return ERROR(NOT_FOUND);
    u32 size = medium->block_size;
    return size < SECTOR || size > BLOCK || size & (size - 1) || medium->io_align > BLOCK ? ERROR(UNSUPPORTED) : 0;
}

/* Reads whole blocks of the disk from a sector of 512 bytes on, in pieces. `to` has room for multiples of 4096. */
static status read(const struct disk *disk, u64 sector, u8 *to, u64 length)
{
    const struct block_medium *medium = disk->io->medium;
    u64 blocks = (length + medium->block_size - 1) / medium->block_size;
    u64 each = PIECE / medium->block_size, block = sector * SECTOR / medium->block_size;
    if (sector * SECTOR % medium->block_size)
        return ERROR(INVALID_PARAMETER);
    while (blocks > 0) {
        u64 now = blocks < each ? blocks : each;
        status error = disk->io->read(disk->io, medium->id, block, now * medium->block_size, to);
        if (error)
            return error;
        to += now * medium->block_size;
        block += now;
        blocks -= now;
    }
    return 0;
}

/* Writes the block of one copy of the state. */
static status write_copy(const struct disk *disk, int copy, const u8 *state)
{
    const struct block_medium *medium = disk->io->medium;
    u64 block = COPY_AT[copy] / medium->block_size;
    status error = disk->io->write(disk->io, medium->id, block, medium->block_size, state);
    return error ? error : disk->io->flush(disk->io);
}

/* Reads the state, and counts the try. Returns the slot to try first. */
static int choose(const struct disk *disk, struct buffers *buffers, const u8 *by_default)
{
    int readable[2];
    for (int i = 0; i < 2; i++)
        readable[i] = !read(disk, COPY_AT[i] / SECTOR, buffers->copies[i], STATE_LENGTH);
    int current = state_current(readable[0] ? buffers->copies[0] : 0, readable[1] ? buffers->copies[1] : 0);
    if (current < 0) {
        copy(buffers->state, by_default, STATE_LENGTH);
        warn(disk, buffers->state[SLOT], u"the default, since both copies of the state are broken");
        return buffers->state[SLOT];
    }
    copy(buffers->state, buffers->copies[current], BLOCK);
    struct choice choice = state_choose(buffers->state);
    if (choice.is_last)
        warn(disk, choice.slot, u"no tries are left, and the other slot is empty");
    if (choice.writes && write_copy(disk, !current, buffers->state)) {
        int slot = state_without_writing(buffers->state, choice);
        warn(disk, slot, u"the drive does not take the number of tries");
        return slot;
    }
    return choice.slot;
}

/* Lets the firmware load the bytes of a unified kernel image, which it checks if Secure Boot is on. */
static status load(const struct disk *disk, u64 sector, u32 length, handle *program)
{
    struct boot_services *boot = disk->system->boot;
    u64 pages = (length + BLOCK - 1UL) / BLOCK, address;
    status error = boot->allocate_pages(0, LOADER_DATA, pages, &address);
    if (error)
        return error;
    error = read(disk, sector, (u8 *)address, length);
    if (!error)
        error = boot->load_image(0, disk->self, 0, (void *)address, length, program);
    boot->free_pages(address, pages);
    return error;
}

/* Returns only if the slot did not start. */
static void start_slot(const struct disk *disk, struct buffers *buffers, int slot)
{
    struct boot_services *boot = disk->system->boot;
    static const u16 WORD[] = SLOT_OPTION u"a";
    u16 options[sizeof WORD / sizeof *WORD];
    struct loaded_image *loaded;
    u32 sector, length, head = state_head(buffers->state, slot);
    handle program = 0;
    if (!head)
        return warn(disk, slot, u"it is empty");
    if (read(disk, head, buffers->head, HEAD_LENGTH))
        return warn(disk, slot, u"the firmware cannot read the drive");
    if (!head_read(buffers->head, &sector, &length))
        return warn(disk, slot, u"its head is broken");
    status error = load(disk, (u64)head + sector, length, &program);
    if (!error)
        error = boot->get(program, &LOADED_IMAGE, (void **)&loaded);
    if (!error) {
        copy((u8 *)options, (const u8 *)WORD, sizeof WORD);
        options[sizeof WORD / sizeof *WORD - 2] += slot;
        loaded->options = options;
        loaded->options_size = sizeof WORD - sizeof *WORD;
        boot->start_image(program, 0, 0);
    }
    warn(disk, slot, error ? u"the firmware cannot load its kernel" : u"its kernel did not start");
    if (program)
        boot->unload_image(program);
}

__attribute__((section(".text.start"))) status EFIAPI start(handle self_handle, struct system_table *system)
{
    struct disk disk = {system, self_handle, 0};
    struct loaded_image *self;
    u64 address, pages = sizeof(struct buffers) / BLOCK;
    status error = find_disk(&disk);
    if (error)
        return fail(system, u"the firmware does not say which disk this program is on", error);
    system->boot->get(self_handle, &LOADED_IMAGE, (void **)&self);
    struct section by_default = find(self, ".state");
    error = by_default.size < STATE_LENGTH ? ERROR(NOT_FOUND) : system->boot->allocate_pages(0, LOADER_DATA, pages, &address);
    if (error)
        return fail(system, u"this program lacks its state, or memory", error);
    struct buffers *buffers = (struct buffers *)address;
    int slot = choose(&disk, buffers, by_default.bytes);
    start_slot(&disk, buffers, slot);
    start_slot(&disk, buffers, !slot);
    system->boot->free_pages(address, pages);
    return fail(system, u"no slot starts", ERROR(LOAD_ERROR));
}
