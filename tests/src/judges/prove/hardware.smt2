; What the processors do, written from their manuals by bit number, and not from the code that is judged.
; `at` is the level, 0 the root; `d` a descriptor.

(define-sort Word () (_ BitVec 64))
(define-sort Byte () (_ BitVec 8))
(define-fun bit ((d Word) (number Word)) Bool (= ((_ extract 0 0) (bvlshr d number)) #b1))
(define-fun level ((at Byte)) Bool (bvult at #x04))
(define-fun last ((at Byte)) Bool (= at #x03))

; Arm ARM, "VMSAv8-64 translation table format descriptors", "Hierarchical control of data access permissions" and
; "Stage 1 data accesses using Direct permissions": AP[2:1] are bits 7 and 6, UXN bit 54; APTable[1:0] bits 62 and 61, UXNTable bit 60.
(define-fun aarch64.followed ((d Word) (at Byte)) Bool (and (bit d #x0000000000000000) (bit d #x0000000000000001)))
(define-fun aarch64.loads ((d Word) (at Byte)) Bool (ite (last at) (bit d #x0000000000000006) (not (bit d #x000000000000003d))))
(define-fun aarch64.stores ((d Word) (at Byte)) Bool
  (ite (last at) (and (bit d #x0000000000000006) (not (bit d #x0000000000000007)))
                 (and (not (bit d #x000000000000003e)) (not (bit d #x000000000000003d)))))
(define-fun aarch64.fetches ((d Word) (at Byte)) Bool
  (not (bit d (ite (last at) #x0000000000000036 #x000000000000003c))))
; The one bit that takes a store away and nothing else.
(define-fun aarch64.store-bit ((at Byte)) Word (ite (last at) #x0000000000000080 #x4000000000000000))
(define-fun aarch64.output-bits () Word #x0000fffffffff000)
; How a page must be mapped beside its permissions: AttrIndx 4:2 (0 Normal, 1 Device; MAIR_EL1), SH 9:8 inner shareable, AF 10, nG 11, PXN 53
; (the kernel never executes it), DBM 51 clear (hardware does not change it).
(define-fun aarch64.mapped ((d Word) (device Bool)) Bool
  (and (= ((_ extract 4 2) d) (ite device #b001 #b000)) (= ((_ extract 11 8) d) #xf) (bit d #x0000000000000035) (not (bit d #x0000000000000033))))
; Executed neither by the program nor by the kernel.
(define-fun aarch64.inert ((d Word)) Bool (and (bit d #x0000000000000035) (bit d #x0000000000000036)))
; A descriptor of the tree's own making: software's bits in order, and below a table nothing taken away but stores.
(define-fun aarch64.ours ((d Word) (at Byte)) Bool
  (and (aarch64.followed d at) (=> (not (last at)) (and (aarch64.loads d at) (aarch64.fetches d at)))))

; In the kernel's own map there are blocks, too: at levels 1 and 2 bit 1 tells a table from them, and at level 0 there is none.
; What of the address is a block's offset is no address: F.k-address. At EL1 AP[2] (7) takes stores and PXN (53) fetches
; away; AP[1] (6) gives EL0 access, and UXN (54) takes its fetches. nG (11) clear: the entry is of every address space.
(define-fun aarch64.k-leaf ((d Word) (at Byte)) Bool
  (and (bit d #x0000000000000000) (distinct at #x00) (= (bit d #x0000000000000001) (last at))))
(define-fun aarch64.k-table ((d Word) (at Byte)) Bool
  (and (bit d #x0000000000000000) (bit d #x0000000000000001) (not (last at))))
(define-fun aarch64.k-device ((d Word)) Bool (= ((_ extract 4 2) d) #b001))
(define-fun aarch64.k-stores ((d Word)) Bool (not (bit d #x0000000000000007)))
(define-fun aarch64.k-fetches ((d Word)) Bool (not (bit d #x0000000000000035)))
; Out of the user's reach, of a type that MAIR_EL1 has, inner shareable, accessed, global; no DBM (51), contiguous bit (52) or bits
; of software's.
(define-fun aarch64.k-ours ((d Word) (at Byte)) Bool
  (and (not (bit d #x0000000000000006)) (bit d #x0000000000000036) (= ((_ extract 11 8) d) #b0111)
    (= ((_ extract 5 5) d) #b0) (bvult ((_ extract 4 2) d) #b010) (= ((_ extract 52 48) d) #b00000) (= ((_ extract 63 55) d) #b000000000)))
; A table takes nothing away from what is below: 63 to 59 are clear.
(define-fun aarch64.k-open ((d Word)) Bool (= ((_ extract 63 59) d) #b00000))

; Intel SDM volume 3, "4-Level Paging" and "Determination of Access Rights": R/W is bit 1, U/S bit 2, PS bit 7, XD bit 63.
(define-fun x86_64.followed ((d Word) (at Byte)) Bool
  (and (bit d #x0000000000000000) (=> (not (last at)) (not (bit d #x0000000000000007)))))
(define-fun x86_64.loads ((d Word) (at Byte)) Bool (bit d #x0000000000000002))
(define-fun x86_64.stores ((d Word) (at Byte)) Bool (and (bit d #x0000000000000002) (bit d #x0000000000000001)))
(define-fun x86_64.fetches ((d Word) (at Byte)) Bool (and (bit d #x0000000000000002) (not (bit d #x000000000000003f))))
(define-fun x86_64.store-bit ((at Byte)) Word #x0000000000000002)
(define-fun x86_64.output-bits () Word #x000ffffffffff000)
; PWT 3 and PCD 4 (both: uncacheable), A 5, D 6, PAT 7, G 8.
(define-fun x86_64.mapped ((d Word) (device Bool)) Bool
  (and (= ((_ extract 4 3) d) (ite device #b11 #b00)) (= ((_ extract 8 5) d) #b0011)))
(define-fun x86_64.inert ((d Word)) Bool (bit d #x000000000000003f))
(define-fun x86_64.ours ((d Word) (at Byte)) Bool
  (and (x86_64.followed d at) (not (bit d #x0000000000000038)) (=> (not (last at)) (and (x86_64.loads d at) (x86_64.fetches d at)))))

; In the kernel's own map PS (7) at levels 1 and 2 makes a large page; at level 3 the bit is PAT, and at level 0 reserved.
; A clear U/S (2) at any level makes an address the supervisor's; with CR0.WP R/W (1) counts for it as well.
(define-fun x86_64.k-leaf ((d Word) (at Byte)) Bool
  (and (bit d #x0000000000000000) (distinct at #x00) (or (last at) (bit d #x0000000000000007))))
(define-fun x86_64.k-table ((d Word) (at Byte)) Bool
  (and (bit d #x0000000000000000) (not (last at)) (not (bit d #x0000000000000007))))
(define-fun x86_64.k-device ((d Word)) Bool (= ((_ extract 4 3) d) #b11))
(define-fun x86_64.k-stores ((d Word)) Bool (bit d #x0000000000000001))
(define-fun x86_64.k-fetches ((d Word)) Bool (not (bit d #x000000000000003f)))
; Out of the user's reach, of a type that the PAT has at reset for PCD and PWT alone, accessed, dirty, global (8); no bits of
; software's or of protection keys. PAT is 7 of a page, and of a large one 12, which is no bit of its address.
(define-fun x86_64.k-ours ((d Word) (at Byte)) Bool
  (and (not (bit d #x0000000000000002)) (or (= ((_ extract 4 3) d) #b00) (= ((_ extract 4 3) d) #b11)) (= ((_ extract 6 5) d) #b11)
    (bit d #x0000000000000008) (= ((_ extract 11 9) d) #b000) (= ((_ extract 62 52) d) #b00000000000)
    (=> (last at) (not (bit d #x0000000000000007)))))
(define-fun x86_64.k-open ((d Word)) Bool
  (and (bit d #x0000000000000001) (bit d #x0000000000000005) (not (bit d #x0000000000000002)) (not (bit d #x000000000000003f))))

; For both: the address bits of an entry that covers 2^(12 + 9 * (3 - level)) bytes.
(define-fun offset-bits ((at Byte)) Word
  (ite (= at #x00) #x0000007fffffffff (ite (= at #x01) #x000000003fffffff (ite (= at #x02) #x00000000001fffff #x0000000000000fff))))
(define-fun aarch64.k-address ((d Word) (at Byte)) Word (bvand d (bvand aarch64.output-bits (bvnot (offset-bits at)))))
(define-fun x86_64.k-address ((d Word) (at Byte)) Word (bvand d (bvand x86_64.output-bits (bvnot (offset-bits at)))))
