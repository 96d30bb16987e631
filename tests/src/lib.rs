//! Boots Graft in QEMU and judges it.
