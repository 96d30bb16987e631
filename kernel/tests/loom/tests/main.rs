//! See the library.
#![cfg(loom)]

mod answers;
mod ends;
mod identifiers;
mod locks;
mod scene;
mod waits;
