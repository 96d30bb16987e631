// From the exception level at which the loader left the core to EL1, on the first core and on all others.
//
// The Pi's firmware and QEMU's raspi4b enter at EL2, QEMU's virt at EL1 or EL2; EL3 is what is left
// when there is no firmware at all.

.section .text.boot, "ax"

// The first core. x0: physical address of the device tree. MMU and data cache off, DAIF masked.
primary_entry:
        mov     x20, x0                 // kept in x20: the device tree
        adrp    x21, __image_start      // kept in x21: where the image is
        mrs     x0, CurrentEL
        cmp     x0, #(3 << 2)           // at EL3 there is no firmware that held the other cores back
        b.ne    1f
        mrs     x0, mpidr_el1
        tst     x0, #0xFFFFFF
        b.ne    park
1:      bl      drop_to_el1
        bl      sign_of_life
        bl      clear_bss
        bl      build_first_tables
        adr     x23, primary_high       // both kept for enable_mmu: where to go on
        b       enable_mmu

// One character, before anything else can go wrong. Which UART is likely, the kernel's board files say:
// with the image loaded below the first address in their table the second entry, else the third. On a
// board that is neither the store may fault, and is then skipped.
sign_of_life:
        adr     x0, skip_vectors
        msr     vbar_el1, x0
        isb
        adrp    x0, EARLY_CONSOLES
        add     x0, x0, :lo12:EARLY_CONSOLES
        ldp     x1, x2, [x0]
        ldr     x3, [x0, #16]
        cmp     x21, x1
        csel    x2, x2, x3, lo
        mov     w0, #'G'
        str     w0, [x2]
        dsb     sy
        ret

// Vectors of which only the one for a synchronous exception from EL1 is ever used.
.balign 2048
skip_vectors:
        .skip   0x200
        mrs     x0, elr_el1
        add     x0, x0, #4
        msr     elr_el1, x0
        eret

// Every other core, woken by PSCI or through the spin table.
.global secondary_entry
secondary_entry:
        bl      drop_to_el1
        adrp    x21, __image_start
        adr     x23, secondary_high
        b       enable_mmu

// SCTLR_EL1 with MMU and caches off, little-endian, every RES1 bit of Armv8.0 set. Its reset value is
// architecturally UNKNOWN, and translation must not be on when ERET arrives at EL1.
.set    SCTLR_OFF, 0x30D00800

// Returns at EL1 with the stack pointer of EL1 selected and DAIF masked.
drop_to_el1:
        mrs     x0, CurrentEL
        cmp     x0, #(2 << 2)
        b.hi    from_el3
        b.eq    from_el2
        ldr     x0, =SCTLR_OFF
        msr     sctlr_el1, x0
        msr     spsel, #1
        msr     daifset, #0xF
        isb
        ret

from_el2:
        // EL1 is AArch64. The pointer-authentication traps (APK, API) are off; on Armv8.0 these bits
        // are RES0. E2H and TGE are 0: no host extensions.
        //
        // Firmware or a hypervisor may have run with E2H set. While it is, the name SCTLR_EL1 means
        // SCTLR_EL2 at EL2, and CPTR_EL2 and CNTHCTL_EL2 have another layout (Arm ARM, "System and
        // Special-purpose register aliasing when FEAT_VHE is implemented", and HCR_EL2.E2H): so E2H
        // comes first, then a context synchronisation event, then everything that depends on it.
        mov     x0, #(1 << 31)
        orr     x0, x0, #(3 << 40)
        msr     hcr_el2, x0
        isb
        // Without FEAT_E2H0 the bit is RES1 and stays set; EL1 is reached all the same.
        mrs     x0, hcr_el2
        tbnz    x0, #34, e2h_stays_set
        ldr     x0, =SCTLR_OFF
        msr     sctlr_el1, x0
        mov     x0, #0x33FF             // CPTR_EL2: no traps of floating point, RES1 bits set
        msr     cptr_el2, x0
        mov     x0, #3                  // CNTHCTL_EL2: EL1PCTEN and EL1PCEN, no traps of the timer
        msr     cnthctl_el2, x0
        b       1f
e2h_stays_set:
        ldr     x0, =SCTLR_OFF
        msr     S3_5_C1_C0_0, x0        // SCTLR_EL12: what EL1 calls SCTLR_EL1
        mov     x0, #(3 << 20)          // CPTR_EL2.FPEN
        msr     cptr_el2, x0
        mov     x0, #(3 << 10)          // CNTHCTL_EL2: EL1PCTEN and EL1PTEN
        msr     cnthctl_el2, x0
1:      msr     hstr_el2, xzr
        mrs     x0, id_aa64dfr0_el1     // MDCR_EL2: no debug traps; all event counters belong to EL1
        ubfx    x0, x0, #8, #4          // PMUVer: 0 and 15 mean that PMCR_EL0 does not exist
        sub     x1, x0, #1
        cmp     x1, #14
        mov     x0, xzr
        b.hs    1f
        mrs     x0, pmcr_el0
        ubfx    x0, x0, #11, #5         // HPMN = N
1:      msr     mdcr_el2, x0
        msr     cntvoff_el2, xzr
        msr     vttbr_el2, xzr
        mrs     x0, midr_el1            // EL1 sees the true identification
        msr     vpidr_el2, x0
        mrs     x0, mpidr_el1
        msr     vmpidr_el2, x0
        mrs     x0, id_aa64pfr0_el1     // GICv3: system registers for EL2 and EL1
        tst     x0, #(0xF << 24)
        b.eq    2f
        mov     x0, #0xF                // ICC_SRE_EL2: SRE, no bypass, Enable
        msr     S3_4_C12_C9_5, x0
        isb
        msr     S3_4_C12_C11_0, xzr     // ICH_HCR_EL2: no virtual interface
2:      mrs     x0, id_aa64mmfr0_el1    // fine-grained traps, where they exist, are off
        lsr     x0, x0, #56
        tst     x0, #0xF
        b.eq    3f
        msr     S3_4_C1_C1_4, xzr       // HFGRTR_EL2
        msr     S3_4_C1_C1_5, xzr       // HFGWTR_EL2
        msr     S3_4_C1_C1_6, xzr       // HFGITR_EL2
        msr     S3_4_C3_C1_4, xzr       // HDFGRTR_EL2
        msr     S3_4_C3_C1_5, xzr       // HDFGWTR_EL2
3:      mov     x0, #0x3C5              // SPSR: EL1 with its own stack pointer, DAIF masked
        msr     spsr_el2, x0
        msr     elr_el2, x30
        eret

from_el3:
        ldr     x0, =SCTLR_OFF
        msr     sctlr_el1, x0           // at EL3 the name means the register of EL1
        // Without firmware the interrupts have not been moved to the non-secure group, which only the
        // secure state can do. So the core stays secure, where all of them are group 0, which the GICv2
        // driver's plain registers then mean. RW, ST, APK and API: EL1 is AArch64, owns its timer and
        // its pointer-authentication keys.
        mov     x0, #0x30
        orr     x0, x0, #(1 << 10)
        orr     x0, x0, #(1 << 11)
        orr     x0, x0, #(3 << 16)
        msr     scr_el3, x0
        msr     cptr_el3, xzr
        msr     mdcr_el3, xzr
        mrs     x0, midr_el1            // Cortex-A53, A57, A72 and A73 join the coherent domain
        ubfx    x1, x0, #4, #12         // only with CPUECTLR_EL1.SMPEN, and only before the caches
        lsr     x0, x0, #24             // are on (Cortex-A72 TRM, "CPU Extended Control Register")
        cmp     x0, #0x41
        b.ne    4f
        mov     x0, #0xD03
        cmp     x1, x0
        mov     x0, #0xD07
        ccmp    x1, x0, #4, ne
        mov     x0, #0xD08
        ccmp    x1, x0, #4, ne
        mov     x0, #0xD09
        ccmp    x1, x0, #4, ne
        b.ne    4f
        mrs     x0, S3_1_C15_C2_1
        orr     x0, x0, #(1 << 6)
        msr     S3_1_C15_C2_1, x0
        isb
4:      mrs     x0, id_aa64pfr0_el1
        tst     x0, #(0xF << 24)
        b.eq    5f
        mov     x0, #0xF                // ICC_SRE_EL3
        msr     S3_6_C12_C12_5, x0
        isb
5:      mov     x0, #0x3C5
        msr     spsr_el3, x0
        msr     elr_el3, x30
        eret
        .ltorg
