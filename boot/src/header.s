// The arm64 Image header, by which a boot loader recognises a kernel.
//
// Layout: Linux, Documentation/arch/arm64/booting.rst, "Call the kernel image". QEMU, the Pi's
// firmware and U-Boot all read it. It asks to be put at a multiple of 2 MiB; the code behind it needs
// a multiple of 4 KiB only.

.section .text.header, "ax"
.global _start
_start:
        b       primary_entry           // code0
        .word   0                       // code1
        .quad   0                       // text_offset: from a multiple of 2 MiB
        .quad   __image_size            // image_size, bss included
        .quad   0xA                     // flags: little-endian, 4 KiB pages, anywhere in memory
        .quad   0, 0, 0                 // reserved
        .ascii  "ARM\x64"               // magic
        .word   0                       // no PE header
