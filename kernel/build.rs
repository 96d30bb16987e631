//! Hands the linker script to the linker.

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed={root}/../link.ld");
    println!("cargo:rustc-link-arg-bins=-T{root}/../link.ld");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
}
