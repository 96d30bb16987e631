//! The server and its client: one request after the other, each timed and its reply checked.

use alloc::format;
use alloc::string::{String, ToString};

use graft_lib::kvd::client::{Client, Operation};
use graft_lib::kvd::histogram::Histogram;
use graft_lib::kvd::model::{self, Model};
use graft_lib::kvd::queue::Queue;
use graft_lib::kvd::store::{RECORD_MAX, Store};
use graft_rt::time;

use crate::options::Options;

/// A store, the client that uses it, and what the store must hold.
pub(crate) struct Server {
    store: Store,
    client: Client,
    model: Model,
    requests: u64,
}

impl Server {
    /// A full store that has not been asked for anything.
    pub(crate) fn new(options: &Options) -> Result<Server, String> {
        let no_memory = |error: alloc::collections::TryReserveError| error.to_string();
        let mut server = Server {
            store: Store::new(options.keys).map_err(no_memory)?,
            client: Server::client(options),
            model: Model::new(options.keys).map_err(no_memory)?,
            requests: 0,
        };
        server.fill()?;
        Ok(server)
    }

    /// The client before its first request.
    pub(crate) fn client(options: &Options) -> Client {
        Client::new(options.seed, options.keys, options.set_percent)
    }

    /// Goes back to the state of a new server. Every page of the store is written.
    pub(crate) fn reset(&mut self, options: &Options) -> Result<(), String> {
        self.store.clear();
        self.client = Server::client(options);
        self.model.reset();
        self.requests = 0;
        self.fill()
    }

    fn fill(&mut self) -> Result<(), String> {
        let mut buffer = [0; RECORD_MAX];
        for number in 0..self.model.keys() {
            let value = model::value(number, 0, &mut buffer);
            self.store.set(&model::key(number), value).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The store, for saving.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Requests served since the store was filled.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Serves the next request and returns the counts that it took. It is in memory when the time
    /// begins, and its reply is when it ends.
    pub(crate) fn serve(&mut self) -> Result<u64, String> {
        let operation = self.client.next();
        let version = self.model.note(operation);
        let (Operation::Get(number) | Operation::Set(number)) = operation;
        let key = model::key(number);
        let mut buffer = [0; RECORD_MAX];
        let value = model::value(number, version, &mut buffer);
        let mut reply = [0; RECORD_MAX];

        let begin = time::counter();
        let length = match operation {
            Operation::Get(_) => self.store.get(&key, &mut reply),
            Operation::Set(_) => self.store.set(&key, value).map(|()| None),
        };
        let time = time::counter() - begin;

        self.requests += 1;
        let wrong = |what: &str| format!("request {}, {operation:?}: {what}", self.requests);
        let length = length.map_err(|error| wrong(&error.to_string()))?;
        match operation {
            Operation::Get(_) if length.map(|length| &reply[..length]) != Some(value) => Err(wrong("a wrong reply")),
            _ => Ok(time),
        }
    }

    /// Serves this many requests as they arrive.
    pub(crate) fn serve_all(
        &mut self,
        requests: u64,
        queue: &mut Queue,
        latencies: &mut Histogram,
    ) -> Result<(), String> {
        for _ in 0..requests {
            latencies.record(queue.serve(self.serve()?));
        }
        Ok(())
    }
}
