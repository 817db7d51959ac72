/*
 * Second stage: loads Linux and its initramfs by the Linux boot protocol, and starts it. It knows no filesystem: a table
 * at its end, patched by layout.ts, says where the bytes are. Started by the first stage from a disk, and by the
 * firmware itself from a CD (El Torito, no emulation). DL is the drive in both cases.
 *
 *     0x00600  drive parameters
 *     0x00700  a range of memory, variables
 *     0x07c00  this code (2 KiB)
 *     0x10000  real-mode part of the kernel, its stack and its command line
 *     0x20000  buffer for reads
 *     1 MiB    protected-mode part of the kernel
 *     …        initramfs, as high as the kernel allows
 *
 * https://docs.kernel.org/arch/x86/boot.html
 * INT 13h extensions: "BIOS Enhanced Disk Drive Services 3.0". INT 15h, E820h: ACPI specification, chapter 15.
 */
    .intel_syntax noprefix
    .code16
    .section .text
    .globl _start

    .set HERE, 0x7c00
    .set PARAMETERS, 0x600
    .set RANGE, 0x700
    .set drive, 0x720
    .set attempts, 0x722
    .set setup_sectors, 0x724
    .set highest, 0x728
    .set initramfs_address, 0x72c
    .set shift, 0x730
    .set SETUP, 0x1000 /* segment */
    .set BUFFER, 0x2000 /* segment */
    .set HEAP_END, 0xde00
    .set STACK, 0xe000
    .set COMMAND_LINE, 0xe000
    .set CHUNK, 64 /* sectors of 512 bytes in one read: 32 KiB */
    .set ATTEMPTS, 3
    .set ONE_MIB, 0x100000
    .set EMULATED, 15 /* characters of the word for emulated processors */

    /* Offsets in the kernel's header. */
    .set SETUP_SECTS, 0x1f1
    .set MAGIC, 0x202
    .set VERSION, 0x206
    .set TYPE_OF_LOADER, 0x210
    .set LOADFLAGS, 0x211
    .set RAMDISK_IMAGE, 0x218
    .set RAMDISK_SIZE, 0x21c
    .set HEAP_END_PTR, 0x224
    .set CMD_LINE_PTR, 0x228
    .set INITRD_ADDR_MAX, 0x22c

_start:
    jmp begin
    .org 4
    .ascii "nos2"

begin:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, HERE
    sti
    cld
    mov byte ptr [drive], dl
    mov byte ptr [shift], al
    call ask_sector_size
    call open_a20

    /* The real-mode part: as many sectors as its first one says. */
    mov esi, [kernel_sector]
    mov ecx, [kernel_length]
    cmp ecx, 4096
    mov bx, offset no_kernel
    jb fail
    mov word ptr [packet_segment], SETUP
    mov eax, CHUNK
    call read
    mov ax, SETUP
    mov es, ax
    cmp dword ptr es:[MAGIC], 0x53726448 /* "HdrS" */
    mov bx, offset no_kernel
    jne fail
    cmp word ptr es:[VERSION], 0x204
    jb fail
    movzx eax, byte ptr es:[SETUP_SECTS]
    inc ax
    cmp ax, CHUNK
    ja fail
    mov dword ptr [setup_sectors], eax

    /* The rest of it goes to 1 MiB. The setup is a whole number of sectors of 512 bytes, a CD's are larger. */
    shl eax, 9
    sub ecx, eax
    jbe fail
    mov edx, dword ptr [setup_sectors]
    mov edi, ONE_MIB
    call load

    call place_initramfs
    mov esi, [initramfs_sector]
    mov ecx, [initramfs_length]
    xor edx, edx
    call load

    mov ax, SETUP
    mov es, ax
    mov byte ptr es:[TYPE_OF_LOADER], 0xff
    or byte ptr es:[LOADFLAGS], 0x80 /* the heap may be used */
    mov word ptr es:[HEAP_END_PTR], HEAP_END - 0x200
    mov dword ptr es:[CMD_LINE_PTR], SETUP * 16 + COMMAND_LINE
    mov eax, dword ptr [initramfs_address]
    mov es:[RAMDISK_IMAGE], eax
    mov eax, [initramfs_length]
    mov es:[RAMDISK_SIZE], eax
    mov eax, 0x40000000
    cpuid /* which hypervisor this is, and on a real processor something else */
    mov si, offset command_line
    cmp ebx, 0x54474354 /* "TCGT" */
    je 1f
    add si, EMULATED
1:
    mov di, COMMAND_LINE
    mov cx, 512
    rep movsw

    cli
    mov ax, SETUP
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov sp, STACK
    .byte 0xea
    .word 0, SETUP + 0x20

/* Sets how many times 512 bytes a sector of the drive has, as a shift: 0 for disks, 2 for CDs, 3 for disks of 4096. */
ask_sector_size:
    mov word ptr [PARAMETERS], 30
    mov ah, 0x48
    mov dl, byte ptr [drive]
    mov si, PARAMETERS
    int 0x13
    jc 2f
    mov ax, word ptr [PARAMETERS + 24]
1:
    cmp ax, 512
    jbe 2f
    shr ax, 1
    inc byte ptr [shift]
    jmp 1b
2:
    ret

open_a20:
    mov ax, 0x2401
    int 0x15
    in al, 0x92
    test al, 2
    jnz 1f
    or al, 2
    and al, 0xfe
    out 0x92, al
1:
    ret

/* Reads AX sectors of 512 bytes from sector ESI on to the segment of the packet. */
read:
    pushad
    push es
    mov cl, byte ptr [shift]
    mov edx, 1
    shl edx, cl
    dec edx
    test esi, edx
    mov bx, offset bad_table
    jnz fail
    shr esi, cl
    add ax, dx
    shr ax, cl
    mov [packet_count], ax
    mov [packet_sector], esi
    mov word ptr [attempts], ATTEMPTS
1:
    mov ax, [packet_count]
    push ax
    mov ah, 0x42
    mov dl, byte ptr [drive]
    mov si, offset packet
    int 0x13
    pop ax
    jnc 2f
    mov [packet_count], ax
    xor ah, ah
    mov dl, byte ptr [drive]
    int 0x13
    dec word ptr [attempts]
    mov bx, offset unreadable
    jz fail
    jmp 1b
2:
    pop es
    popad
    ret

/*
 * Loads ECX bytes to the address EDI: what begins EDX sectors of 512 bytes behind sector ESI. A drive with larger sectors
 * is read from the start of one.
 */
load:
    mov word ptr [packet_segment], BUFFER
    mov eax, edx
    push ecx
    mov cl, byte ptr [shift]
    mov ebx, 1
    shl ebx, cl
    pop ecx
    dec ebx
    and eax, ebx /* sectors to leave out at the start of the first read */
    sub edx, eax
    add esi, edx
1:
    push eax
    mov edx, ecx
    add edx, 511
    shr edx, 9
    add eax, edx
    cmp eax, CHUNK
    jbe 3f
    mov eax, CHUNK
3:
    call read
    pop eax
    mov ebx, CHUNK
    sub ebx, eax
    shl ebx, 9
    cmp ebx, ecx
    jbe 2f
    mov ebx, ecx
2:
    shl eax, 9
    add eax, BUFFER * 16
    call copy
    add edi, ebx
    add esi, CHUNK
    xor eax, eax
    sub ecx, ebx
    ja 1b
    ret

/* Copies EBX bytes from EAX to EDI, in protected mode, which reaches all of the memory. */
copy:
    pushad
    push ds
    push es
    cli
    lgdt [gdt_pointer]
    mov esi, eax
    mov ecx, ebx
    add ecx, 3
    shr ecx, 2
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 1f
1:
    mov bx, 8
    mov ds, bx
    mov es, bx
    addr32 rep movsd
    and al, 0xfe
    mov cr0, eax
    jmp 2f
2:
    sti
    pop es
    pop ds
    popad
    ret

/* Finds the highest place for the initramfs, by the firmware's map of the memory. EDI: its address. */
place_initramfs:
    mov ax, SETUP
    mov es, ax
    mov eax, es:[INITRD_ADDR_MAX]
    mov dword ptr [highest], eax
    xor ax, ax
    mov es, ax
    xor ebx, ebx
    mov dword ptr [initramfs_address], ebx
1:
    mov eax, 0xe820
    mov edx, 0x534d4150 /* "SMAP" */
    mov ecx, 20
    mov di, RANGE
    int 0x15
    jc 4f
    cmp eax, 0x534d4150
    jne 4f
    cmp dword ptr [RANGE + 16], 1 /* usable */
    jne 3f
    cmp dword ptr [RANGE + 4], 0 /* from 4 GiB on */
    jne 3f
    mov eax, dword ptr [RANGE]
    cmp eax, ONE_MIB
    jb 3f
    mov ecx, eax
    add ecx, dword ptr [RANGE + 8]
    jc 2f
    cmp dword ptr [RANGE + 12], 0
    jne 2f
    cmp ecx, dword ptr [highest]
    jbe 5f
2:
    mov ecx, dword ptr [highest]
5:
    sub ecx, [initramfs_length]
    jb 3f
    and ecx, 0xfffff000
    cmp ecx, eax
    jb 3f
    cmp ecx, dword ptr [initramfs_address]
    jbe 3f
    mov dword ptr [initramfs_address], ecx
3:
    test ebx, ebx
    jnz 1b
4:
    mov edi, dword ptr [initramfs_address]
    test edi, edi
    mov bx, offset no_memory
    jz fail
    ret

/* Says why, on the screen and on the first serial port, and stops. BX: the reason. */
fail:
    xor ax, ax
    mov ds, ax
    push bx
    mov si, offset name
    call say
    pop si
    call say
1:
    hlt
    jmp 1b

say:
    lodsb
    test al, al
    jz 3f
    push ax
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    mov dx, 0x3fd
    mov cx, 0xffff
1:
    in al, dx
    test al, 0x20
    loopz 1b
    pop ax
    mov dx, 0x3f8
    out dx, al
    jmp say
3:
    ret

name: .asciz "NodeOS: "
no_kernel: .asciz "no kernel where the table says\r\n"
bad_table: .asciz "the table does not fit this drive\r\n"
unreadable: .asciz "the BIOS cannot read the drive\r\n"
no_memory: .asciz "too little memory for the initramfs\r\n"

gdt: /* The first descriptor is never used: it has room for the pointer to the table. */
gdt_pointer:
    .word 15
    .long gdt
    .word 0
    .quad 0x00cf92000000ffff /* data: all of 4 GiB */

packet:
    .byte 16, 0
packet_count: .word 0
    .word 0
packet_segment: .word 0
packet_sector: .quad 0

/* The table. Sectors of 512 bytes, and bytes. */
    .org 1024 - 16
kernel_sector: .long 0
kernel_length: .long 0
initramfs_sector: .long 0
initramfs_length: .long 0

/* A word that only QEMU's emulated processors get, then the command line: at most 1023 characters and a zero. */
    .org 1024
command_line:
    .org 2048
