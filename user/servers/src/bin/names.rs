//! The server of names: a client gets a connection to a server by its name, if its parent has allowed it that name.
//!
//! ```text
//!   names NAME:wait NAME:fail ...       granted: serve (an endpoint), whose connections' badges are views
//! ```
//!
//! The rules are `graft_lib::names`; the words of the protocol are `graft_rt::names`. An ask that waits keeps its own
//! place to receive. There are few of these: when all are in use, the oldest ask is given up, and its client asks again.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use graft_lib::names::{Asked, Directory, Refusal, View};
use graft_rt::message::{Connection, Endpoint, Message, Received, Receiver};
use graft_rt::names::{Operation, PRESENT, PROVIDE, WORDS, from_words, to_words};
use graft_rt::notification::Notification;
use graft_rt::process::{close, duplicate};
use graft_rt::{Arguments, Error, Handle, Rights, eprintln, grants};

graft_rt::program!(main);

/// Asks that wait at a time.
const WAITING: usize = 16;

fn main(arguments: Arguments) -> Result<i32, Error> {
    let directory = match Directory::of(arguments.skip(1)) {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("names: {error}");
            return Ok(2);
        }
    };
    let Some(serve) = grants::handle("serve") else {
        eprintln!("names: it was granted no endpoint, `serve`");
        return Ok(2);
    };
    let endpoint = Endpoint::from_handle(serve);
    let receiver = endpoint.receiver()?;
    let mut server =
        Server { endpoint, directory, ended: Notification::new()?, waiting: Vec::new(), spare: Vec::new() };
    server.serve(receiver)
}

struct Server {
    endpoint: Endpoint,
    directory: Directory,
    /// A bit for each name whose lease has ended.
    ended: Notification,
    waiting: Vec<Waiting>,
    spare: Vec<Receiver>,
}

/// An ask that is answered later.
struct Waiting {
    receiver: Receiver,
    name: usize,
}

/// What becomes of a call.
enum Outcome {
    Answer([u64; 5], Handle),
    Wait(usize),
}

/// An answer of words alone.
const DONE: Outcome = Outcome::Answer([0; 5], Handle::NONE);

fn error(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotFound => Error::NotFound,
        Refusal::Absent => Error::NotReady,
        Refusal::Gone => Error::Gone,
        Refusal::Taken => Error::Occupied,
    }
}

impl Server {
    fn serve(&mut self, mut receiver: Receiver) -> Result<i32, Error> {
        let mut received = receiver.receive()?;
        loop {
            self.end_leases();
            let handle = received.message.handle;
            let outcome = self.perform(&received, &receiver);
            // Kept as a duplicate, if at all.
            if handle != Handle::NONE {
                let _ = close(handle);
            }
            received = match outcome {
                Ok(Outcome::Answer([a, b, c, d, e], handle)) => {
                    receiver.answer_receive(Message { words: [0, a, b, c, d, e], handle })?
                }
                Ok(Outcome::Wait(name)) => {
                    let other = self.another_receiver()?;
                    self.waiting.push(Waiting { receiver: core::mem::replace(&mut receiver, other), name });
                    receiver.receive()?
                }
                Err(error) => receiver.answer_receive(Message::words([error as u64, 0, 0, 0, 0, 0]))?,
            };
        }
    }

    /// A place to receive at, in which no call is kept that anything waits for.
    fn another_receiver(&mut self) -> Result<Receiver, Error> {
        match self.spare.pop() {
            Some(spare) => Ok(spare),
            None if self.waiting.len() < WAITING => self.endpoint.receiver(),
            // The next message to be received there ends the ask.
            None => Ok(self.waiting.remove(0).receiver),
        }
    }

    fn perform(&mut self, received: &Received, receiver: &Receiver) -> Result<Outcome, Error> {
        let view = View(received.badge);
        let [operation, a, b, c, d, _] = received.message.words;
        let (bytes, length) = from_words([a, b, c, d]);
        let name = &bytes[..length];
        match Operation::from_number(operation).ok_or(Error::BadArgument)? {
            Operation::Ask => match self.directory.ask(view, name).map_err(error)? {
                Asked::Here(provided) => Ok(Outcome::Answer([0; 5], duplicate(Handle(provided), Rights::ALL)?)),
                Asked::Wait(name) => Ok(Outcome::Wait(name)),
            },
            Operation::Provide => {
                let number = self.directory.may_provide(view, name).map_err(error)?;
                let provided = duplicate(received.message.handle, Rights::ALL)?;
                let lease = match self.lease(number) {
                    Ok(lease) => lease,
                    Err(error) => {
                        let _ = close(provided);
                        return Err(error);
                    }
                };
                self.directory.provide(number, provided.0);
                self.tell_waiting(number);
                Ok(Outcome::Answer([0; 5], lease.into_handle()))
            }
            Operation::Narrow => {
                let length = usize::try_from(a).ok().filter(|&length| length <= WORDS).ok_or(Error::BadLength)?;
                let mut words = [0; WORDS];
                receiver.read(0, &mut words[..length])?;
                let narrowed = self.directory.narrow(view, &words[..length]);
                Ok(Outcome::Answer([0; 5], self.endpoint.connect(narrowed.0)?.into_handle()))
            }
            Operation::List => {
                let number = usize::try_from(a).map_err(|_| Error::NotFound)?;
                let listed = self.directory.listed(view, number).ok_or(Error::NotFound)?;
                let flags = |condition, flag| if condition { flag } else { 0 };
                let [a, b, c, d] = to_words(listed.name.as_bytes());
                let flags = flags(listed.present, PRESENT) | flags(listed.may_provide, PROVIDE);
                Ok(Outcome::Answer([flags, a, b, c, d], Handle::NONE))
            }
            Operation::GiveUp => {
                let number = view.leased().ok_or(Error::NotAllowed)?;
                self.let_go(|directory| directory.give_up(number));
                self.tell_waiting(number);
                Ok(DONE)
            }
        }
    }

    /// What tells this server, as long as it is there, that a name has its provider.
    fn lease(&self, number: usize) -> Result<Connection, Error> {
        let lease = self.endpoint.connect(View::lease(number).0)?;
        self.ended.bind_connection(1 << number, &lease)?;
        Ok(lease)
    }

    /// Takes away what the leases that have ended stood for.
    fn end_leases(&mut self) {
        let ended = self.ended.take().unwrap_or(0);
        for number in (0..u64::BITS as usize).filter(|number| ended >> number & 1 != 0) {
            self.let_go(|directory| directory.withdraw(number));
        }
    }

    fn let_go(&mut self, from: impl FnOnce(&mut Directory) -> Option<u32>) {
        if let Some(provided) = from(&mut self.directory) {
            let _ = close(Handle(provided));
        }
    }

    /// Answers those that have waited for a name.
    fn tell_waiting(&mut self, name: usize) {
        let (told, waiting): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.name == name);
        self.waiting = waiting;
        for Waiting { receiver, .. } in told {
            // It was allowed to ask for it when it did.
            let answer = match self.directory.provided(name) {
                Some(provided) => duplicate(Handle(provided), Rights::ALL),
                None => Err(Error::Gone),
            };
            match answer {
                Ok(handle) => {
                    let _ = receiver.reply(Message { words: [0; 6], handle });
                    // If it has moved, this names nothing: no handle has come since.
                    let _ = close(handle);
                }
                Err(error) => _ = receiver.reply(Message::words([error as u64, 0, 0, 0, 0, 0])),
            }
            self.spare.push(receiver);
        }
    }
}
