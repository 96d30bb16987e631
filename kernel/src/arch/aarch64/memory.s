// Whole pages.

.section .text.zero_page, "ax"
.balign 64
.global zero_page
// x0: the page. DC ZVA zeroes a block without reading it first; where it is prohibited, stores do.
zero_page:
        add     x2, x0, #4096
        mrs     x1, dczid_el0
        tbnz    x1, #4, 2f              // DZP
        mov     x3, #4
        and     x1, x1, #0xF
        lsl     x1, x3, x1              // bytes in a block
        cmp     x1, #64
        b.ne    3f
1:      .rept 32
        dc      zva, x0
        add     x0, x0, #64
        .endr
        cmp     x0, x2
        b.lo    1b
        ret
2:      stp     xzr, xzr, [x0], #16
        cmp     x0, x2
        b.lo    2b
        ret
3:      dc      zva, x0
        add     x0, x0, x1
        cmp     x0, x2
        b.lo    3b
        ret

.section .text.copy_page, "ax"
.balign 64
.global copy_page
// x0: to, x1: from. The SIMD registers hold some thread's values: those used are put back.
.arch_extension simd
copy_page:
        stp     q0, q1, [sp, #-64]!
        stp     q2, q3, [sp, #32]
        add     x2, x1, #4096
1:      .irp    line, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960
        ldp     q0, q1, [x1, #\line]
        ldp     q2, q3, [x1, #\line + 32]
        stp     q0, q1, [x0, #\line]
        stp     q2, q3, [x0, #\line + 32]
        .endr
        add     x1, x1, #1024
        add     x0, x0, #1024
        cmp     x1, x2
        b.lo    1b
        ldp     q2, q3, [sp, #32]
        ldp     q0, q1, [sp], #64
        ret
.arch_extension nosimd

.section .text.memcpy, "ax"
.balign 64
.global memcpy
// x0: to, x1: from, x2: bytes. Answers with x0. What the compiler calls to move a structure; the one that
// comes with it takes five instructions for eight bytes. Neither side need be aligned: ordinary memory permits unaligned accesses.
memcpy:
        mov     x3, x0
        subs    x2, x2, #64
        b.lo    2f
1:      ldp     x4, x5, [x1]
        ldp     x6, x7, [x1, #16]
        ldp     x8, x9, [x1, #32]
        ldp     x10, x11, [x1, #48]
        add     x1, x1, #64
        stp     x4, x5, [x3]
        stp     x6, x7, [x3, #16]
        stp     x8, x9, [x3, #32]
        stp     x10, x11, [x3, #48]
        add     x3, x3, #64
        subs    x2, x2, #64
        b.hs    1b
2:      tbz     x2, #5, 3f              // the low six bits of x2 are the bytes left
        ldp     x4, x5, [x1], #16
        ldp     x6, x7, [x1], #16
        stp     x4, x5, [x3], #16
        stp     x6, x7, [x3], #16
3:      tbz     x2, #4, 4f
        ldp     x4, x5, [x1], #16
        stp     x4, x5, [x3], #16
4:      tbz     x2, #3, 5f
        ldr     x4, [x1], #8
        str     x4, [x3], #8
5:      tbz     x2, #2, 6f
        ldr     w4, [x1], #4
        str     w4, [x3], #4
6:      tbz     x2, #1, 7f
        ldrh    w4, [x1], #2
        strh    w4, [x3], #2
7:      tbz     x2, #0, 8f
        ldrb    w4, [x1]
        strb    w4, [x3]
8:      ret

.section .text.memset, "ax"
.balign 64
.global memset
// x0: to, w1: the byte, x2: bytes. Answers with x0. As memcpy.
memset:
        and     x4, x1, #0xFF
        orr     x4, x4, x4, lsl #8
        orr     x4, x4, x4, lsl #16
        orr     x4, x4, x4, lsl #32
        mov     x3, x0
        subs    x2, x2, #64
        b.lo    2f
1:      stp     x4, x4, [x3]
        stp     x4, x4, [x3, #16]
        stp     x4, x4, [x3, #32]
        stp     x4, x4, [x3, #48]
        add     x3, x3, #64
        subs    x2, x2, #64
        b.hs    1b
2:      tbz     x2, #5, 3f
        stp     x4, x4, [x3], #16
        stp     x4, x4, [x3], #16
3:      tbz     x2, #4, 4f
        stp     x4, x4, [x3], #16
4:      tbz     x2, #3, 5f
        str     x4, [x3], #8
5:      tbz     x2, #2, 6f
        str     w4, [x3], #4
6:      tbz     x2, #1, 7f
        strh    w4, [x3], #2
7:      tbz     x2, #0, 8f
        strb    w4, [x3]
8:      ret

.section .text.probe, "ax"
.global probe
.global probe_instruction
// x0: an address. Returns its 32 bits, or -1 if nothing is there: fault.rs knows the instruction.
probe:
        mov     x1, x0
probe_instruction:
        ldr     w0, [x1]
        ret
