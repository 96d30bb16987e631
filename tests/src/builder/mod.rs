//! From compiled programs to what boots: the kernel image, the archive, the Pi's boot partition and card.

pub mod archive;
pub mod card;
pub mod folder;
