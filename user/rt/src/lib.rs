//! Runtime library of Graft programs.
#![no_std]
