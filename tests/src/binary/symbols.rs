//! Names of the kernel's functions, put into its image for its backtraces.
//!
//! The kernel leaves room in the section `.symbols`; `kernel/src/symbols.rs` describes what belongs there.

use crate::binary::elf::Unfit;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Longer names say nothing more; generic ones can be hundreds of characters long.
const NAME_MAX: usize = 120;

/// Writes the names of the functions in `file` into the flat `image` made of it. A kernel without the section stays
/// as it is.
pub fn embed(file: &[u8], image: &mut [u8]) -> Result<(), Unfit> {
    let unfit = |reason: String| Unfit(reason);
    let parsed = object::File::parse(file).map_err(|error| unfit(format!("cannot be read: {error}")))?;
    let Some(room) = parsed.section_by_name(".symbols") else { return Ok(()) };
    let Some(base) = parsed.sections().map(|section| section.address()).filter(|&address| address != 0).min() else {
        return Err(unfit("has no sections in memory".into()));
    };

    let functions = functions(file, &[SymbolKind::Text])?.into_iter().filter(|(address, _)| *address >= base);
    let functions: Vec<_> = functions.map(|(address, name)| ((address - base) as u32, name)).collect();
    let table = table(&functions);
    let start = (room.address() - base) as usize;
    if table.len() as u64 > room.size() {
        return Err(unfit(format!(
            "needs {} bytes for the names of its functions; its section .symbols has {}",
            table.len(),
            room.size()
        )));
    }
    match image.get_mut(start..start + table.len()) {
        Some(place) => place.copy_from_slice(&table),
        None => return Err(unfit("has its section .symbols outside of the image".into())),
    }
    Ok(())
}

/// The symbols of these kinds in a file by address, names as they are in the source.
pub fn functions(file: &[u8], kinds: &[SymbolKind]) -> Result<Vec<(u64, String)>, Unfit> {
    let parsed = object::File::parse(file).map_err(|error| Unfit(format!("cannot be read: {error}")))?;
    let mut functions: Vec<_> = parsed
        .symbols()
        .filter(|symbol| kinds.contains(&symbol.kind()))
        .filter_map(|symbol| Some((symbol.address(), readable(symbol.name().ok()?))))
        // Marks of what is code and what is data (ELF for the Arm 64-bit Architecture, "Mapping symbols"), and local
        // labels.
        .filter(|(_, name)| !name.starts_with(['$', '.']))
        .collect();
    functions.sort();
    functions.dedup_by_key(|(address, _)| *address);
    Ok(functions)
}

/// The value of the symbol with this name.
pub fn address(file: &[u8], name: &str) -> Result<u64, Unfit> {
    let parsed = object::File::parse(file).map_err(|error| Unfit(format!("cannot be read: {error}")))?;
    let symbol = parsed.symbol_by_name(name).ok_or_else(|| Unfit(format!("has no symbol {name}")))?;
    Ok(symbol.address())
}

/// The name as it is written in the source, without the compiler's hash.
fn readable(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    name.chars().take(NAME_MAX).collect()
}

fn table(functions: &[(u32, String)]) -> Vec<u8> {
    let mut table = (functions.len() as u32).to_le_bytes().to_vec();
    let mut position = 4 + 8 * functions.len();
    for (offset, name) in functions {
        table.extend_from_slice(&offset.to_le_bytes());
        table.extend_from_slice(&(position as u32).to_le_bytes());
        position += name.len() + 1;
    }
    for (_, name) in functions {
        table.extend_from_slice(name.as_bytes());
        table.push(0);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_layout_that_the_kernel_reads() {
        let table = table(&[(0x10, "start".into()), (0x80, "main".into())]);
        let mut expected = Vec::new();
        for word in [2u32, 0x10, 20, 0x80, 26] {
            expected.extend_from_slice(&word.to_le_bytes());
        }
        expected.extend_from_slice(b"start\0main\0");
        assert_eq!(table, expected);
    }

    #[test]
    fn names_are_as_in_the_source_and_not_endless() {
        assert_eq!(readable("_ZN12graft_kernel4main17h05af221e174051e9E"), "graft_kernel::main");
        assert_eq!(readable("trap_from_user"), "trap_from_user");
        assert_eq!(readable(&"x".repeat(1000)).len(), NAME_MAX);
    }
}
