//! Doubly linked lists through links inside their members: nothing to allocate, nothing to search.
//!
//! ```text
//!   List { first, last }      first ---> A <---> B <---> C <--- last
//!                             each member knows the list it stands in
//! ```
//!
//! A list owns its members: a counted reference goes in with [`List::push_back`] and comes out with
//! [`List::pop_front`] or [`List::remove`]. A member stands in one list per link at most, which the
//! link itself checks.

use crate::sync::{AtomicUsize, Ordering};
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// A reference that can be taken apart into an address and put together again.
///
/// # Safety
/// Between `into_raw` and `from_raw` the target stays valid at the same address.
pub unsafe trait Pointer {
    /// What the reference leads to.
    type Target;

    /// Gives the reference up for its address.
    fn into_raw(self) -> NonNull<Self::Target>;

    /// Takes the reference back.
    ///
    /// # Safety
    /// The address comes from `into_raw` and is used once.
    unsafe fn from_raw(raw: NonNull<Self::Target>) -> Self;
}

/// Something with a link for lists of the kind `Kind`.
///
/// # Safety
/// `link` returns the same field of the same value each time.
pub unsafe trait Linked<Kind>: Sized {
    /// The link.
    fn link(&self) -> &Link<Self>;
}

/// A member's place in a list.
pub struct Link<T> {
    /// Address of the list, 0 if in none. Changed under that list's lock, or with the member owned; read by any list
    /// for its own address, which stands here for as long as the member stands there.
    list: AtomicUsize,
    next: Cell<Option<NonNull<T>>>,
    previous: Cell<Option<NonNull<T>>>,
}

// SAFETY: `next` and `previous` are read and written only by the list that the member stands in,
// through `&mut`, thus by one core at a time.
unsafe impl<T: Sync> Sync for Link<T> {}
// SAFETY: a link owns nothing; see above for its use.
unsafe impl<T: Send> Send for Link<T> {}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Link<T> {
    /// The link of something that stands in no list.
    pub const fn new() -> Self {
        Link { list: AtomicUsize::new(0), next: Cell::new(None), previous: Cell::new(None) }
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.list.load(Ordering::Relaxed) == 0 { "unlinked" } else { "linked" })
    }
}

/// A first-in, first-out queue of references of type `P`, through the links of kind `Kind`.
#[derive(Debug)]
pub struct List<P: Pointer, Kind>
where
    P::Target: Linked<Kind>,
{
    first: Option<NonNull<P::Target>>,
    last: Option<NonNull<P::Target>>,
    owns: PhantomData<(P, Kind)>,
}

// SAFETY: a list is a container of `P`; its raw addresses are owned references.
unsafe impl<P: Pointer + Send, Kind> Send for List<P, Kind> where P::Target: Linked<Kind> {}

impl<P: Pointer, Kind> Default for List<P, Kind>
where
    P::Target: Linked<Kind>,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Pointer, Kind> List<P, Kind>
where
    P::Target: Linked<Kind>,
{
    /// An empty list. It may be moved only while it is empty.
    pub const fn new() -> Self {
        List { first: None, last: None, owns: PhantomData }
    }

    /// Whether it has no member.
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    fn link(member: &NonNull<P::Target>) -> &Link<P::Target> {
        // SAFETY: members are valid from `into_raw` on until `from_raw` (`Pointer`'s contract).
        unsafe { member.as_ref() }.link()
    }

    /// Adds a member at the end, and returns it.
    ///
    /// # Panics
    /// If it stands in a list already.
    #[inline(always)]
    pub fn push_back(&mut self, member: P) -> &P::Target {
        let member = member.into_raw();
        let link = Self::link(&member);
        assert!(link.list.load(Ordering::Relaxed) == 0, "a member of one list was put into another");
        link.list.store(self.identity(), Ordering::Relaxed);
        link.next.set(None);
        link.previous.set(self.last);
        match self.last.replace(member) {
            Some(last) => Self::link(&last).next.set(Some(member)),
            None => self.first = Some(member),
        }
        // SAFETY: members are valid while they stand in the list, which is borrowed.
        unsafe { &*member.as_ptr() }
    }

    /// The last member.
    pub fn last(&self) -> Option<&P::Target> {
        // SAFETY: members are valid while they stand in the list, which is borrowed.
        self.last.map(|last| unsafe { &*last.as_ptr() })
    }

    /// Takes the first member out.
    pub fn pop_front(&mut self) -> Option<P> {
        self.pop_front_if(|_| Some(())).map(|(first, ())| first)
    }

    /// Takes the first member out if there is an answer for it.
    #[inline(always)]
    pub fn pop_front_if<R>(&mut self, answer: impl FnOnce(&P::Target) -> Option<R>) -> Option<(P, R)> {
        let first = self.first?;
        // SAFETY: members are valid while they stand in the list.
        let answer = answer(unsafe { first.as_ref() })?;
        let link = Self::link(&first);
        let next = link.next.get();
        match next {
            Some(next) => Self::link(&next).previous.set(None),
            None => self.last = None,
        }
        self.first = next;
        link.list.store(0, Ordering::Relaxed);
        // SAFETY: as in `take`; the first member's address is the one that came from `into_raw`.
        Some((unsafe { P::from_raw(first) }, answer))
    }

    /// Takes out the first member for which there is an answer, of at most `limit` from the front.
    pub fn take_first<R>(&mut self, limit: usize, mut answer: impl FnMut(&P::Target) -> Option<R>) -> Option<(P, R)> {
        let mut next = self.first;
        for _ in 0..limit {
            let member = next?;
            next = Self::link(&member).next.get();
            // SAFETY: members are valid while they stand in the list.
            if let Some(answer) = answer(unsafe { member.as_ref() }) {
                return Some((self.take(member), answer));
            }
        }
        None
    }

    /// Takes this member out; `None` if it does not stand here.
    pub fn remove(&mut self, member: &P::Target) -> Option<P> {
        if member.link().list.load(Ordering::Relaxed) != self.identity() {
            return None;
        }
        Some(self.take(NonNull::from(member)))
    }

    /// The first member that satisfies the condition.
    pub fn find(&self, mut condition: impl FnMut(&P::Target) -> bool) -> Option<&P::Target> {
        self.iter().find(|member| condition(member))
    }

    /// The members, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &P::Target> {
        self.iter_behind(None)
    }

    /// The members behind this one, if it stands here, or from the first on.
    pub fn iter_behind(&self, behind: Option<&P::Target>) -> impl Iterator<Item = &P::Target> {
        let mut next = match behind {
            Some(member) if member.link().list.load(Ordering::Relaxed) == self.identity() => member.link().next.get(),
            Some(_) => None,
            None => self.first,
        };
        core::iter::from_fn(move || {
            let member = next?;
            next = Self::link(&member).next.get();
            // SAFETY: members are valid while they stand in the list, which is borrowed.
            Some(unsafe { &*member.as_ptr() })
        })
    }

    #[inline(always)]
    fn take(&mut self, member: NonNull<P::Target>) -> P {
        let link = Self::link(&member);
        let (next, previous) = (link.next.get(), link.previous.get());
        match next {
            Some(next) => Self::link(&next).previous.set(previous),
            None => self.last = previous,
        }
        // The address as `push_back` got it, which may be used for more than one of a plain reference may.
        let member = match previous {
            Some(previous) => Self::link(&previous).next.replace(next),
            None => core::mem::replace(&mut self.first, next),
        }
        .unwrap_or(member);
        link.list.store(0, Ordering::Relaxed);
        // SAFETY: the member stands in this list, so its address came from `into_raw` in
        // `push_back`; it has just been unlinked, so it is not taken a second time.
        unsafe { P::from_raw(member) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Member(u32, Link<Member>);
    struct Queue;

    // SAFETY: always the one field.
    unsafe impl Linked<Queue> for Member {
        fn link(&self) -> &Link<Member> {
            &self.1
        }
    }

    // SAFETY: what an `Arc` holds does not move, and stays while the count is not dropped.
    unsafe impl Pointer for Arc<Member> {
        type Target = Member;
        fn into_raw(self) -> NonNull<Member> {
            NonNull::new(Arc::into_raw(self).cast_mut()).unwrap()
        }
        unsafe fn from_raw(raw: NonNull<Member>) -> Self {
            // SAFETY: passed on.
            unsafe { Arc::from_raw(raw.as_ptr()) }
        }
    }

    fn numbers(list: &List<Arc<Member>, Queue>) -> Vec<u32> {
        list.iter().map(|member| member.0).collect()
    }

    #[test]
    fn members_leave_from_the_front_and_from_the_middle() {
        let members: Vec<_> = (0..5).map(|n| Arc::new(Member(n, Link::new()))).collect();
        let mut list = List::<Arc<Member>, Queue>::new();
        for member in &members {
            list.push_back(member.clone());
        }
        assert_eq!(numbers(&list), [0, 1, 2, 3, 4]);
        assert!(list.remove(&members[2]).is_some());
        assert!(list.remove(&members[2]).is_none(), "it is no longer there");
        assert_eq!(list.pop_front().unwrap().0, 0);
        assert!(list.remove(&members[4]).is_some());
        list.push_back(members[0].clone());
        assert_eq!(numbers(&list), [1, 3, 0]);
        assert_eq!(list.find(|member| member.0 == 3).unwrap().0, 3);
        while list.pop_front().is_some() {}
        assert!(list.is_empty());
        assert!(members.iter().all(|member| Arc::strong_count(member) == 1), "every reference came back");
    }

    #[test]
    fn the_first_that_answers_is_taken_out_and_the_others_stay() {
        let members: Vec<_> = (0..5).map(|n| Arc::new(Member(n, Link::new()))).collect();
        let mut list = List::<Arc<Member>, Queue>::new();
        for member in &members {
            list.push_back(member.clone());
        }
        let from = |least: u32| move |member: &Member| (member.0 >= least).then_some(member.0 * 10);
        assert!(list.take_first(2, from(2)).is_none(), "it is the third");
        let (member, answer) = list.take_first(3, from(2)).unwrap();
        assert_eq!((member.0, answer, numbers(&list)), (2, 20, vec![0, 1, 3, 4]));
        assert_eq!(list.take_first(usize::MAX, from(4)).unwrap().1, 40);
        assert!(list.take_first(usize::MAX, from(4)).is_none());
        assert_eq!(numbers(&list), [0, 1, 3]);
        while list.pop_front().is_some() {}
    }

    #[test]
    fn the_first_leaves_if_it_answers() {
        let members: Vec<_> = (0..3).map(|n| Arc::new(Member(n, Link::new()))).collect();
        let mut list = List::<Arc<Member>, Queue>::new();
        assert!(list.pop_front_if(|member| Some(member.0)).is_none());
        for member in &members {
            list.push_back(member.clone());
        }
        assert!(list.pop_front_if(|member| (member.0 == 1).then_some(())).is_none());
        for left in [2, 1, 0] {
            let (member, answer) = list.pop_front_if(|member| Some(member.0 + 7)).unwrap();
            assert_eq!((member.0, answer, list.iter().count()), (2 - left, 9 - left, left as usize));
        }
        assert!(list.is_empty());
        assert_eq!(list.push_back(members[0].clone()).0, 0);
        assert_eq!((numbers(&list), list.pop_front().unwrap().0), (vec![0], 0));
    }

    #[test]
    fn a_list_takes_nobody_out_of_another() {
        let member = Arc::new(Member(1, Link::new()));
        let (mut a, mut b) = (List::<Arc<Member>, Queue>::new(), List::<Arc<Member>, Queue>::new());
        a.push_back(member.clone());
        assert!(b.remove(&member).is_none());
        assert!(a.remove(&member).is_some());
        b.push_back(member.clone());
        assert!(b.pop_front().is_some());
    }

    #[test]
    #[should_panic(expected = "a member of one list")]
    fn nobody_stands_in_two_lists() {
        let member = Arc::new(Member(1, Link::new()));
        let (mut a, mut b) = (List::<Arc<Member>, Queue>::new(), List::<Arc<Member>, Queue>::new());
        a.push_back(member.clone());
        b.push_back(member);
    }
}
