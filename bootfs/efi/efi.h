/*
 * What the programs use of UEFI, with names of our own. Tables of functions are arrays here: an index is the place of a
 * function in the specification's structure. https://uefi.org/specs/UEFI/2.10/
 */
#ifndef NODEOS_EFI_H
#define NODEOS_EFI_H

#include "bytes.h"

typedef u64 status;
typedef void *handle;

#ifdef __x86_64__
#define EFIAPI __attribute__((ms_abi))
#else
#define EFIAPI
#endif

#define ERROR(code) (1UL << 63 | (code))
enum { LOAD_ERROR = 1, INVALID_PARAMETER = 2, UNSUPPORTED = 3, BUFFER_TOO_SMALL = 5, NOT_FOUND = 14 };

struct guid { u32 a; u16 b, c; u8 d[8]; };

struct table { u64 signature; u32 revision, size, crc, reserved; };

struct text_output {
    void *reset;
    status(EFIAPI *output)(struct text_output *, const u16 *text);
};

/* Boot services, 7.1. */
struct boot_services {
    struct table header;
    void *raise_level, *restore_level;
    status(EFIAPI *allocate_pages)(u32 how, u32 type, u64 pages, u64 *address);
    status(EFIAPI *free_pages)(u64 address, u64 pages);
    void *memory_map;
    status(EFIAPI *allocate_pool)(u32 type, u64 size, void **);
    status(EFIAPI *free_pool)(void *);
    void *events[6];
    status(EFIAPI *install)(handle *, const struct guid *, u32 interface_type, const void *interface);
    void *reinstall;
    status(EFIAPI *uninstall)(handle, const struct guid *, const void *interface);
    status(EFIAPI *get)(handle, const struct guid *, void **interface);
    void *reserved, *notify, *locate_handle;
    status(EFIAPI *locate_path)(const struct guid *, const u8 **path, handle *);
    void *install_table;
    status(EFIAPI *load_image)(u8 by_boot_manager, handle parent, const void *path, const void *bytes, u64 size, handle *);
    status(EFIAPI *start_image)(handle, u64 *exit_size, u16 **exit_text);
    void *exit;
    status(EFIAPI *unload_image)(handle);
    void *exit_boot_services, *counter;
    status(EFIAPI *stall)(u64 microseconds);
    status(EFIAPI *set_watchdog)(u64 seconds, u64 code, u64 size, const u16 *text);
};

struct system_table {
    struct table header;
    u16 *vendor;
    u32 revision;
    handle input_handle;
    void *input;
    handle output_handle;
    struct text_output *output;
    handle error_handle;
    struct text_output *error;
    void *runtime;
    struct boot_services *boot;
};

/* Loaded image protocol, 9.1. */
struct loaded_image {
    u32 revision;
    handle parent;
    struct system_table *system;
    handle device;
    void *path, *reserved;
    u32 options_size;
    void *options;
    u8 *base;
    u64 size;
};

/* Load file 2 protocol, 13.2. */
struct load_file {
    status(EFIAPI *load)(struct load_file *, const void *path, u8 by_boot_manager, u64 *size, void *to);
};

/* Block I/O protocol, 13.9. */
struct block_medium {
    u32 id;
    u8 is_removable, is_present, is_partition, is_read_only, is_cached;
    u32 block_size, io_align;
    u64 last_block;
};

struct block_io {
    u64 revision;
    struct block_medium *medium;
    void *reset;
    status(EFIAPI *read)(struct block_io *, u32 medium, u64 block, u64 size, void *to);
    status(EFIAPI *write)(struct block_io *, u32 medium, u64 block, u64 size, const void *from);
    status(EFIAPI *flush)(struct block_io *);
};

#endif
