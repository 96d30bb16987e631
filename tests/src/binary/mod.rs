//! What a program or kernel file holds: its headers, its symbols, its machine code.

pub mod barriers;
pub mod elf;
pub mod flat;
pub mod symbols;
