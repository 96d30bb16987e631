// Caches and MMU on, and the jump to the upper half.

.set    TCR, (16 << 0) | (1 << 8) | (1 << 10) | (3 << 12) | (25 << 16) | (1 << 24) | (1 << 26) | (3 << 28) | (2 << 30)

// SCTLR_EL1: what is RES1 in Armv8.0; M, C, I; stack alignment checked at both levels (SA, SA0); EL0 may
// zero and clean cache lines, read CTR_EL0 and wait (DZE, UCI, UCT, nTWI, nTWE); WXN: writable memory
// is never executable, whatever its descriptor says.
.set    SCTLR, 0x30D00800 | 0x1005 | 0x18 | (1 << 14) | (1 << 15) | (1 << 16) | (1 << 18) | (1 << 19) | (1 << 26)

.section .text.boot, "ax"

// x21: physical address of the image. x23: where to go on, as a physical address.
enable_mmu:
        // TCR_EL1: user half 48 bits, kernel half 39; walks inner-shareable, write-back, allocating, as
        // the tables themselves are mapped; 4 KiB granules both. HPD0 and HPD1 stay 0: the hierarchical
        // permissions must count, they are what fork is built on. HA and HD stay 0: not every core has
        // them, so access flags are set in advance.
        ldr     x0, =TCR
        mrs     x1, id_aa64mmfr0_el1
        and     x2, x1, #0xF            // PARange goes to IPS; 52 bits need descriptors we do not use
        cmp     x2, #5
        mov     x3, #5
        csel    x2, x2, x3, lo
        bfi     x0, x2, #32, #3
        ubfx    x2, x1, #4, #4          // ASIDBits: 2 means that there are 16
        cmp     x2, #2
        cset    x2, eq
        bfi     x0, x2, #36, #1         // AS
        msr     tcr_el1, x0
        ldr     x0, ={MAIR}
        msr     mair_el1, x0

        adrp    x0, identity_level_0
        adrp    x1, KERNEL_ROOT
        adrp    x24, EMPTY_ROOT         // kept for leave_identity_map
        msr     ttbr0_el1, x0
        msr     ttbr1_el1, x1

        // Writes to system registers are seen by what follows a context synchronisation event, not sooner
        // (Arm ARM, "Synchronization requirements for AArch64 System registers"): TCR, MAIR and both TTBRs
        // must be in place before any walk can start. What this core's TLBs and instruction caches may
        // hold comes from before the kernel, so it is invalidated.
        isb
        tlbi    vmalle1
        ic      iallu
        dsb     nsh
        isb

        ldr     x2, =__image_start      // the only absolute address: the one linked for
        sub     x3, x23, x21
        add     x3, x3, x2
        ldr     x0, =SCTLR
        b       mmu_switch

// Mapped at its physical address as well, so that the instruction after MMU-on is found by either
// route. It must lie within one page: it is shorter than its alignment.
.balign 32
mmu_switch:
        msr     sctlr_el1, x0           // until the ISB, fetched either way: the same instructions
        isb                             // from here on translated, and cached
        br      x3

primary_high:
        bl      leave_identity_map
        adrp    x0, boot_stack_top
        add     sp, x0, :lo12:boot_stack_top
        mov     x29, xzr                // the backtrace ends here
        mov     x30, xzr
        mov     x0, x20
        mov     x1, x21
        b       kernel_main

secondary_high:
        bl      leave_identity_map
        // `Indices::claim` of cores.rs: the entry that offers an index to this core becomes its own, unless the
        // offer is withdrawn in the same moment.
        mrs     x1, mpidr_el1
        ldr     x2, ={AFFINITY_MASK}
        and     x1, x1, x2
        ldr     x2, ={OFFERED}
        orr     x3, x1, x2
        adrp    x2, CORE_INDICES
        add     x2, x2, :lo12:CORE_INDICES
        mov     x0, xzr
1:      ldaxr   x4, [x2]
        cmp     x4, x3
        b.ne    3f
        stlxr   w5, x1, [x2]
        cbz     w5, 2f
        b       1b
3:      clrex
        add     x2, x2, #8
        add     x0, x0, #1
        cmp     x0, #{MAX_CORES}
        b.lo    1b
        b       park                    // no index is offered to it, or the offer was withdrawn
2:      ldr     x2, ={STACKS_BASE}
        mov     x3, #{STACK_STRIDE}
        madd    x2, x0, x3, x2
        add     sp, x2, x3
        mov     x29, xzr
        mov     x30, xzr
        b       secondary_main

park:   wfe
        b       park

// TTBR0 to the empty table, and nothing left of the identity map. Its entries were only ever used by
// this core, so the invalidation is local.
leave_identity_map:
        msr     ttbr0_el1, x24
        isb
        tlbi    vmalle1
        dsb     nsh
        isb
        ret

.ltorg

.section .bss.boot_stack, "aw", %nobits
.balign 4096
        .skip   32768
boot_stack_top:
