//! What only assembly can do: begin without a runtime, look at every register, end one thread.

use core::arch::global_asm;
use core::mem::offset_of;

use graft_rt::abi::{Call, SVC_IMMEDIATE};
use graft_rt::{Error, Handle};

/// The registers for floating point.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct FloatingPoint {
    pub(crate) control: u64,
    pub(crate) status: u64,
    pub(crate) vectors: [[u64; 2]; 32],
}

impl FloatingPoint {
    pub(crate) const ZERO: FloatingPoint = FloatingPoint { vectors: [[0; 2]; 32], control: 0, status: 0 };

    /// The last vector added to each of the others, so many times.
    pub(crate) fn step(&mut self, times: u64) {
        let [others @ .., last] = &mut self.vectors;
        for lanes in others {
            *lanes = core::array::from_fn(|lane| lanes[lane].wrapping_add(last[lane].wrapping_mul(times)));
        }
    }
}

/// What a thread finds when it begins.
#[repr(C, align(16))]
pub(crate) struct Beginning {
    /// `x0` to `x30`.
    pub(crate) general: [u64; 31],
    pub(crate) stack_pointer: u64,
    pub(crate) thread_pointer: u64,
    pub(crate) flags: u64,
    pub(crate) floating_point: FloatingPoint,
}

impl Beginning {
    pub(crate) const UNKNOWN: Beginning = Beginning {
        general: [u64::MAX; 31],
        stack_pointer: u64::MAX,
        thread_pointer: u64::MAX,
        flags: u64::MAX,
        floating_point: FloatingPoint { vectors: [[u64::MAX; 2]; 32], control: u64::MAX, status: u64::MAX },
    };
}

macro_rules! vectors {
    ($instruction:literal, $base:literal) => {
        concat!(
            vectors!(@ $instruction, $base, "q0, q1", "16"), vectors!(@ $instruction, $base, "q2, q3", "48"),
            vectors!(@ $instruction, $base, "q4, q5", "80"), vectors!(@ $instruction, $base, "q6, q7", "112"),
            vectors!(@ $instruction, $base, "q8, q9", "144"), vectors!(@ $instruction, $base, "q10, q11", "176"),
            vectors!(@ $instruction, $base, "q12, q13", "208"), vectors!(@ $instruction, $base, "q14, q15", "240"),
            vectors!(@ $instruction, $base, "q16, q17", "272"), vectors!(@ $instruction, $base, "q18, q19", "304"),
            vectors!(@ $instruction, $base, "q20, q21", "336"), vectors!(@ $instruction, $base, "q22, q23", "368"),
            vectors!(@ $instruction, $base, "q24, q25", "400"), vectors!(@ $instruction, $base, "q26, q27", "432"),
            vectors!(@ $instruction, $base, "q28, q29", "464"), vectors!(@ $instruction, $base, "q30, q31", "496"),
        )
    };
    (@ $instruction:literal, $base:literal, $registers:literal, $offset:literal) => {
        concat!($instruction, " ", $registers, ", [", $base, ", #", $offset, "]\n")
    };
}

/// Adds v31 to all others, so that values of a moment ago are wrong ones.
macro_rules! count_up {
    () => {
        concat!(
            count_up!(@ 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
            count_up!(@ 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30),
        )
    };
    (@ $($number:literal)*) => {
        concat!($("add v", $number, ".2d, v", $number, ".2d, v31.2d\n"),*)
    };
}

global_asm!(
    ".section .text.raw, \"ax\"",
    ".arch_extension simd",
    // A thread: stores all it finds to x0, which it ends with.
    "begin_and_look:",
    "stp     x0, x1, [x0]",
    "stp     x2, x3, [x0, #16]",
    "stp     x4, x5, [x0, #32]",
    "stp     x6, x7, [x0, #48]",
    "stp     x8, x9, [x0, #64]",
    "stp     x10, x11, [x0, #80]",
    "stp     x12, x13, [x0, #96]",
    "stp     x14, x15, [x0, #112]",
    "stp     x16, x17, [x0, #128]",
    "stp     x18, x19, [x0, #144]",
    "stp     x20, x21, [x0, #160]",
    "stp     x22, x23, [x0, #176]",
    "stp     x24, x25, [x0, #192]",
    "stp     x26, x27, [x0, #208]",
    "stp     x28, x29, [x0, #224]",
    "mov     x1, sp",
    "mrs     x2, tpidr_el0",
    "mrs     x3, nzcv",
    "stp     x30, x1, [x0, #240]",
    "stp     x2, x3, [x0, #256]",
    "add     x1, x0, #{floating_point}",
    vectors!("stp", "x1"),
    "mrs     x2, fpcr",
    "mrs     x3, fpsr",
    "stp     x2, x3, [x1]",
    "mov     x8, #{thread_exit}",
    "svc     #{svc}",
    "brk     #1",
    // x0: values to load, x1: where to store them, x2: a call, made x3 times with x5 and x6, before each
    // x4 turns of a loop and after it a step of the values. Answers with what the last call does.
    "hold_floating_point:",
    "stp     x29, x30, [sp, #-64]!",
    "stp     x19, x20, [sp, #16]",
    "stp     x21, x22, [sp, #32]",
    "stp     x23, x24, [sp, #48]",
    "mov     x19, x1",
    "mov     x20, x2",
    "mov     x21, x3",
    "mov     x22, x4",
    "mov     x23, x5",
    "mov     x24, x6",
    "ldp     x2, x3, [x0]",
    "msr     fpcr, x2",
    "msr     fpsr, x3",
    vectors!("ldp", "x0"),
    "2:",
    "mov     x9, x22",
    "3:",
    "subs    x9, x9, #1",
    "b.ne    3b",
    "mov     x0, x23",
    "mov     x1, x24",
    "mov     x2, xzr",
    "mov     x8, x20",
    "svc     #{svc}",
    count_up!(),
    "subs    x21, x21, #1",
    "b.ne    2b",
    vectors!("stp", "x19"),
    "mrs     x2, fpcr",
    "mrs     x3, fpsr",
    "stp     x2, x3, [x19]",
    "ldp     x23, x24, [sp, #48]",
    "ldp     x21, x22, [sp, #32]",
    "ldp     x19, x20, [sp, #16]",
    "ldp     x29, x30, [sp], #64",
    "ret",
    ".arch_extension nosimd",
    floating_point = const offset_of!(Beginning, floating_point),
    thread_exit = const Call::ThreadExit as u64,
    svc = const SVC_IMMEDIATE,
);

unsafe extern "C" {
    fn begin_and_look(found: *mut Beginning) -> !;
    fn hold_floating_point(
        values: *const FloatingPoint,
        found: *mut FloatingPoint,
        call: u64,
        rounds: u64,
        turns: u64,
        x0: u64,
        x1: u64,
    ) -> u64;
}

/// Makes a thread that begins anywhere.
pub(crate) fn create_at(entry: u64, stack_top: u64, argument: u64) -> Result<Handle, Error> {
    // SAFETY: what these threads do touches no memory, or ends the process.
    unsafe { call(Call::ThreadCreate, [entry, stack_top, argument, 0, 0, 0]) }.map(|x0| Handle(x0 as u32))
}

/// Makes a thread that stores the registers it finds to `found` and ends with that address.
pub(crate) fn look(found: &mut Beginning, stack_top: u64, thread_pointer: u64) -> Result<u64, Error> {
    let entry = begin_and_look as *const () as u64;
    let address = (&raw mut *found).addr() as u64;
    // SAFETY: the thread stores to a variable that is borrowed mutably, and is waited for.
    let handle = unsafe { call(Call::ThreadCreate, [entry, stack_top, address, thread_pointer, 0, 0]) }?;
    let handle = Handle(handle as u32);
    let end = graft_rt::thread::join(handle)?;
    graft_rt::process::close(handle)?;
    Ok(end.to_registers()[1])
}

/// Loads these values and makes a call `rounds` times, each after so many turns of a loop; after each call the values
/// make a [`step`](FloatingPoint::step). Returns what is in the registers then and what the last call has answered.
pub(crate) fn hold(
    values: &FloatingPoint,
    call: Call,
    rounds: u64,
    turns: u64,
    [x0, x1]: [u64; 2],
) -> (FloatingPoint, u64) {
    let mut found = FloatingPoint::ZERO;
    // SAFETY: loads from the one and stores to the other; nothing else of a program without floating point is in
    // these registers. The calls made are `yield`, `sleep`, `clock` and `fork`, which touch no memory.
    let answer =
        unsafe { hold_floating_point(values, &raw mut found, call as u64, rounds.max(1), turns.max(1), x0, x1) };
    (found, answer)
}

/// Ends the calling thread, whose stack holds nothing that is still needed.
pub(crate) fn exit_thread(value: u64) -> ! {
    // SAFETY: the call does not return.
    let refusal = unsafe { call(Call::ThreadExit, [value, 0, 0, 0, 0, 0]) };
    unreachable!("thread_exit returned {refusal:?}")
}

/// # Safety
/// As [`graft_rt::call::raw`].
unsafe fn call(call: Call, arguments: [u64; 6]) -> Result<u64, Error> {
    // SAFETY: the caller's contract.
    unsafe { graft_rt::call::raw(call as u64, arguments) }.result().map(|answer| answer.x0)
}
