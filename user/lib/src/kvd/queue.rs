//! Requests that arrive whether the server has time or not.
//!
//! ```text
//!   arrivals   |     |     |     |     |     |        one in each period
//!   server     ▇▇▇   ▇▇▇   ▇▇▇▒▒▒▒▒▒▒▒▒▇▇▇▇▇▇▇▇▇      ▒ a stall, such as a fork
//!   latency    3     3     3     9     6     3
//! ```
//!
//! A client that sends a request only when it has the last reply would see a stall once. Here all
//! requests that arrive during the stall see it, as they do with many clients. The server's times are measured;
//! the time in which it would wait for an arrival is passed over.

/// A server's queue. Times are counts since it was made.
#[derive(Clone, Debug)]
pub struct Queue {
    period: u64,
    arrival: u64,
    free: u64,
}

impl Queue {
    /// An empty queue that gets a request in each period.
    pub const fn new(period: u64) -> Queue {
        Queue { period, arrival: 0, free: 0 }
    }

    /// The server does something else for so long, while the next request waits.
    pub fn stall(&mut self, time: u64) {
        self.free = self.free.max(self.arrival) + time;
    }

    /// The next request takes so long to serve. Returns its latency, from its arrival to its end.
    pub fn serve(&mut self, time: u64) -> u64 {
        self.stall(time);
        let latency = self.free - self.arrival;
        self.arrival += self.period;
        latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_finds_the_server_free_takes_its_own_time() {
        let mut queue = Queue::new(10);
        assert_eq!([3, 7, 10, 1].map(|time| queue.serve(time)), [3, 7, 10, 1]);
    }

    #[test]
    fn a_stall_delays_all_that_arrive_meanwhile() {
        let mut queue = Queue::new(10);
        queue.serve(4);
        queue.stall(20);
        assert_eq!([4; 5].map(|time| queue.serve(time)), [24, 18, 12, 6, 4]);
    }

    #[test]
    fn a_server_that_is_too_slow_falls_behind() {
        let mut queue = Queue::new(10);
        assert_eq!([11; 4].map(|time| queue.serve(time)), [11, 12, 13, 14]);
    }
}
