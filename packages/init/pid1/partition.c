/*
 * The kernel knows the partitions' names, but tells them only to udev. So their tables are read here: a GPT, or an MBR.
 * https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
 */
#include <linux/loop.h>

#include "../lib/clock.h"
#include "../lib/folder.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "partition.h"

#define WAIT (30 * SECOND)
#define QUIET (3 * SECOND) /* until it says what it waits for */
#define PAUSE 50000L         /* microseconds */
#define HEADER 92
#define ENTRY 128
#define MAX_ENTRIES 128
#define ID 16
#define NAME_UNITS 36

/* An MBR: four entries, and before them the number of the disk. */
#define MBR_ID 440
#define MBR_TABLE 446
#define MBR_ENTRY 16
#define MBR_ENTRIES 4
#define PROTECTIVE 0xee /* there is a GPT as well, which counts */

static const char BY_ID[] = "PARTUUID=", BY_LABEL[] = "PARTLABEL=";

/* What is looked for, and where it was found. An id is that of a GPT or, if mbr_number is not 0, of an MBR. */
static struct {
    const char *label;
    unsigned char id[ID];
    unsigned long mbr_disk;
    int mbr_number;
    char disk[64];
    long number, offset, length; /* bytes */
    int found;
} search;

int partition_is_named(const char *source)
{
    return text_after(source, BY_ID) || text_after(source, BY_LABEL);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The first three fields of a GUID are little-endian. Returns whether the text is one. */
static int read_id(const char *text, unsigned char *id)
{
    static const char ORDER[ID] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int i = 0; i < ID; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
            return 0;
        int high = hex_value(text[0]), low = high < 0 ? -1 : hex_value(text[1]);
        if (low < 0)
            return 0;
        id[(int)ORDER[i]] = high << 4 | low;
        text += 2;
    }
    return !*text;
}

/* The id of a partition in an MBR: the number of the disk and that of the partition, as 1234abcd-02. */
static int read_mbr_id(const char *text)
{
    unsigned long disk = 0;
    int number = 0;
    for (int i = 0; i < 11; i++) {
        int value = i == 8 ? 0 : hex_value(text[i]);
        if (value < 0 || (i == 8 && text[i] != '-'))
            return 0;
        if (i < 8)
            disk = disk << 4 | value;
        else
            number = number << 4 | value;
    }
    search.mbr_disk = disk;
    search.mbr_number = number;
    return !text[11] && number >= 1 && number <= MBR_ENTRIES;
}

static unsigned long little(const unsigned char *bytes, int size)
{
    unsigned long value = 0;
    while (size-- > 0)
        value = value << 8 | bytes[size];
    return value;
}

static int is_wanted(const unsigned char *entry)
{
    const unsigned char *name = entry + 56;
    if (!search.label) {
        for (int i = 0; i < ID; i++)
            if (entry[16 + i] != search.id[i])
                return 0;
        return 1;
    }
    for (int i = 0; i < NAME_UNITS; i++) {
        if (little(name + 2 * i, 2) != (unsigned char)search.label[i])
            return 0;
        if (!search.label[i])
            return 1;
    }
    return !search.label[NAME_UNITS];
}

static void take(const char *name, long number, long offset, long length)
{
    for (size_t i = 0; name != search.disk && i <= text_length(name); i++)
        search.disk[i] = name[i];
    search.number = number;
    search.offset = offset;
    search.length = length;
    search.found = 1;
}

/* Reads the table of a disk with such sectors. */
static void read_table(long disk, const char *name, unsigned long sector)
{
    unsigned char header[HEADER], entry[ENTRY];
    if (sys4(__NR_pread64, disk, header, HEADER, sector) != HEADER || !text_after((char *)header, "EFI PART"))
        return;
    unsigned long at = little(header + 72, 8), count = little(header + 80, 4);
    if (little(header + 84, 4) != ENTRY || at > 1UL << 40)
        return;
    for (unsigned long i = 0; i < count && i < MAX_ENTRIES && !search.found; i++) {
        if (sys4(__NR_pread64, disk, entry, ENTRY, at * sector + i * ENTRY) != ENTRY)
            return;
        unsigned long first = little(entry + 32, 8), last = little(entry + 40, 8);
        if (!is_wanted(entry) || first > last || last > 1UL << 40)
            continue;
        take(name, i + 1, first * sector, (last - first + 1) * sector);
    }
}

/* Its sectors have 512 bytes, whatever the disk says: cards and images have no others. */
static void read_mbr(long disk, const char *name)
{
    unsigned char bytes[512];
    if (sys4(__NR_pread64, disk, bytes, sizeof bytes, 0) != sizeof bytes || little(bytes + 510, 2) != 0xaa55)
        return;
    const unsigned char *entry = bytes + MBR_TABLE + (search.mbr_number - 1) * MBR_ENTRY;
    unsigned long first = little(entry + 8, 4), count = little(entry + 12, 4);
    if (little(bytes + MBR_ID, 4) != search.mbr_disk || !entry[4] || entry[4] == PROTECTIVE || !first || !count)
        return;
    take(name, search.mbr_number, first * 512, count * 512);
}

static void visit(const char *name)
{
    static const char *const NOT_DISKS[] = {"loop", "ram", "nbd", "zram", "dm-", "md"};
    struct text path = {0};
    for (size_t i = 0; i < sizeof NOT_DISKS / sizeof *NOT_DISKS; i++)
        if (text_after(name, NOT_DISKS[i]))
            return;
    if (search.found || text_length(name) >= sizeof search.disk)
        return;
    text_add(&path, "/dev/");
    text_add(&path, name);
    long disk = io_open(path.bytes, O_RDONLY | O_CLOEXEC);
    if (disk < 0)
        return;
    if (search.mbr_number)
        read_mbr(disk, name);
    else
        read_table(disk, name, 512);
    if (!search.mbr_number && !search.found)
        read_table(disk, name, 4096);
    sys1(__NR_close, disk);
}

/* Returns whether the kernel has made the same partition, and its path. */
static int find_kernels(struct text *device)
{
    char start[32], size[32];
    struct text name = {0}, path = {0};
    char last = search.disk[text_length(search.disk) - 1];
    text_add(&name, search.disk);
    text_add(&name, last >= '0' && last <= '9' ? "p" : "");
    text_add_number(&name, search.number);
    text_add(&path, "/sys/class/block/");
    text_add(&path, name.bytes);
    size_t length = path.length;
    text_add(&path, "/start");
    if (!io_read_file(path.bytes, start, sizeof start))
        return 0;
    path.bytes[path.length = length] = 0;
    text_add(&path, "/size");
    if (!io_read_file(path.bytes, size, sizeof size))
        return 0;
    if (text_number(start) != search.offset / 512 || text_number(size) != search.length / 512)
        return 0;
    text_add(device, "/dev/");
    text_add(device, name.bytes);
    return 1;
}

/* Sets up a loop device over the partition. It stays. */
static int add_loop(int writable, struct text *device)
{
    struct text path = {0};
    struct loop_config config = {0};
    long control = io_open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    long number = control < 0 ? control : sys2(__NR_ioctl, control, LOOP_CTL_GET_FREE);
    if (control >= 0)
        sys1(__NR_close, control);
    if (number < 0)
        return 0;
    text_add(device, "/dev/loop");
    text_add_number(device, number);
    text_add(&path, "/dev/");
    text_add(&path, search.disk);
    int mode = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    long loop = io_open(device->bytes, mode);
    long disk = io_open(path.bytes, mode);
    config.fd = disk;
    config.info.lo_offset = search.offset;
    config.info.lo_sizelimit = search.length;
    config.info.lo_flags = writable ? 0 : LO_FLAGS_READ_ONLY;
    long error = loop < 0 || disk < 0 ? -ENOENT : sys3(__NR_ioctl, loop, LOOP_CONFIGURE, &config);
    if (disk >= 0)
        sys1(__NR_close, disk);
    if (loop >= 0)
        sys1(__NR_close, loop);
    return error >= 0;
}

int partition_find(const char *source, int writable, struct text *device)
{
    const char *id = text_after(source, BY_ID);
    long begun = clock_now();
    int silent = 1;
    search.found = search.mbr_number = 0;
    search.label = text_after(source, BY_LABEL);
    if (id && !read_id(id, search.id) && !read_mbr_id(id)) {
        SAY(source, ": this is no id of a partition");
        return 0;
    }
    for (;;) {
        if (search.label && *search.disk)
            visit(search.disk);
        folder_each("/sys/block", visit);
        if (search.found)
            break;
        if (clock_now() > begun + WAIT) {
            SAY("no disk has the partition ", source);
            return 0;
        }
        if (silent && clock_now() > begun + QUIET) {
            SAY("waiting for a disk with the partition ", source);
            silent = 0;
        }
        clock_rest(PAUSE);
    }
    if (find_kernels(device) || add_loop(writable, device))
        return 1;
    SAY("the partition ", source, " is on ", search.disk, ", and there is no device for it");
    return 0;
}
