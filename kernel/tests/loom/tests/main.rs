//! See the library.
#![cfg(loom)]

mod answers;
mod ends;
mod identifiers;
mod locks;
mod parked;
mod scene;
mod waits;
