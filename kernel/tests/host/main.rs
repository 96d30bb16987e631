//! The kernel boots on the host and runs programs: scheduler, frames, handles, objects, waiting and the call
//! dispatcher, with threads as cores and a TLB that forgets nothing.

mod behalf;
mod calls;
mod crowds;
mod devices;
mod faults;
mod machine;
mod messages;
mod notifications;
mod numbers;
mod oracle;
mod processes;
mod program;
mod states;
