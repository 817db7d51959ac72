/*
 * First stage: the code in the first sector of a disk (at most 440 bytes; the partition table follows). It loads the
 * second stage to where it also is when firmware starts it from a CD, and jumps to it.
 *
 *     0x0600  this code, moved away from 0x7c00
 *     0x7c00  the second stage
 *
 * INT 13h extensions: "BIOS Enhanced Disk Drive Services 3.0".
 */
    .intel_syntax noprefix
    .code16
    .section .text
    .globl _start

    .set HERE, 0x600
    .set SECOND, 0x7c00
    .set ATTEMPTS, 3

_start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, SECOND
    sti
    cld
    mov si, SECOND
    mov di, HERE
    mov cx, 256
    rep movsw
    /* A jump to an absolute address: this code is linked for HERE, and runs at SECOND until here. */
    .byte 0xea
    .word moved, 0
moved:
    mov bp, ATTEMPTS
again:
    mov ah, 0x42
    mov si, offset packet
    push dx
    int 0x13
    pop dx
    jnc loaded
    xor ah, ah
    int 0x13
    dec bp
    jnz again
    mov si, offset unreadable
    jmp stop
loaded:
    cmp dword ptr [SECOND + 4], 0x32736f6e /* "nos2" */
    mov si, offset missing
    jne stop
    .byte 0xea
    .word SECOND, 0

stop:
    lodsb
    test al, al
    jz halt
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    jmp stop
halt:
    hlt
    jmp halt

unreadable: .asciz "NodeOS: the BIOS cannot read the boot loader\r\n"
missing: .asciz "NodeOS: the boot loader is not where it should be\r\n"

/* Disk address packet. The sector is patched by layout.ts. */
    .org 400
packet:
    .byte 16, 0
    .word 4
    .word SECOND, 0
    .quad 0
    .org 440
