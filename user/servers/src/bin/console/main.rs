//! The server of the console: programs write, read lines or bytes, and shells say whose turn it is.
//!
//! ```text
//!   programs ── calls ──▶ console ── ring ──▶ driver ──▶ UART       granted: serve (an endpoint),
//!            ◀── answers ─        ◀── ring ──        ◀──            uart (the client's side of a driver)
//! ```
//!
//! One thread waits for all of it. A call that writes is answered when the driver has taken its last byte, so that what
//! a program has printed is out before it does anything else, and the next call is received then: one call's bytes are
//! not mixed with another's, and nothing piles up here. A call that reads is kept aside until there is something for
//! it.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod calls;
mod server;
mod state;

use graft_drivers::pl011::Client;
use graft_rt::message::Endpoint;
use graft_rt::{Arguments, Error, Handle, eprintln, grants};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let (serve, uart) = (grants::handle("serve"), grants::find("uart").map(|grant| grant.handles));
    let (Some(serve), Some(Ok(uart))) = (serve, uart.map(<[Handle; 4]>::try_from)) else {
        eprintln!("console: it was granted no endpoint, `serve`, or no driver, `uart`");
        return Ok(2);
    };
    server::Server::new(Endpoint::from_handle(serve), Client::of(uart)?)?.serve()
}
