//! Hands the linker script to the linker, for the boards.

fn main() {
    let variable = |name: &str| std::env::var(name).expect("cargo sets it");
    let root = variable("CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed={root}/../link.ld");
    if variable("CARGO_CFG_TARGET_OS") == "none" {
        println!("cargo:rustc-link-arg-bins=-T{root}/../link.ld");
        println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
    }
}
