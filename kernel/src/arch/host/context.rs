//! A thread's registers while it is not running in user space.

use crate::arch::Trap;
use graft_abi::REGISTERS;

/// Named as AArch64 names them: the call interface is the same.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Context {
    /// General-purpose registers.
    pub(super) x: [u64; 31],
    /// Stack pointer.
    pub(super) sp: u64,
    /// Where to go on.
    pub(super) pc: u64,
    /// The thread's own word.
    pub(super) thread_pointer: u64,
}

impl Context {
    /// Bytes of every instruction.
    pub(super) const INSTRUCTION: u64 = 4;
    /// What the address of an instruction is a multiple of.
    pub const ENTRY_ALIGNMENT: u64 = Self::INSTRUCTION;
    /// What a stack pointer is a multiple of.
    pub const STACK_ALIGNMENT: u64 = 16;

    /// The registers with which a program or a thread begins.
    pub const fn new_user(entry: u64, stack: u64, arguments: [u64; 2]) -> Self {
        let mut context = Context { x: [0; 31], sp: stack, pc: entry, thread_pointer: 0 };
        context.x[0] = arguments[0];
        context.x[1] = arguments[1];
        context
    }

    /// The same with this thread pointer.
    pub const fn with_thread_pointer(mut self, thread_pointer: u64) -> Self {
        self.thread_pointer = thread_pointer;
        self
    }

    /// Writes a copy to where another thread's registers stay.
    ///
    /// # Safety
    /// The place is good for writes of a context, and is not this one.
    pub unsafe fn copy_to(&self, place: *mut Context) {
        // SAFETY: the caller vouches for the place.
        unsafe { place.write(self.clone()) };
    }

    /// Where the thread goes on.
    pub fn program_counter(&self) -> u64 {
        self.pc
    }

    /// Has the thread go on there.
    pub fn set_program_counter(&mut self, address: u64) {
        self.pc = address;
    }

    /// The number of the call that the thread has made.
    pub fn call_number(&self) -> u64 {
        self.x[8]
    }

    /// Makes another call of the one that the thread is about to make.
    pub fn set_call_number(&mut self, number: u64) {
        self.x[8] = number;
    }

    /// The call's arguments.
    pub fn arguments(&self) -> [u64; 6] {
        let [x0, x1, x2, x3, x4, x5, ..] = self.x;
        [x0, x1, x2, x3, x4, x5]
    }

    /// The words of the message that a call carries, and the handle behind them.
    pub fn message(&self) -> [u64; 7] {
        let [_, x1, x2, x3, x4, x5, x6, x7, ..] = self.x;
        [x1, x2, x3, x4, x5, x6, x7]
    }

    /// Whether a call that carries a message has a handle in it or a deadline.
    pub fn brings_more(&self) -> bool {
        self.x[7] | self.x[9] != 0
    }

    /// The memory that a call lends: address and length of what may be read, and of what may be written.
    pub fn lent(&self) -> [(u64, u64); 2] {
        [(self.x[20], self.x[21]), (self.x[22], self.x[23])]
    }

    /// Stores a message, which has arrived, and the badge of the connection that it came through.
    pub fn set_message(&mut self, message: [u64; 7], badge: u64) {
        self.x[0] = 0;
        self.x[1..8].copy_from_slice(&message);
        self.x[9] = badge;
    }

    /// Stores the handle of a message that has arrived.
    pub fn set_handle(&mut self, handle: u64) {
        self.x[7] = handle;
    }

    /// As the words that a supervisor sees.
    pub fn to_words(&self) -> [u64; REGISTERS] {
        let mut words = [0; REGISTERS];
        words[..31].copy_from_slice(&self.x);
        [words[31], words[32]] = [self.sp, self.pc];
        words
    }

    /// From those words.
    pub fn set_words(&mut self, words: &[u64; REGISTERS]) {
        self.x.copy_from_slice(&words[..31]);
        (self.sp, self.pc) = (words[31], words[32]);
    }

    /// Until when a call that carries a message waits.
    pub fn deadline(&self) -> u64 {
        self.x[9]
    }

    /// Stores a call's result.
    pub fn set_result(&mut self, result: u64) {
        self.x[0] = result;
    }

    /// Stores the two results of a call that has two.
    pub fn set_results(&mut self, results: [u64; 2]) {
        [self.x[0], self.x[1]] = results;
    }

    /// Sets the registers of a thread that has made a call back to those before it.
    pub fn rewind(&mut self) {
        self.pc -= Self::INSTRUCTION;
    }

    /// Takes [`rewind`](Self::rewind) back.
    pub fn advance(&mut self) {
        self.pc += Self::INSTRUCTION;
    }
}

/// Makes the functions through which a core comes back out of the four that the kernel gives.
macro_rules! entries {
    ($call:ident, $message:ident, $more:ident, $trap:ident) => {
        /// What cores of the host come back through.
        pub const ENTRIES: $crate::arch::Entries =
            $crate::arch::Entries { call: $call, message: $message, more: $more, trap: $trap };
    };
}
pub(crate) use entries;

/// What a core comes back through.
pub struct Entries {
    /// Answers a call.
    pub call: unsafe fn(*mut Context) -> *mut Context,
    /// Answers a call that carries a message, mostly.
    pub message: unsafe fn(*mut Context, usize) -> Option<*mut Context>,
    /// Answers one that the other does not.
    pub more: unsafe fn(*mut Context, usize) -> *mut Context,
    /// Answers every other trap.
    pub trap: unsafe fn(*mut Context, Trap) -> *mut Context,
}
