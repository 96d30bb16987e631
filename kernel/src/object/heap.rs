//! A pairing heap through links inside its members: the one with the smallest key is known at once.
//!
//! ```text
//!   root (smallest) --child--> first child <--> sibling <--> sibling
//!                                  |
//!                                child ...        a child's key is never below its parent's
//! ```
//!
//! Adding and merging take constant time, taking one out logarithmic time amortised. Fredman,
//! Sedgewick, Sleator, Tarjan: "The pairing heap: a new form of self-adjusting heap" (1986).

use crate::object::list::Pointer;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Something that can stand in a heap.
///
/// # Safety
/// `node` returns the same field of the same value each time.
pub unsafe trait Heaped: Sized {
    /// The place.
    fn node(&self) -> &Node<Self>;
}

/// A member's place in a heap.
pub struct Node<T> {
    /// Address of the heap, 0 if in none.
    heap: Cell<usize>,
    key: Cell<u64>,
    child: Cell<Option<NonNull<T>>>,
    next: Cell<Option<NonNull<T>>>,
    /// The sibling before, or the parent of a first child.
    previous: Cell<Option<NonNull<T>>>,
}

// SAFETY: every field is read and written only by the heap that the member stands in, through
// `&mut`, thus by one core at a time; `heap` also by the owner of a member that stands in none.
unsafe impl<T: Sync> Sync for Node<T> {}
// SAFETY: a node owns nothing; see above for its use.
unsafe impl<T: Send> Send for Node<T> {}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Node<T> {
    /// The node of something that stands in no heap.
    pub const fn new() -> Self {
        Node {
            heap: Cell::new(0),
            key: Cell::new(0),
            child: Cell::new(None),
            next: Cell::new(None),
            previous: Cell::new(None),
        }
    }
}

impl<T> fmt::Debug for Node<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.heap.get() == 0 { "unlinked" } else { "linked" })
    }
}

/// References of type `P`, smallest key first.
#[derive(Debug)]
pub struct Heap<P: Pointer>
where
    P::Target: Heaped,
{
    root: Option<NonNull<P::Target>>,
    owns: PhantomData<P>,
}

// SAFETY: a heap is a container of `P`; its raw addresses are owned references.
unsafe impl<P: Pointer + Send> Send for Heap<P> where P::Target: Heaped {}

impl<P: Pointer> Default for Heap<P>
where
    P::Target: Heaped,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Pointer> Heap<P>
where
    P::Target: Heaped,
{
    /// An empty heap. It may be moved only while it is empty.
    pub const fn new() -> Self {
        Heap { root: None, owns: PhantomData }
    }

    fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    fn node(member: &NonNull<P::Target>) -> &Node<P::Target> {
        // SAFETY: members are valid from `into_raw` on until `from_raw` (`Pointer`'s contract).
        unsafe { member.as_ref() }.node()
    }

    /// Adds a member.
    ///
    /// # Panics
    /// If it stands in a heap already.
    pub fn push(&mut self, member: P, key: u64) {
        let member = member.into_raw();
        let node = Self::node(&member);
        assert!(node.heap.replace(self.identity()) == 0, "a member of one heap was put into another");
        node.key.set(key);
        self.root = Self::merge(self.root, Some(member));
    }

    /// The smallest key.
    pub fn first_key(&self) -> Option<u64> {
        self.root.map(|root| Self::node(&root).key.get())
    }

    /// Takes out a member with the smallest key, if that is not above `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<P> {
        let root = self.root?;
        if Self::node(&root).key.get() > limit {
            return None;
        }
        Some(self.take(root))
    }

    /// Takes this member out; `None` if it does not stand here.
    pub fn remove(&mut self, member: &P::Target) -> Option<P> {
        if member.node().heap.get() != self.identity() {
            return None;
        }
        Some(self.take(NonNull::from(member)))
    }

    fn take(&mut self, member: NonNull<P::Target>) -> P {
        let node = Self::node(&member);
        let below = Self::merge_siblings(node.child.take());
        // The address as `push` got it, which may be used for more than one of a plain reference may.
        let mut pushed = Some(member);
        if self.root == Some(member) {
            pushed = core::mem::replace(&mut self.root, below);
        } else {
            let (next, previous) = (node.next.take(), node.previous.take());
            if let Some(next) = next {
                Self::node(&next).previous.set(previous);
            }
            if let Some(previous) = previous {
                let before = Self::node(&previous);
                let place = if before.child.get() == Some(member) { &before.child } else { &before.next };
                pushed = place.replace(next);
            }
            self.root = Self::merge(self.root, below);
        }
        let member = pushed.unwrap_or(member);
        node.heap.set(0);
        // SAFETY: the member stands in this heap, so its address came from `into_raw` in `push`; it
        // has just been unlinked, so it is not taken a second time.
        unsafe { P::from_raw(member) }
    }

    /// Makes one heap of two roots without siblings.
    fn merge(a: Option<NonNull<P::Target>>, b: Option<NonNull<P::Target>>) -> Option<NonNull<P::Target>> {
        let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
        // At equal keys the older one stays above: first come, first served.
        let (above, below) = if Self::node(&b).key.get() < Self::node(&a).key.get() { (b, a) } else { (a, b) };
        let second = Self::node(&above).child.replace(Some(below));
        if let Some(second) = second {
            Self::node(&second).previous.set(Some(below));
        }
        Self::node(&below).next.set(second);
        Self::node(&below).previous.set(Some(above));
        Some(above)
    }

    /// Makes one heap of a row of siblings: in pairs from the left, then the pairs from the right.
    fn merge_siblings(mut first: Option<NonNull<P::Target>>) -> Option<NonNull<P::Target>> {
        let detach = |member: NonNull<P::Target>| {
            let node = Self::node(&member);
            node.previous.set(None);
            node.next.take()
        };
        // The pairs, last one first, chained through `next`.
        let mut pairs = None;
        while let Some(a) = first {
            first = detach(a);
            let b = first;
            if let Some(b) = b {
                first = detach(b);
            }
            if let Some(pair) = Self::merge(Some(a), b) {
                Self::node(&pair).next.set(pairs);
                pairs = Some(pair);
            }
        }
        let mut root = None;
        while let Some(pair) = pairs {
            pairs = Self::node(&pair).next.take();
            root = Self::merge(Some(pair), root);
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Member(usize, Node<Member>);

    // SAFETY: always the one field.
    unsafe impl Heaped for Member {
        fn node(&self) -> &Node<Member> {
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

    #[test]
    fn members_come_out_in_the_order_of_their_keys() {
        let members: Vec<_> = (0..300).map(|n| Arc::new(Member(n, Node::new()))).collect();
        let mut heap = Heap::<Arc<Member>>::new();
        let mut model: Vec<(u64, usize)> = Vec::new();
        let mut state = 3_u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        for _ in 0..if cfg!(miri) { 300 } else { 20_000 } {
            let number = random() as usize % members.len();
            let key = random() % 50;
            match model.iter().position(|&(_, member)| member == number) {
                None => {
                    heap.push(members[number].clone(), key);
                    model.push((key, number));
                }
                Some(place) if random() % 2 == 0 => {
                    assert_eq!(heap.remove(&members[number]).unwrap().0, number);
                    assert!(heap.remove(&members[number]).is_none());
                    model.swap_remove(place);
                }
                Some(_) => {
                    let smallest = model.iter().map(|&(key, _)| key).min();
                    assert_eq!(heap.first_key(), smallest);
                    match heap.pop_until(key) {
                        Some(member) => {
                            let place = model.iter().position(|&(_, number)| number == member.0).unwrap();
                            assert_eq!(Some(model.swap_remove(place).0), smallest);
                            assert!(smallest.unwrap() <= key);
                        }
                        None => assert!(smallest.unwrap() > key),
                    }
                }
            }
        }
        let mut last = 0;
        while let Some(key) = heap.first_key() {
            assert!(key >= last);
            last = key;
            heap.pop_until(u64::MAX).unwrap();
        }
        assert!(members.iter().all(|member| Arc::strong_count(member) == 1), "every reference came back");
    }

    #[test]
    fn of_two_with_one_key_the_older_comes_first() {
        let members: Vec<_> = (0..2).map(|n| Arc::new(Member(n, Node::new()))).collect();
        let mut heap = Heap::<Arc<Member>>::new();
        members.iter().for_each(|member| heap.push(member.clone(), 5));
        assert_eq!([heap.pop_until(5).unwrap().0, heap.pop_until(5).unwrap().0], [0, 1]);
    }

    #[test]
    fn a_heap_takes_no_member_out_of_another() {
        let member = Arc::new(Member(1, Node::new()));
        let (mut a, mut b) = (Heap::<Arc<Member>>::new(), Heap::<Arc<Member>>::new());
        a.push(member.clone(), 5);
        assert!(b.remove(&member).is_none());
        assert!(a.remove(&member).is_some());
    }
}
