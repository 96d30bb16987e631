//! A copy-on-write translation tree.
#![no_std]
