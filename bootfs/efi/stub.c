/*
 * The start of a unified kernel image: a program for UEFI that has Linux, its initramfs and its command line as
 * sections. It offers the initramfs to Linux by LoadFile2, and starts Linux, which is itself a program for UEFI.
 *
 * It has no writable data and no relocations, so it runs wherever the firmware puts it. What it must remember is on its
 * stack, which lives until the kernel leaves the firmware.
 *
 * https://uapi-group.org/specifications/specs/unified_kernel_image/
 * https://docs.kernel.org/admin-guide/efi-stub.html
 */
#include "contract.h"
#include "program.h"

static const struct guid LOAD_FILE_2 = {0x4006c0c1, 0xfcb3, 0x403e, {0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d}};

/* The path by which Linux looks for its initramfs: a vendor's medium (LINUX_EFI_INITRD_MEDIA_GUID), and the end. */
static const u8 INITRAMFS_PATH[] = {
    4,    3,    20,   0,    0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f,
    0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68, 0x7f, 0xff, 4,    0,
};

struct initramfs { struct load_file protocol; struct section section; };

static status EFIAPI load_initramfs(struct load_file *this, const void *path, u8 by_boot_manager, u64 *size, void *to)
{
    const struct section *section = &((struct initramfs *)this)->section;
    u64 room;
    (void)path;
    if (by_boot_manager)
        return ERROR(UNSUPPORTED);
    if (!size)
        return ERROR(INVALID_PARAMETER);
    room = *size;
    *size = section->size;
    if (!to || room < section->size)
        return ERROR(BUFFER_TOO_SMALL);
    copy(to, section->bytes, section->size);
    return 0;
}

/* Returns whether QEMU emulates the processor. On a busy host the timer of such a machine may be late, and without this
 * word the kernel then panics. */
static int is_emulated(void)
{
#ifdef __x86_64__
    u32 a = 0x40000000, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return b == 0x54474354; /* "TCGT" */
#else
    return 0;
#endif
}

static u16 *append(u16 *to, const u8 *from, u64 n)
{
    while (n-- > 0)
        *to++ = *from++;
    return to;
}

/* Returns the letter of the slot that the selector has named, or 0. Nothing else is taken of a program's options. */
static u8 slot_of(const struct loaded_image *self)
{
    static const u16 WORD[] = SLOT_OPTION;
    const u8 *options = self->options;
    u64 size = sizeof WORD - 2;
    if (!options || self->options_size != size + 2)
        return 0;
    for (u64 i = 0; i < size; i++)
        if (options[i] != ((const u8 *)WORD)[i])
            return 0;
    u8 letter = options[size];
    return options[size + 1] == 0 && (letter == 'a' || letter == 'b') ? letter : 0;
}

/* Gives the kernel its command line, in UTF-16. */
static status set_options(struct boot_services *boot, handle kernel, struct section line, u8 slot)
{
    static const u8 EMULATED[] = "no_timer_check ", SLOT[] = " " WORD_SLOT "=";
    struct loaded_image *loaded;
    u16 *options, *end;
    status error = boot->get(kernel, &LOADED_IMAGE, (void **)&loaded);
    if (!error)
        error = boot->allocate_pool(LOADER_DATA, 2 * (sizeof EMULATED + line.size + sizeof SLOT + 1), (void **)&options);
    if (error)
        return error;
    end = append(options, EMULATED, is_emulated() ? sizeof EMULATED - 1 : 0);
    end = append(end, line.bytes, line.size);
    end = append(end, SLOT, slot ? sizeof SLOT - 1 : 0);
    end = append(end, &slot, slot ? 1 : 0);
    *end++ = 0;
    loaded->options = options;
    loaded->options_size = (u8 *)end - (u8 *)options;
    return 0;
}

__attribute__((section(".text.start"))) status EFIAPI start(handle self_handle, struct system_table *system)
{
    struct boot_services *boot = system->boot;
    struct loaded_image *self;
    struct initramfs initramfs = {{load_initramfs}, {0, 0}};
    handle kernel = 0, medium = 0;
    status error = boot->get(self_handle, &LOADED_IMAGE, (void **)&self);
    if (error)
        return fail(system, u"the firmware does not say where this program is", error);
    struct section image = find(self, ".linux"), line = find(self, ".cmdline");
    initramfs.section = find(self, ".initrd");
    if (!image.bytes || !initramfs.section.bytes || !line.bytes)
        return fail(system, u"this program lacks its kernel, initramfs or command line", ERROR(NOT_FOUND));
    error = boot->load_image(0, self_handle, 0, image.bytes, image.size, &kernel);
    if (error)
        return fail(system, u"the firmware cannot load the kernel", error);
    error = set_options(boot, kernel, line, slot_of(self));
    if (!error)
        error = boot->install(&medium, &DEVICE_PATH, 0, INITRAMFS_PATH);
    if (!error)
        error = boot->install(&medium, &LOAD_FILE_2, 0, &initramfs.protocol);
    if (error)
        return fail(system, u"the firmware cannot hand over the initramfs", error);
    error = boot->start_image(kernel, 0, 0);
    boot->uninstall(medium, &LOAD_FILE_2, &initramfs.protocol);
    boot->uninstall(medium, &DEVICE_PATH, INITRAMFS_PATH);
    boot->unload_image(kernel);
    return fail(system, u"the kernel did not start", error ? error : ERROR(LOAD_ERROR));
}
