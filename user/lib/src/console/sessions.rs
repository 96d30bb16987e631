//! Sessions: a shell's own, and one for each job that it starts, which may be a shell itself.
//!
//! ```text
//!   0 the first shell
//!   ├── 7 a job, in the foreground
//!   └── 8 another shell ── 9 its job
//! ```
//!
//! A session is the number in a connection's badge. Its holder can make sessions below it, and say which of these, or
//! itself, gets what is typed, as long as that is its own to say: while the foreground is in its part of the tree.

use graft_rt::console::Mode;

/// Sessions at a time. The first shell has the last half for itself.
pub const SESSIONS: usize = 16;

/// The session of those whom root has given a connection.
pub const FIRST: u64 = 0;

/// One of them.
#[derive(Debug)]
pub struct Session<T> {
    pub(super) number: u64,
    /// The number of the session that has made it.
    pub(super) parent: u64,
    /// Is told what is typed to end or stop it. The first one has none.
    pub told: Option<T>,
    /// How it has read last.
    pub mode: Mode,
}

/// All of them, each with something, a `T`, by which it is told of what is typed.
#[derive(Debug)]
pub struct Sessions<T> {
    pub(super) all: [Option<Session<T>>; SESSIONS],
    pub(super) foreground: u64,
    pub(super) next: u64,
}

impl<T> Sessions<T> {
    /// The first one, in the foreground. Numbers of others begin above this one: those of an earlier server mean
    /// nothing.
    pub fn new(above: u64) -> Sessions<T> {
        let mut all = [const { None }; SESSIONS];
        all[0] = Some(Session { number: FIRST, parent: FIRST, told: None, mode: Mode::Lines });
        Sessions { all, foreground: FIRST, next: above + 1 }
    }

    fn find(&self, number: u64) -> Option<&Session<T>> {
        self.all.iter().flatten().find(|session| session.number == number)
    }

    /// The one with this number.
    pub fn find_mut(&mut self, number: u64) -> Option<&mut Session<T>> {
        self.all.iter_mut().flatten().find(|session| session.number == number)
    }

    /// In which of the places it is.
    pub fn place_of(&self, number: u64) -> Option<usize> {
        self.all.iter().position(|session| session.as_ref().is_some_and(|session| session.number == number))
    }

    /// Whether there is a session at a place.
    pub fn is_used(&self, place: usize) -> bool {
        self.all.get(place).is_some_and(Option::is_some)
    }

    /// Whether there is one with this number.
    pub fn exists(&self, number: u64) -> bool {
        self.find(number).is_some()
    }

    /// The number of the one that gets what is typed.
    pub fn foreground(&self) -> u64 {
        self.foreground
    }

    /// The one that gets what is typed.
    pub fn in_foreground(&self) -> Option<&Session<T>> {
        self.find(self.foreground)
    }

    /// Whether a session is another one, or has been made by it or by one that has.
    fn is_within(&self, mut inner: u64, outer: u64) -> bool {
        for _ in 0..SESSIONS {
            match self.find(inner) {
                _ if inner == outer => return true,
                Some(session) if session.number != FIRST => inner = session.parent,
                _ => return false,
            }
        }
        false
    }

    /// Makes one, unless there are too many; returns its number.
    pub fn open(&mut self, parent: u64, told: T) -> Option<u64> {
        let free = self.all.iter().filter(|session| session.is_none()).count();
        if !self.exists(parent) || (parent != FIRST && free <= SESSIONS / 2) {
            return None;
        }
        let place = self.all.iter_mut().find(|session| session.is_none())?;
        let number = self.next;
        self.next += 1;
        *place = Some(Session { number, parent, told: Some(told), mode: Mode::Lines });
        Some(number)
    }

    /// Ends one that a session has made, and all that it has made. Returns whether there is one.
    pub fn close(&mut self, parent: u64, number: u64) -> bool {
        let is_its = number != FIRST && self.find(number).is_some_and(|session| session.parent == parent);
        is_its && self.end(number)
    }

    /// Ends one, but the first, and all that it has made. Returns whether there is one.
    pub fn end(&mut self, number: u64) -> bool {
        let Some(parent) = self.find(number).filter(|_| number != FIRST).map(|session| session.parent) else {
            return false;
        };
        if self.is_within(self.foreground, number) {
            self.foreground = parent;
        }
        self.remove(|session, _| session.number == number);
        // As deep as they can be below each other.
        for _ in 0..SESSIONS {
            self.remove(|session, all| !all.exists(session.parent));
        }
        true
    }

    fn remove(&mut self, is_over: impl Fn(&Session<T>, &Sessions<T>) -> bool) {
        for index in 1..SESSIONS {
            if self.all[index].as_ref().is_some_and(|session| is_over(session, self)) {
                self.all[index] = None;
            }
        }
    }

    /// Has a session, or one that it has made, get what is typed. Returns whether that is its to say.
    pub fn set_foreground(&mut self, caller: u64, number: u64) -> bool {
        let target = if number == 0 { caller } else { number };
        let is_its = target == caller || self.find(target).is_some_and(|session| session.parent == caller);
        if !is_its || !self.exists(target) || !self.is_within(self.foreground, caller) {
            return false;
        }
        self.foreground = target;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_says_who_below_it_gets_what_is_typed_while_that_is_its_own_to_say() {
        let mut sessions = Sessions::new(100);
        let job = sessions.open(FIRST, "job").unwrap();
        let other = sessions.open(FIRST, "other").unwrap();
        let inner = sessions.open(job, "inner").unwrap();
        assert!(job > 100 && job != other && other != inner);
        assert!(!sessions.set_foreground(job, 0), "in the background");
        assert!(sessions.set_foreground(FIRST, job) && sessions.foreground() == job);
        assert!(!sessions.set_foreground(FIRST, inner), "not its own");
        assert!(!sessions.set_foreground(job, other), "not its own");
        assert!(!sessions.set_foreground(other, 0), "in the background");
        assert!(!sessions.set_foreground(99, 0) && !sessions.set_foreground(99, 99), "there is none");
        assert!(sessions.set_foreground(job, inner));
        assert_eq!(sessions.in_foreground().and_then(|session| session.told), Some("inner"));
        assert!(sessions.set_foreground(job, 0) && sessions.set_foreground(FIRST, 0));
        assert_eq!(sessions.foreground(), FIRST);
    }

    #[test]
    fn with_a_session_ends_what_it_has_made_and_the_foreground_goes_up() {
        let mut sessions = Sessions::new(0);
        let job = sessions.open(FIRST, 1).unwrap();
        let inner = sessions.open(job, 2).unwrap();
        let innermost = sessions.open(inner, 3).unwrap();
        let other = sessions.open(FIRST, 4).unwrap();
        assert!(sessions.set_foreground(FIRST, job) && sessions.set_foreground(job, inner));
        assert!(sessions.set_foreground(inner, innermost));
        assert!(!sessions.close(FIRST, inner) && !sessions.close(other, job) && !sessions.close(FIRST, FIRST));
        assert!(!sessions.close(job, 99));
        assert!(sessions.close(FIRST, job));
        assert_eq!((sessions.foreground(), sessions.exists(other)), (FIRST, true));
        assert!([job, inner, innermost].iter().all(|&ended| !sessions.exists(ended)));
        assert!(sessions.open(job, 5).is_none() && !sessions.close(FIRST, job));
        assert!(!sessions.end(FIRST) && !sessions.end(job) && sessions.end(other) && !sessions.exists(other));
    }

    #[test]
    fn jobs_leave_the_first_shell_room() {
        let mut sessions = Sessions::new(0);
        let job = sessions.open(FIRST, ()).unwrap();
        let theirs = core::iter::from_fn(|| sessions.open(job, ())).count();
        assert_eq!(core::iter::from_fn(|| sessions.open(FIRST, ())).count(), SESSIONS - 2 - theirs);
        assert!(theirs >= 2 && SESSIONS - 2 - theirs >= SESSIONS / 2 - 1);
        assert!(sessions.close(FIRST, job));
        assert!(sessions.open(FIRST, ()).is_some());
    }
}
