//! A test's text and what it says.
//!
//! A thread's operations, as `published.txt` writes them:
//!
//! ```text
//! W x 1      store to what x is mapped to (a number or a register); @r0: the address depends on r0
//! R r0 x     load; F is what a fault leaves in the register
//! P x a      store a descriptor of page a into x's slot at level 3; `-` stands for 0, `=` for another invalid one
//! L x        store the descriptor of x's level-3 table into its slot at level 2; `L x -` removes it
//! RP r0 x    load x's descriptor of level 3
//! tlbi x, tlbiis x, tlbiasidis 1      for x on this core or all, or for an ASID on all (programs run under ASID 1)
//! dsb, isb, dmb, dmbst, svc, eret, and `ctrl r0` for a branch that depends on r0
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use graft_paging::{AArch64, Entry, Format, Frame, Kind, Level, Memory, Page, Permissions, Purpose, Table, VirtAddr};

use super::{ASID, FAULT, OTHER_INVALID, Place, Planted, put};
use crate::machine::{Machine, Shared};

/// A test with its machine, and what is published about it.
pub(super) struct Test {
    pub(super) planted: Option<Planted>,
    pub(super) name: String,
    pub(super) verdict: String,
    /// Why the test is not counted, and whether it is expressed nevertheless.
    pub(super) remark: Option<(String, String)>,
    pub(super) threads: Vec<Thread>,
    /// What must hold at the end: alternatives for each register or place.
    pub(super) wanted: Vec<(Wanted, Vec<u64>)>,
    pub(super) machine: Rc<Machine<AArch64>>,
    pub(super) addresses: BTreeMap<String, u64>,
    pub(super) places: Vec<(Frame, usize)>,
    pub(super) initial: Vec<u64>,
    pub(super) is_table: Vec<bool>,
}

pub(super) enum Wanted {
    Register(usize, String),
    Place(Place),
}

#[derive(Default)]
pub(super) struct Thread {
    pub(super) code: Vec<Operation>,
    pub(super) handler: Vec<Operation>,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Number(u64),
    Register(String),
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Through an address: the place, the value, and the register that the address depends on.
    Store(u64, Operand, Option<String>),
    Load(String, u64, Option<String>),
    /// Of a table's word, which is always mapped.
    StoreWord(Place, u64, Option<String>),
    LoadWord(String, Place),
    /// On this core alone or on all cores; of an address, or of all addresses under an identifier.
    Invalidate(Option<u64>, u16, Everywhere),
    WaitForAll,
    WaitForStores,
    FenceStores,
    Synchronise,
    Branch(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Everywhere {
    Yes,
    No,
}

impl Test {
    pub(super) fn parse(text: &str) -> Test {
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().expect("a test has a name").splitn(4, ' ').collect();
        let remark = head.get(2).map(|kind| (kind.to_string(), head.get(3).unwrap_or(&"").to_string()));
        // x and others share a level-3 table; X has one of its own.
        let names = ["x", "y", "z", "u", "v", "w", "f", "n", "X"];
        let address = |name: &str| match names.iter().position(|known| *known == name) {
            Some(8) => 2 << 20,
            Some(number) => (number as u64) << 12,
            None => panic!("the address {name}"),
        };
        let addresses: BTreeMap<String, u64> =
            names.iter().filter(|name| text.contains(**name)).map(|name| (name.to_string(), address(name))).collect();
        let machine = Rc::new(Machine::new(12, addresses.values().copied().collect()));
        let memory = Shared(machine.clone());
        let allocate = |purpose| {
            let frame = memory.allocate(purpose).expect("a new machine has memory");
            // SAFETY: fresh from the allocator.
            #[expect(unsafe_code, reason = "frames of the model")]
            unsafe {
                memory.zero(frame);
            }
            frame
        };
        let tables: [Frame; 5] = std::array::from_fn(|_| allocate(Purpose::Table));
        let pages: BTreeMap<&str, Frame> = ["a", "b", "c"].map(|page| (page, allocate(Purpose::Page))).into();
        let link = |frame| AArch64::encode(Entry::Table(Table { frame, read_only: false }), Level::ROOT);
        put(&memory, tables[0], 0, link(tables[1]));
        put(&memory, tables[1], 0, link(tables[2]));
        put(&memory, tables[2], 0, link(tables[3]));
        put(&memory, tables[2], 1, link(tables[4]));

        let mut test = Test {
            planted: None,
            name: head[0].into(),
            verdict: head[1].into(),
            remark,
            threads: Vec::new(),
            wanted: Vec::new(),
            machine: machine.clone(),
            places: Vec::new(),
            initial: Vec::new(),
            is_table: Vec::new(),
            addresses,
        };
        for frame in pages.values() {
            test.places.push((*frame, 0));
        }
        for name in names {
            let at = VirtAddr::new(address(name)).expect("a lower address");
            let table = tables[3 + usize::from(name == "X")];
            test.places.push((table, Level::LAST.index(at)));
        }
        test.places.push((tables[2], 1));
        test.places.push((tables[2], 0));
        test.is_table = (0..test.places.len()).map(|place| place >= pages.len()).collect();
        let slot = |name: &str| pages.len() + names.iter().position(|known| *known == name).expect("an address");
        let above = |name: &str| pages.len() + names.len() + usize::from(name != "X");
        let descriptor = |text: &str| match text {
            "-" | "-2" => 0,
            "=" => OTHER_INVALID,
            _ => {
                let (page, writable) = text.strip_suffix(":ro").map_or((text, true), |page| (page, false));
                let page =
                    Page { frame: pages[page], permissions: Permissions::ReadWrite, kind: Kind::Private, writable };
                AArch64::encode(Entry::Page(page), Level::LAST)
            }
        };
        let value = |text: &str| match text {
            "F" => FAULT,
            _ => text.parse().unwrap_or_else(|_| descriptor(text)),
        };

        for line in lines {
            let (what, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            match what {
                "init" => {
                    for (name, text) in rest.split(' ').filter_map(|word| word.split_once('=')) {
                        match pages.get(name) {
                            Some(frame) => memory.word(*frame, 0).set(value(text)),
                            None => {
                                let (table, index) = test.places[slot(name)];
                                put(&memory, table, index, descriptor(text));
                                if text == "-2" {
                                    let (table, index) = test.places[above(name)];
                                    put(&memory, table, index, 0);
                                }
                            }
                        }
                    }
                }
                "final" => {
                    for (name, text) in rest.split(' ').filter_map(|word| word.split_once('=')) {
                        let wanted = match name.split_once(':') {
                            Some((thread, register)) => {
                                Wanted::Register(thread.parse().expect("a thread"), register.into())
                            }
                            None => Wanted::Place(
                                pages.keys().position(|page| *page == name.trim_start_matches('*')).expect("a page"),
                            ),
                        };
                        test.wanted.push((wanted, text.split('|').map(value).collect()));
                    }
                }
                thread => {
                    let thread: usize = thread.parse().expect("a thread's number");
                    let (handler, rest) = rest.strip_prefix("fault ").map_or((false, rest), |rest| (true, rest));
                    let operations = rest.split(" ; ").map(|text| {
                        let mut words: Vec<&str> = text.split(' ').collect();
                        let dependency = words.last().and_then(|word| word.strip_prefix('@')).map(str::to_owned);
                        if dependency.is_some() {
                            words.pop();
                        }
                        let number = |text: &str| match text.starts_with('r') {
                            true => Operand::Register(text.into()),
                            false => Operand::Number(value(text)),
                        };
                        match words[..] {
                            ["W", x, what] => Operation::Store(address(x), number(what), dependency),
                            ["R", register, x] => Operation::Load(register.into(), address(x), dependency),
                            ["P", x, what] => Operation::StoreWord(slot(x), descriptor(what), dependency),
                            ["L", x] => Operation::StoreWord(above(x), link(tables[4]), None),
                            ["L", x, "-"] => Operation::StoreWord(above(x), 0, None),
                            ["RP", register, x] => Operation::LoadWord(register.into(), slot(x)),
                            ["tlbi", x] => Operation::Invalidate(Some(address(x)), ASID, Everywhere::No),
                            ["tlbiis", x] => Operation::Invalidate(Some(address(x)), ASID, Everywhere::Yes),
                            ["tlbiasidis", asid] => {
                                Operation::Invalidate(None, asid.parse().expect("a number"), Everywhere::Yes)
                            }
                            ["dsb"] => Operation::WaitForAll,
                            ["dmb"] => Operation::WaitForStores,
                            ["dmbst"] => Operation::FenceStores,
                            ["isb" | "eret" | "svc"] => Operation::Synchronise,
                            ["ctrl", register] => Operation::Branch(register.into()),
                            _ => panic!("{}: the operation {text}", test.name),
                        }
                    });
                    let operations = operations.collect();
                    test.threads.resize_with(test.threads.len().max(thread + 1), Thread::default);
                    match handler {
                        true => test.threads[thread].handler = operations,
                        false => test.threads[thread].code = operations,
                    }
                }
            }
        }
        test.initial = test.places.iter().map(|(frame, index)| machine.word(*frame, *index).get()).collect();
        // Cores run from here on: the stores above are the initial state, not events.
        (0..test.threads.len()).for_each(|core| machine.activate(core, Some((ASID, tables[0]))));
        test
    }
}
