//! What another core does between the plan of an operation and its application, one case after the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicU32;

use graft_paging::{Access, Action, AddressSpace, Format, Frame, Memory, OutOfMemory, Purpose, Share, TableCounts};

use crate::memory::{GIB, Host, MEMORY, MIB, Notes, PAGE, at, range};

/// A memory that runs an action at the next allocation: by then an operation has planned and has stored nothing yet.
type Meanwhile = Rc<RefCell<Option<Box<dyn FnOnce()>>>>;

#[derive(Clone)]
struct Interrupted {
    host: Host,
    meanwhile: Meanwhile,
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: every function calls the host's, which keeps the promise.
unsafe impl Memory for Interrupted {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        let meanwhile = self.meanwhile.take();
        meanwhile.into_iter().for_each(|action| action());
        self.host.allocate(purpose)
    }

    forward_memory!(host);

    fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        self.host.commit(frames)
    }

    fn uncommit(&self, frames: u64) {
        self.host.uncommit(frames);
    }

    fn allocate_committed(&self, purpose: Purpose) -> Option<Frame> {
        self.host.allocate_committed(purpose)
    }

    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: the caller's promise.
        unsafe { self.host.free_committed(frame, purpose) };
    }
}

/// Two processes that share two neighbouring tables full of the same reservation, but for the first page and the last.
struct Pair<F: Format> {
    host: Host,
    meanwhile: Meanwhile,
    first: AddressSpace<F, Interrupted>,
    second: Rc<RefCell<AddressSpace<F, Interrupted>>>,
}

impl<F: Format> Pair<F> {
    fn new(share: Share) -> Self {
        let (host, tlb, meanwhile) = (Host::new(64), Notes::default(), Meanwhile::default());
        let memory = Interrupted { host: host.clone(), meanwhile: meanwhile.clone() };
        let mut first = AddressSpace::new(memory).unwrap();
        first.reserve(&tlb, range(GIB, 4 * MIB), MEMORY).unwrap();
        for page in [GIB, GIB + 4 * MIB - PAGE] {
            first.resolve(&tlb, at(page), Access::Write).unwrap();
        }
        let second = Rc::new(RefCell::new(first.fork(&tlb, share).unwrap()));
        Pair { host, meanwhile, first, second }
    }

    /// Lets the second process read a page for the first time as soon as the first process has planned an operation.
    fn read_meanwhile(&self, page: u64) {
        let second = self.second.clone();
        *self.meanwhile.borrow_mut() = Some(Box::new(move || {
            let resolved = second.borrow_mut().resolve(&Notes::default(), at(page), Access::Read).unwrap();
            assert_eq!((resolved.action, resolved.table_splits), (Action::ZeroPage, 0));
        }));
    }

    fn end(self) {
        assert!(self.meanwhile.borrow().is_none(), "nothing was allocated: nothing happened meanwhile");
        self.first.destroy(&Notes::default());
        Rc::into_inner(self.second).expect("the last").into_inner().destroy(&Notes::default());
        assert_eq!(self.host.in_use(), 0);
    }
}

cases! {
    /// Untouched memory moves as one descriptor, even where a relative has begun to read it.
    fn a_relative_reads_what_is_about_to_move<F>() {
        for share in [Share::Level3, Share::Level2, Share::Level1] {
            for page in [GIB + PAGE, GIB + 2 * PAGE, GIB + 2 * MIB] {
                let mut pair = Pair::<F>::new(share);
                pair.read_meanwhile(page);
                let (before, to) = (pair.first.usage(), GIB + 64 * MIB);
                // From an odd page to a place that one descriptor covers.
                pair.first.relocate(&Notes::default(), range(GIB + PAGE, 2 * MIB), range(to, 2 * MIB)).unwrap();
                assert_eq!(pair.first.usage(), before, "{share:?}");
                let read = pair.first.resolve(&Notes::default(), at(to + PAGE), Access::Read).unwrap();
                assert_eq!(read.action, Action::ZeroPage);
                pair.end();
            }
        }
    }

    /// A read has no effect on `discard`, which does nothing where nothing was written.
    fn a_relative_reads_what_is_about_to_be_discarded<F>() {
        for share in [Share::Level3, Share::Level1] {
            let mut pair = Pair::<F>::new(share);
            pair.read_meanwhile(GIB + PAGE);
            pair.first.discard(&Notes::default(), range(GIB, 2 * MIB)).unwrap();
            assert_eq!(pair.first.usage().pages, 1);
            pair.end();
        }
    }
}
