// The bss, and the first translation tables.
//
//   TTBR1  root ─[510]─► level 2 ─[0,1]─► level 3, two tables in a row: the image, page by page
//   TTBR0  level 0 ─► level 1 ─► level 2 ─► level 3 ─► one page: the code that turns the MMU on
//
// In assembly, because it runs where the image was loaded and not where compiled code is linked to run. The
// descriptors' bits are the format's, from graft-paging.
//
// The kernel goes on with the same TTBR1 root (kernel_map.rs): what it maps later goes into entries that are still
// invalid, so no valid descriptor of the kernel's ever changes and there is nothing to break before
// making (Arm ARM, "Using break-before-make when updating translation table entries").
//
// Caches. The MMU is off, so these stores bypass the data cache and land in memory. Two things could
// hide them later: a dirty line that firmware left behind, written back on top of them, and a clean
// line with the old content, found by the cacheable table walk. Hence the bss is invalidated by
// address to the point of coherency before the first store and once more after the last. The rest of
// the image is clean to that point by the boot protocol. QEMU has no caches and shows none of this.

.section .bss.tables, "aw", %nobits
.balign 4096
.global KERNEL_ROOT
KERNEL_ROOT:            .skip 4096
image_level_2:          .skip 4096
image_level_3:          .skip 2 * 4096
.global EMPTY_ROOT
EMPTY_ROOT:             .skip 4096      // TTBR0 when there is no user space: nothing is valid
identity_level_0:       .skip 4096
identity_level_1:       .skip 4096
identity_level_2:       .skip 4096
identity_level_3:       .skip 4096

.section .text.boot, "ax"

// x30 kept in x29: there is no stack yet.
clear_bss:
        mov     x29, x30
        adrp    x0, __bss_start
        adrp    x1, __image_end
        bl      invalidate_range
        adrp    x0, __bss_start
1:      stp     xzr, xzr, [x0], #16
        cmp     x0, x1
        b.lo    1b
        ret     x29

build_first_tables:
        mov     x29, x30

        adrp    x0, KERNEL_ROOT
        adrp    x1, image_level_2
        orr     x2, x1, #{TABLE}
        str     x2, [x0, #(510 * 8)]
        adrp    x0, image_level_3
        orr     x2, x0, #{TABLE}
        str     x2, [x1]
        add     x2, x2, #4096
        str     x2, [x1, #8]

        // x0: next descriptor, x1: next physical address, x2: end of the part, x3: its attributes
        adrp    x1, __image_start
        adrp    x2, __text_end
        ldr     x3, ={TEXT}
        bl      map_pages
        adrp    x2, __rodata_end
        ldr     x3, ={READ_ONLY}
        bl      map_pages
        adrp    x2, __image_end
        ldr     x3, ={READ_WRITE}
        bl      map_pages

        adrp    x4, mmu_switch          // the page to map at its physical address
        adrp    x0, identity_level_0
        adrp    x1, identity_level_1
        ubfx    x3, x4, #39, #9
        orr     x2, x1, #{TABLE}
        str     x2, [x0, x3, lsl #3]
        adrp    x0, identity_level_2
        ubfx    x3, x4, #30, #9
        orr     x2, x0, #{TABLE}
        str     x2, [x1, x3, lsl #3]
        adrp    x1, identity_level_3
        ubfx    x3, x4, #21, #9
        orr     x2, x1, #{TABLE}
        str     x2, [x0, x3, lsl #3]
        ubfx    x3, x4, #12, #9
        ldr     x2, ={TEXT}
        orr     x2, x2, x4
        str     x2, [x1, x3, lsl #3]

        adrp    x0, __bss_start
        adrp    x1, __image_end
        bl      invalidate_range
        ret     x29

map_pages:
        cmp     x1, x2
        b.hs    1f
        orr     x4, x1, x3
        str     x4, [x0], #8
        add     x1, x1, #4096
        b       map_pages
1:      ret

// Invalidates [x0, x1) in the data caches to the point of coherency. Both are multiples of the page
// size, so no line is shared with a neighbour that would lose a store.
invalidate_range:
        dmb     sy                      // the stores above come first
        mrs     x2, ctr_el0
        ubfx    x2, x2, #16, #4         // DminLine: log2 of the smallest line in words
        mov     x3, #4
        lsl     x2, x3, x2
1:      dc      ivac, x0
        add     x0, x0, x2
        cmp     x0, x1
        b.lo    1b
        dsb     sy
        ret
        .ltorg
