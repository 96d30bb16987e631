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
1:      dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
        dc      zva, x0
        add     x0, x0, #64
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
1:      ldp     q0, q1, [x1]
        ldp     q2, q3, [x1, #32]
        stp     q0, q1, [x0]
        stp     q2, q3, [x0, #32]
        ldp     q0, q1, [x1, #64]
        ldp     q2, q3, [x1, #96]
        stp     q0, q1, [x0, #64]
        stp     q2, q3, [x0, #96]
        ldp     q0, q1, [x1, #128]
        ldp     q2, q3, [x1, #160]
        stp     q0, q1, [x0, #128]
        stp     q2, q3, [x0, #160]
        ldp     q0, q1, [x1, #192]
        ldp     q2, q3, [x1, #224]
        stp     q0, q1, [x0, #192]
        stp     q2, q3, [x0, #224]
        add     x1, x1, #256
        add     x0, x0, #256
        cmp     x1, x2
        b.lo    1b
        ldp     q2, q3, [sp, #32]
        ldp     q0, q1, [sp], #64
        ret
.arch_extension nosimd

.section .text.probe, "ax"
.global probe
.global probe_instruction
// x0: an address. Returns its 32 bits, or -1 if nothing is there: fault.rs knows the instruction.
probe:
        mov     x1, x0
probe_instruction:
        ldr     w0, [x1]
        ret
