//! A relative acts at every single point of every operation, one point after the other: chance does not decide which
//! points are tested.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use graft_paging::{AArch64, Access, Inherit, Permissions, Promise, Share, X86_64};

use crate::bugs::{Case, HERE, PAGE, SIZE, range};
use crate::history::{GIB, MIB, neighbours};
use crate::machine::{Bystander, Point};
use crate::mmu::Architecture;
use crate::world::pieces::Piecewise;

type Action<'a, A> = dyn Fn(&Case<A>) + 'a;

/// Lets an action happen when the operation under way reaches a point.
struct At<A: Architecture + 'static> {
    case: Rc<Case<A>>,
    left: Cell<Option<u32>>,
    action: fn(&Case<A>),
    busy: RefCell<()>,
}

impl<A: Architecture + 'static> Bystander for At<A> {
    fn act(&self, _point: Point) {
        // The action has points of its own, too.
        let Ok(_busy) = self.busy.try_borrow_mut() else { return };
        match self.left.get() {
            None => {}
            Some(0) => {
                self.left.set(None);
                self.case.0.while_nested(|| (self.action)(&self.case));
            }
            Some(left) => self.left.set(Some(left - 1)),
        }
    }
}

/// The state of a family's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    /// The relatives have written different values to both tables.
    Busy,
    /// All but the first and the last page of the two neighbouring tables are reserved and were never touched, or have
    /// been given up; the whole family shares the tables.
    Untouched,
}

/// Two relatives of process 1, a snapshot of it, and process 1 itself.
fn family<A: Architecture + 'static>(past: Past, share: Share, guaranteed: bool) -> Case<A> {
    let case = Case::<A>::on(64, neighbours());
    case.0.reserve(0, range(8 * GIB, PAGE), Permissions::ReadWrite, Inherit::Yes).unwrap();
    if let Past::Untouched = past {
        case.0.discard(0, range(HERE + PAGE, SIZE - PAGE)).unwrap();
        case.write(0, HERE + SIZE - PAGE);
    }
    let fork = |from, to| match guaranteed {
        true => case.0.fork_guaranteed(from, to, share).unwrap(),
        false => case.0.fork(from, to, share).unwrap(),
    };
    fork(0, 1);
    case.0.snapshot(1, 0, share).unwrap();
    if let Past::Busy = past {
        case.write(1, HERE + 2 * MIB + PAGE);
        case.0.unmap(1, range(HERE + PAGE, PAGE)).unwrap();
    }
    fork(1, 2);
    case
}

/// Runs the operation in a new family again and again, with the action one point later each time.
fn at_every_point<A: Architecture + 'static>(
    what: &str,
    begin: impl Fn() -> Case<A>,
    operation: &Action<A>,
    action: fn(&Case<A>),
) {
    for point in 0.. {
        let case = Rc::new(begin());
        let at = Rc::new(At { case: case.clone(), left: Cell::new(Some(point)), action, busy: RefCell::default() });
        let bystander: Rc<dyn Bystander> = at.clone();
        case.0.machine.set_bystander(Rc::downgrade(&bystander));
        operation(&case);
        let happened = at.left.take().is_none();
        drop((at, bystander));
        case.0.audit().unwrap_or_else(|wrong| panic!("{what}, point {point}: {wrong}"));
        case.read_everything(1..2);
        Rc::into_inner(case).expect("no other reference is left").end();
        if !happened {
            break;
        }
    }
}

/// A relative that shared upper tables ends while a restore is under way: the restore takes back fewer frames than it
/// committed.
#[test]
fn a_sharer_of_upper_tables_exits_at_every_point_of_a_restore() {
    fn case<A: Architecture + 'static>() {
        let begin = || {
            let case = Case::<A>::new();
            case.0.fork_guaranteed(0, 1, Share::Level3).unwrap();
            case.0.snapshot(1, 0, Share::Level3).unwrap();
            case.write(1, HERE);
            case.0.fork_guaranteed(1, 2, Share::Level1).unwrap();
            case
        };
        let exit = |case: &Case<A>| case.0.exit(2).unwrap();
        at_every_point("restore", begin, &|case: &Case<A>| case.0.restore(1, 0).unwrap(), exit);
    }
    case::<AArch64>();
    case::<X86_64>();
}

/// Every operation against one act of a relative.
fn whatever_happens<A: Architecture + 'static>(action: fn(&Case<A>)) {
    let across = range(HERE + PAGE, 2 * MIB);
    let operations: [(&str, &Action<A>); 20] = [
        ("write", &|case| case.0.access(1, 1, HERE, Access::Write, 7).unwrap()),
        ("write beside", &|case| case.0.access(1, 1, HERE + 2 * MIB, Access::Write, 7).unwrap()),
        ("touch", &|case| case.0.access(1, 1, HERE + 2 * MIB - PAGE, Access::Write, 7).unwrap()),
        ("read", &|case| case.0.access(1, 1, HERE + 2 * MIB - PAGE, Access::Read, 0).unwrap()),
        ("kernel's write", &|case| case.0.kernel_access(1, HERE + 4 * PAGE, Access::Write, 7).unwrap()),
        ("reserve", &|case| case.0.reserve(1, range(HERE, PAGE), Permissions::Read, Inherit::Yes).unwrap()),
        ("unmap a page", &|case| case.0.unmap(1, range(HERE, PAGE)).unwrap()),
        ("unmap", &|case| case.0.unmap(1, range(HERE + PAGE, 2 * MIB)).unwrap()),
        ("protect a page", &|case| case.0.protect(1, range(HERE + 2 * MIB, PAGE), Permissions::Read).unwrap()),
        ("protect", &|case| case.0.protect(1, range(HERE + 2 * PAGE, 2 * MIB), Permissions::Read).unwrap()),
        ("protect as it is", &|case| {
            case.0.protect(1, range(HERE + 2 * MIB, 2 * MIB), Permissions::ReadWrite).unwrap()
        }),
        ("discard", &|case| case.0.discard(1, range(HERE + 2 * MIB - PAGE, 3 * PAGE)).unwrap()),
        ("move", &|case| {
            case.0.relocate(1, range(HERE + 2 * MIB - PAGE, 3 * PAGE), range(4 * GIB + PAGE, 3 * PAGE)).unwrap()
        }),
        ("move tables", &|case| case.0.relocate(1, range(HERE, SIZE), range(4 * GIB, SIZE)).unwrap()),
        ("restore", &|case| case.0.restore(1, 0).unwrap()),
        ("fork", &|case| case.0.fork(1, 3, Share::Level3).unwrap()),
        ("fork pages", &|case| case.0.fork(1, 3, Share::Pages).unwrap()),
        ("snapshot", &|case| case.0.snapshot(1, 1, Share::Pages).unwrap()),
        ("look", &|case| case.0.look(1).unwrap()),
        // Parts of two tables become one descriptor; where there is content, they move page by page, as under "move".
        ("move across", &|case| case.0.relocate(1, across, range(4 * GIB, 2 * MIB)).unwrap()),
    ];
    for past in [Past::Busy, Past::Untouched] {
        for share in [Share::Level3, Share::Level1] {
            for guaranteed in [false, true] {
                let suitable = operations.len() - usize::from(past == Past::Busy);
                for (name, operation) in &operations[..suitable] {
                    let what = format!("{name}, {past:?}, {share:?}, guaranteed: {guaranteed}");
                    at_every_point(&what, || family::<A>(past, share, guaranteed), operation, action);
                }
            }
        }
    }
}

/// Every operation in pieces against one act of a relative, between the pieces and in the middle of each.
fn whatever_happens_between<A: Architecture + 'static>(action: fn(&Case<A>)) {
    let in_pieces = |case: &Case<A>, what| {
        case.0.in_pieces(1, range(HERE + 2 * MIB, 2 * MIB), what, Permissions::Read, 60_000).unwrap();
    };
    let to = range(4 * GIB + PAGE, 2 * MIB);
    for share in [Share::Level3, Share::Level1] {
        for guaranteed in [false, true] {
            let promise = if guaranteed { Promise::Guaranteed } else { Promise::BestEffort };
            let operations: [(&str, &Action<A>); 7] = [
                ("unmap", &|case| in_pieces(case, Piecewise::Unmapping)),
                ("protect", &|case| in_pieces(case, Piecewise::Protecting)),
                ("discard", &|case| in_pieces(case, Piecewise::Discarding)),
                ("move", &|case| case.0.relocate_in_pieces(1, range(HERE + 2 * MIB, 2 * MIB), to, 90_000).unwrap()),
                ("fork pages", &|case| case.0.fork_in_pieces(1, 3, Share::Pages, promise, 1).unwrap()),
                ("fork", &|case| case.0.fork_in_pieces(1, 3, Share::Level3, promise, 1).unwrap()),
                ("exit", &|case| case.0.exit_in_pieces(1, 1).unwrap()),
            ];
            // With fewer tables of its own, at level 1, a process ends in one piece.
            let suitable = operations.len() - usize::from(share == Share::Level1);
            for (name, operation) in &operations[..suitable] {
                let what = format!("{name} in pieces, {share:?}, guaranteed: {guaranteed}");
                at_every_point(&what, || family::<A>(Past::Busy, share, guaranteed), operation, action);
            }
        }
    }
}

macro_rules! actions {
    ($($name:ident: $action:expr;)*) => { $(
        #[test]
        fn $name() {
            whatever_happens::<AArch64>($action);
            whatever_happens::<X86_64>($action);
            whatever_happens_between::<AArch64>($action);
            whatever_happens_between::<X86_64>($action);
        }
    )* };
}

actions! {
    a_parent_exits_at_every_point_of_every_operation: |case| case.0.exit(0).unwrap();
    a_child_exits_at_every_point_of_every_operation: |case| case.0.exit(2).unwrap();
    a_whole_family_exits_at_every_point_of_every_operation: |case| (case.0.exit(0).unwrap(), case.0.exit(2).unwrap()).0;
    a_parent_writes_at_every_point_of_every_operation: |case| case.0.access(0, 0, HERE, Access::Write, 9).unwrap();
    a_child_writes_at_every_point_of_every_operation:
        |case| case.0.access(2, 2, HERE + 2 * MIB, Access::Write, 9).unwrap();
    a_child_reads_untouched_memory_at_every_point_of_every_operation:
        |case| case.0.access(2, 2, HERE + 2 * MIB - PAGE, Access::Read, 0).unwrap();
    a_whole_family_reads_untouched_memory_at_every_point_of_every_operation:
        |case| [0, 2].into_iter().for_each(|slot| case.0.access(slot, slot, HERE + 2 * MIB, Access::Read, 0).unwrap());
    a_child_unmaps_at_every_point_of_every_operation: |case| case.0.unmap(2, range(HERE, 2 * MIB + PAGE)).unwrap();
    a_parent_forks_at_every_point_of_every_operation: |case| case.0.fork(0, 4, Share::Level1).unwrap();
}

/// The eighth entry of a line beside seven pages.
#[derive(Clone, Copy, Debug)]
enum Odd {
    /// A page like them.
    Page,
    /// A reservation.
    Untouched,
    /// The page of zeroes.
    Read,
    /// Empty.
    Empty,
    /// Memory that is not counted.
    Foreign,
}

/// A split copies entries line by line where all entries of a line are pages. An entry that is something else, or
/// becomes something else because a relative reads it or writes beside it, stays as it is in the original.
#[test]
fn a_line_with_one_entry_unlike_the_others_is_copied_at_every_point_of_what_relatives_do() {
    /// The second line of the first table.
    const LINE: u64 = HERE + 8 * PAGE;

    fn line<A: Architecture + 'static>(odd: Odd, place: u64, share: Share) -> Case<A> {
        let pages = (0..8).map(|page| LINE + page * PAGE);
        let case = Case::<A>::on(64, pages.clone().chain([HERE, HERE + 2 * MIB]).collect());
        let odd_page = range(LINE + place * PAGE, PAGE);
        pages.filter(|page| *page != odd_page.start()).for_each(|page| case.write(0, page));
        match odd {
            Odd::Page => case.write(0, odd_page.start()),
            Odd::Untouched => {}
            Odd::Read => case.0.access(0, 0, odd_page.start(), Access::Read, 0).unwrap(),
            Odd::Empty | Odd::Foreign => case.0.unmap(0, odd_page).unwrap(),
        }
        if let Odd::Foreign = odd {
            case.0.map_foreign(0, odd_page, Permissions::ReadWrite, graft_paging::Foreign::Normal).unwrap();
        }
        case.0.fork(0, 1, share).unwrap();
        case.0.fork(1, 2, share).unwrap();
        case
    }

    fn case<A: Architecture + 'static>() {
        let operations: [(&str, &Action<A>); 4] = [
            ("write beside", &|case| case.0.access(1, 1, HERE, Access::Write, 7).unwrap()),
            ("write in the line", &|case| case.0.access(1, 1, LINE + 4 * PAGE, Access::Write, 7).unwrap()),
            ("fork pages", &|case| case.0.fork(1, 3, Share::Pages).unwrap()),
            ("unmap", &|case| case.0.unmap(1, range(LINE + 7 * PAGE, PAGE)).unwrap()),
        ];
        let read =
            |case: &Case<A>| (0..8).for_each(|page| case.0.access(2, 2, LINE + page * PAGE, Access::Read, 0).unwrap());
        let write = |case: &Case<A>| case.0.access(2, 2, LINE + PAGE, Access::Write, 9).unwrap();
        for odd in [Odd::Page, Odd::Untouched, Odd::Read, Odd::Empty, Odd::Foreign] {
            for (place, share) in [(0, Share::Level3), (3, Share::Level1), (7, Share::Level3)] {
                for (name, operation) in &operations {
                    let what = format!("{name}, {odd:?} at {place}, {share:?}");
                    at_every_point(&what, || line::<A>(odd, place, share), operation, read);
                    at_every_point(&what, || line::<A>(odd, place, share), operation, write);
                }
            }
        }
    }
    case::<AArch64>();
    case::<X86_64>();
}
