/*
 * Second stage: chooses a slot, loads Linux and its initramfs by the Linux boot protocol, and starts it. It knows no
 * filesystem: the state of the disk (boot-state.ts) says where the slots are, and the head of a slot (slot-head.ts)
 * where the bytes in it are. Started by the first stage from a disk, and by the firmware itself from a CD (El Torito, no
 * emulation). DL is the drive in both cases. efi/slot.h decides by the same rules.
 *
 *     0x00600  drive parameters
 *     0x00700  a range of memory, variables
 *     0x01000  head of the slot
 *     0x02000  both copies of the state, 4 KiB each: a drive may have sectors of that size
 *     0x07c00  this code (2 KiB)
 *     0x10000  real-mode part of the kernel, its stack and its command line
 *     0x20000  buffer for reads
 *     1 MiB    protected-mode part of the kernel
 *     …        initramfs, as high as the kernel allows
 *
 * https://docs.kernel.org/arch/x86/boot.html
 * INT 13h extensions: "BIOS Enhanced Disk Drive Services 3.0". INT 15h, E820h: ACPI specification, chapter 15.
 */
#include "contract.h"

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
    .set slot, 0x731 /* 0 or 1 */
    .set untried, 0x732 /* slots */
    .set state, 0x734 /* the address of the one that counts */
    .set HEAD, 0x1000
    .set COPIES, 0x2000
    .set BLOCK, 0x1000 /* bytes of one */
    .set SETUP, 0x1000 /* segment */
    .set BUFFER, 0x2000 /* segment */
    .set HEAP_END, 0xde00
    .set STACK, 0xe000
    .set COMMAND_LINE, 0xe000
    .set CHUNK, 64 /* sectors of 512 bytes in one read: 32 KiB */
    .set ATTEMPTS, 3
    .set ONE_MIB, 0x100000
    .set READ, 0x4200
    .set WRITE, 0x4300

    /* The state, in sectors of 512 bytes on the disk. */
    .set FIRST_COPY, 48
    .set SECOND_COPY, 56
    .set STATE_MAGIC, 0x53736f6e /* "nosS" */
    .set SEQUENCE, 8
    .set SLOT, 12
    .set TRIES, 13
    .set VALIDATED, 14
    .set HEADS, 16
    .set STATE_SUM, 508

    /* The head of a slot. */
    .set HEAD_MAGIC, 0x48736f6e /* "nosH" */
    .set HEAD_SECTORS, 8
    .set HEAD_SUM, 4092
    .set kernel_sector, HEAD + 24
    .set kernel_length, HEAD + 28
    .set initramfs_sector, HEAD + 32
    .set initramfs_length, HEAD + 36
    .set is_slot, HEAD + 8
    .set command_line, HEAD + 64
    .set LAST_CHARACTER, command_line + 1023

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
    mov byte ptr [untried], 2
    call find_state
    call choose_slot

try_slot:
    mov di, word ptr [state]
    movzx bx, byte ptr [slot]
    shl bx, 2
    mov esi, dword ptr [bx + di + HEADS]
    mov bx, offset empty
    test esi, esi
    jz fail
    mov word ptr [packet_segment], HEAD / 16
    mov ax, HEAD_SECTORS
    call read
    mov di, HEAD
    mov eax, HEAD_MAGIC
    mov cx, HEAD_SUM
    call is_intact
    mov bx, offset broken
    jne fail
    add dword ptr [kernel_sector], esi
    add dword ptr [initramfs_sector], esi

    /* The real-mode part: as many sectors as its first one says. */
    mov esi, dword ptr [kernel_sector]
    mov ecx, dword ptr [kernel_length]
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
    mov esi, dword ptr [initramfs_sector]
    mov ecx, dword ptr [initramfs_length]
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
    mov eax, dword ptr [initramfs_length]
    mov es:[RAMDISK_SIZE], eax
    mov di, COMMAND_LINE
    mov eax, 0x40000000
    cpuid /* which hypervisor this is, and on a real processor something else */
    mov si, offset emulated
    cmp ebx, 0x54474354 /* "TCGT" */
    jne 1f
    call append
1:
    mov si, offset command_line
    mov byte ptr [LAST_CHARACTER], 0
    call append
    test byte ptr [is_slot], 1
    jz 1f
    mov si, offset slot_word
    call append
    mov al, byte ptr [slot]
    add al, 'a'
    stosb
1:
    xor al, al
    stosb

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

/* Adds the text at SI to the command line at ES:DI. */
append:
    lodsb
    test al, al
    jz 1f
    stosb
    jmp append
1:
    ret

/* Reads both copies of the state. The newer one of those that are intact counts. */
find_state:
    mov word ptr [state], offset default_state
    mov di, COPIES
    mov esi, FIRST_COPY
1:
    mov ax, READ
    call move_copy
    jc 3f
    mov eax, STATE_MAGIC
    mov cx, STATE_SUM
    call is_intact
    jne 3f
    cmp byte ptr [di + SLOT], 1
    ja 3f
    mov bx, word ptr [state]
    cmp bx, offset default_state
    je 2f
    mov eax, dword ptr [di + SEQUENCE]
    sub eax, dword ptr [bx + SEQUENCE]
    jz 3f
    js 3f /* the sign of the difference: the sequence may have begun again at 0 */
2:
    mov word ptr [state], di
3:
    add di, BLOCK
    add esi, SECOND_COPY - FIRST_COPY
    cmp esi, SECOND_COPY
    jbe 1b
    ret

/* Sets the slot to start first, and counts the try if nobody has validated it. */
choose_slot:
    mov di, word ptr [state]
    movzx bx, byte ptr [di + SLOT]
    mov byte ptr [slot], bl
    mov si, offset no_state
    cmp di, offset default_state
    je warn
    bt word ptr [di + VALIDATED], bx
    jc 4f
    sub byte ptr [di + TRIES], 1
    jnc 1f
    inc byte ptr [di + TRIES]
    xor bl, 1
    push bx
    shl bx, 2
    cmp dword ptr [bx + di + HEADS], 0
    pop bx
    mov si, offset no_tries
    je warn
    mov byte ptr [di + SLOT], bl
    mov byte ptr [slot], bl
1:
    inc dword ptr [di + SEQUENCE]
    mov cx, STATE_SUM
    call crc
    mov dword ptr [di + STATE_SUM], eax
    mov esi, SECOND_COPY
    cmp di, COPIES
    je 2f
    mov esi, FIRST_COPY
2:
    mov ax, WRITE
    call move_copy
    jnc 4f
    /* Uncounted tries would never end: a slot that works goes first. */
    movzx bx, byte ptr [slot]
    xor bl, 1
    bt word ptr [di + VALIDATED], bx
    jnc 3f
    mov byte ptr [slot], bl
3:
    mov si, offset read_only
    jmp warn
4:
    ret

/* Reads or writes (AX) the copy of the state at DI, whose place on the drive is sector ESI. Sets the carry if it fails. */
move_copy:
    mov bx, di
    shr bx, 4
    mov word ptr [packet_segment], bx
    mov bx, 1
    jmp transfer

/*
 * Clears the zero flag unless the table at DI begins with the word EAX and the version 1, and has its checksum behind CX
 * bytes.
 */
is_intact:
    cmp dword ptr [di], eax
    jne 1f
    cmp dword ptr [di + 4], 1
    jne 1f
    push cx
    call crc
    pop bx
    cmp dword ptr [bx + di], eax
1:
    ret

/* Returns the CRC-32 of CX bytes at DI in EAX. */
crc:
    mov bx, di
    or eax, -1
1:
    xor al, byte ptr [bx]
    inc bx
    mov dl, 8
2:
    shr eax, 1
    jnc 3f
    xor eax, 0xedb88320
3:
    dec dl
    jnz 2b
    loop 1b
    not eax
    ret

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
    push bx
    mov bx, ax
    mov ax, READ
    call transfer
    pop bx
    jnc 1f
    mov bx, offset unreadable
    jmp fail
1:
    ret

/* The same for BX sectors, or a write, by AX. Sets the carry if it fails. */
transfer:
    pushad
    push es
    mov cl, byte ptr [shift]
    mov edx, 1
    shl edx, cl
    dec edx
    test esi, edx
    jnz 4f
    shr esi, cl
    add bx, dx
    shr bx, cl
    mov [packet_sector], esi
    mov word ptr [attempts], ATTEMPTS
1:
    push ax
    mov [packet_count], bx
    mov dl, byte ptr [drive]
    mov si, offset packet
    int 0x13
    pop ax
    jnc 3f
    push ax
    xor ah, ah
    mov dl, byte ptr [drive]
    int 0x13
    pop ax
    dec word ptr [attempts]
    jnz 1b
2:
    stc
3:
    pop es
    popad
    ret
4:
    mov bx, offset bad_table
    jmp fail

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
    sub ecx, dword ptr [initramfs_length]
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

/* Says why this slot does not start, and goes on with the other one. BX: the reason. */
fail:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov sp, HERE
    mov si, bx
    call warn
    xor byte ptr [slot], 1
    dec byte ptr [untried]
    jnz try_slot
1:
    hlt
    jmp 1b

/* Says what is at SI of this slot, on the screen and on the first serial port. */
warn:
    mov al, byte ptr [slot]
    add al, 'a'
    mov byte ptr [letter], al
    push si
    mov si, offset name
    call say
    pop si
    call say
    mov si, offset line_end
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

name: .ascii "NodeOS: slot "
letter: .asciz "a: "
line_end: .asciz "\r\n"
no_state: .asciz "the default, since both copies of the state are broken"
no_tries: .asciz "no tries are left, and the other slot is empty"
read_only: .asciz "the drive does not take the number of tries"
empty: .asciz "it is empty"
broken: .asciz "its head is broken"
no_kernel: .asciz "no kernel where the table says"
bad_table: .asciz "the table does not fit this drive"
unreadable: .asciz "the BIOS cannot read the drive"
no_memory: .asciz "too little memory for the initramfs"

emulated: .asciz "no_timer_check " /* only for processors that QEMU emulates: on a busy host their timer may be late */
slot_word: .asciz " " WORD_SLOT "="

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

/* The start of a state, which counts if both copies are broken. The build fills it in. */
    .org 2048 - 24
default_state:
    .org 2048
