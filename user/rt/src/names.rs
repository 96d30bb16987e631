//! Names: connections to servers that a program asks for, as far as its parent has allowed it.
//!
//! ```text
//!   Ask      [1, name, name, name, name, 0]         ──▶ a connection to what provides it, perhaps later
//!   Provide  [2, name ..., 0] + a connection        ──▶ a lease: while it is there the name leads to that connection
//!   Narrow   [3, 0 ...], lends "NAME +NAME ..."     ──▶ a connection to names with no more than that
//!   List     [4, number, 0 ...]                     ──▶ [0, flags, name ...], an error after the last
//!   GiveUp   [5, 0 ...], by a lease                 ──▶ the name is gone for good
//! ```
//!
//! A name is up to 32 bytes in four words. An answer begins with 0, or with the code of an [`Error`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use graft_abi::{Error, Handle, Rights};

use crate::grants;
use crate::message::{Connection, Message};
use crate::process::{duplicate, sleep};
use crate::sync::Mutex;

/// Bytes of a name at most.
pub const NAME: usize = 32;
/// Bytes that may be lent to [`Operation::Narrow`].
pub const WORDS: usize = 1024;
/// How often a call is made again when the server ends under it, or needs the place in which it kept it.
const TRIES: usize = 1000;
/// Before each of these.
const BREAK: Duration = Duration::from_millis(1);

/// What is asked for: the first word of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Operation {
    /// A connection to what provides a name.
    Ask = 1,
    /// Has a name lead somewhere.
    Provide = 2,
    /// A connection that allows less.
    Narrow = 3,
    /// A name that the client may use.
    List = 4,
    /// The name of a lease is gone for good.
    GiveUp = 5,
}

impl Operation {
    /// The operation with this number.
    pub const fn from_number(number: u64) -> Option<Operation> {
        Some(match number {
            1 => Operation::Ask,
            2 => Operation::Provide,
            3 => Operation::Narrow,
            4 => Operation::List,
            5 => Operation::GiveUp,
            _ => return None,
        })
    }
}

/// In the flags of a name that is listed: it has a provider.
pub const PRESENT: u64 = 1;
/// In the flags of a name that is listed: the client may provide it.
pub const PROVIDE: u64 = 2;

/// A name in words, as it is sent. One that is too long is no name: it becomes an empty one.
pub fn to_words(name: &[u8]) -> [u64; 4] {
    let mut bytes = [0; NAME];
    if let Some(place) = bytes.get_mut(..name.len()) {
        place.copy_from_slice(name);
    }
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    words
}

/// The bytes of such words, and how many of them are the name.
pub fn from_words(words: [u64; 4]) -> ([u8; NAME], usize) {
    let mut bytes = [0; NAME];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    (bytes, bytes.iter().position(|&byte| byte == 0).unwrap_or(NAME))
}

/// A name as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// Whether it has a provider.
    pub present: bool,
    /// Whether the client may provide it; otherwise it may ask for it.
    pub may_provide: bool,
}

/// A connection to names, which allows so much and no more.
#[derive(Debug)]
pub struct Names {
    connection: Connection,
}

/// A connection to a server by its name: one that the program was handed itself, or what names answers.
///
/// # Errors
/// [`Error::NotFound`] if there is no such name or the program may not use it, [`Error::NotReady`] if it has no provider
/// now, [`Error::Gone`] if it will not have one any more.
pub fn find(name: &str) -> Result<Connection, Error> {
    match (grants::handle(name), Names::granted()) {
        (Some(handle), _) => duplicate(handle, Rights::ALL).map(Connection::from_handle),
        (None, Some(names)) => {
            let found = names.connect(name);
            // It stays what it is for others of this program.
            let _ = names.connection.into_handle();
            found
        }
        (None, None) => Err(Error::NotFound),
    }
}

impl Names {
    /// What this program was given.
    fn granted() -> Option<Names> {
        grants::handle("names").map(|handle| Names { connection: Connection::from_handle(handle) })
    }

    /// What this program was given, or as much of it as these words say: see [`narrow`](Self::narrow).
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was given nothing.
    pub fn granted_narrowed(words: &str) -> Result<Names, Error> {
        let names = Names::granted().ok_or(Error::NotFound)?;
        let narrowed = names.narrow(words);
        let _ = names.connection.into_handle();
        narrowed
    }

    /// By a connection to the server.
    pub const fn of(connection: Connection) -> Names {
        Names { connection }
    }

    /// The connection, to be handed to another program, which finds it as `names`.
    pub const fn handle(&self) -> Handle {
        self.connection.handle()
    }

    /// A connection to what provides a name; waits for a provider if the plan says so.
    ///
    /// # Errors
    /// As [`find`].
    pub fn connect(&self, name: &str) -> Result<Connection, Error> {
        self.connect_until(name, Duration::MAX)
    }

    /// As [`connect`](Self::connect), until this moment of the [clock](crate::time::clock): [`Error::TimedOut`].
    ///
    /// # Errors
    /// As [`find`].
    pub fn connect_until(&self, name: &str, deadline: Duration) -> Result<Connection, Error> {
        let [a, b, c, d] = to_words(name.as_bytes());
        let ask = Message::words([Operation::Ask as u64, a, b, c, d, 0]);
        again(|| self.connection.call_until(ask, deadline)).and_then(with_handle)
    }

    /// Has a name lead to a connection, of which each client gets a duplicate, for as long as what is returned is kept:
    /// with its last handle, or the process, the name has no provider.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this may not provide it, [`Error::Occupied`] if it has a provider.
    pub fn provide(&self, name: &str, connection: &Connection) -> Result<Lease, Error> {
        let [a, b, c, d] = to_words(name.as_bytes());
        let answer = again(|| {
            let handle = duplicate(connection.handle(), Rights::ALL)?;
            let answer = self.connection.call(Message { words: [Operation::Provide as u64, a, b, c, d, 0], handle });
            if answer.is_err() {
                let _ = crate::process::close(handle);
            }
            answer
        })?;
        with_handle(answer).map(|connection| Lease { connection })
    }

    /// A connection to names that allows no more than these words, separated by blanks: `NAME` may be asked for, `+NAME`
    /// provided. What this one does not allow is left out.
    ///
    /// # Errors
    /// [`Error::BadLength`] for more than [`WORDS`] bytes.
    pub fn narrow(&self, words: &str) -> Result<Names, Error> {
        let message = Message::words([Operation::Narrow as u64, words.len() as u64, 0, 0, 0, 0]);
        let answer = again(|| self.connection.call_lending(message, words.as_bytes(), &mut []))?;
        with_handle(answer).map(Names::of)
    }

    /// The name with this number among those that this allows.
    ///
    /// # Errors
    /// [`Error::NotFound`] after the last.
    pub fn entry(&self, number: u64) -> Result<Listed, Error> {
        let message = Message::words([Operation::List as u64, number, 0, 0, 0, 0]);
        let [_, flags, a, b, c, d] = again(|| self.connection.call(message))?.into_words();
        let (bytes, length) = from_words([a, b, c, d]);
        let name = String::from_utf8_lossy(&bytes[..length]).into_owned();
        Ok(Listed { name, present: flags & PRESENT != 0, may_provide: flags & PROVIDE != 0 })
    }
}

/// Makes a call until the server answers it.
fn again(mut call: impl FnMut() -> Result<Message, Error>) -> Result<Message, Error> {
    for _ in 0..TRIES {
        match call() {
            // It has ended, or has given up waiting for this.
            Err(Error::Gone) => sleep(BREAK),
            Err(error) => return Err(error),
            Ok(answer) => match answer.words[0] {
                0 => return Ok(answer),
                code => {
                    answer.into_words();
                    return Err(Error::from_code(code as i64).unwrap_or(Error::BadCall));
                }
            },
        }
    }
    Err(Error::Gone)
}

fn with_handle(answer: Message) -> Result<Connection, Error> {
    match answer.handle {
        Handle::NONE => Err(Error::HandlesExhausted),
        handle => Ok(Connection::from_handle(handle)),
    }
}

/// While it is there, a name leads to what its holder has left for it.
#[derive(Debug)]
pub struct Lease {
    connection: Connection,
}

impl Lease {
    /// Has the name be gone for good: asks are refused at once, whatever the plan says.
    ///
    /// # Errors
    /// [`Error::Gone`] if the server is.
    pub fn give_up(self) -> Result<(), Error> {
        let message = Message::words([Operation::GiveUp as u64, 0, 0, 0, 0, 0]);
        again(|| self.connection.call(message)).map(drop)
    }
}

/// What root provides in the place of the servers that it starts: it keeps their endpoints, so that connections to them
/// outlive them, and knows when they end and are there again.
#[derive(Debug)]
pub struct Registrar {
    names: Names,
    provided: Mutex<Vec<Provided>>,
}

#[derive(Debug)]
struct Provided {
    name: String,
    connection: Arc<Connection>,
    lease: Option<Lease>,
    given_up: bool,
}

impl Registrar {
    /// By a connection that allows everything.
    pub const fn new(names: Names) -> Registrar {
        Registrar { names, provided: Mutex::new(Vec::new()) }
    }

    /// For programs: with what their plan says.
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// Has a name lead to this connection from now on.
    ///
    /// # Errors
    /// As [`Names::provide`].
    pub fn provide(&self, name: &str, connection: Connection) -> Result<(), Error> {
        self.withdraw(name);
        let lease = self.names.provide(name, &connection)?;
        let mut provided = self.provided.lock();
        provided.retain(|provided| provided.name != name);
        let connection = Arc::new(connection);
        provided.push(Provided { name: name.into(), connection, lease: Some(lease), given_up: false });
        Ok(())
    }

    /// Says that the server behind a name has ended, and may come again.
    pub fn withdraw(&self, name: &str) {
        drop(self.take(name));
    }

    /// Says that it does not come again.
    pub fn give_up(&self, name: &str) {
        let lease = self.take(name);
        if let Some(provided) = self.provided.lock().iter_mut().find(|provided| provided.name == name) {
            provided.given_up = true;
        }
        if let Some(lease) = lease {
            let _ = lease.give_up();
        }
    }

    fn take(&self, name: &str) -> Option<Lease> {
        self.provided.lock().iter_mut().find(|provided| provided.name == name)?.lease.take()
    }

    /// Says everything again, to a server of names that has been started anew.
    pub fn repeat(&self) {
        // Not under the lock: names may take its time.
        let all: Vec<_> = self.provided.lock().iter_mut().map(Provided::again).collect();
        for (name, connection, is_there, given_up) in all {
            let lease = if is_there || given_up { self.names.provide(&name, &connection) } else { continue };
            match lease {
                Ok(lease) if given_up => _ = lease.give_up(),
                Ok(lease) => {
                    if let Some(provided) = self.provided.lock().iter_mut().find(|provided| provided.name == name) {
                        provided.lease = Some(lease);
                    }
                }
                // Its server has been started anew at the same time, and has said so.
                Err(_) => {}
            }
        }
    }
}

impl Provided {
    /// What has to be said again: the lease was one of the server that has ended.
    fn again(&mut self) -> (String, Arc<Connection>, bool, bool) {
        (self.name.clone(), self.connection.clone(), self.lease.take().is_some(), self.given_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_words() {
        for name in ["a", "files", "exactly-eight-ab", "the-longest-name-that-there-is-x"] {
            let (bytes, length) = from_words(to_words(name.as_bytes()));
            assert_eq!(&bytes[..length], name.as_bytes());
        }
        assert_eq!(to_words(&[b'x'; NAME + 1]), [0; 4]);
        assert_eq!(from_words([0; 4]).1, 0);
        assert_eq!(from_words([u64::MAX; 4]), ([0xff; NAME], NAME));
    }
}
