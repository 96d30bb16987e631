//! Programs for the host: instructions one after the other, put together by the test.

use graft_abi::{
    Call, Error, ExitStatus, FirstProgram, Handle, PAGE_SIZE, Permissions, STACK_SIZE, STACK_TOP, Segment, Text,
};
use graft_kernel::arch::processor::{self, Effect, Instruction, User};
use graft_kernel::arch::{Failure, floating_point};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The handle to the system that every program of the tests has.
pub const SYSTEM: Handle = Handle(1);
/// Where a program's writable memory begins.
pub const DATA: u64 = 0x100_0000;
/// Bytes of it.
pub const DATA_SIZE: u64 = 64 << 10;

/// A place in a program, to jump to.
#[derive(Clone)]
pub struct Label(Arc<AtomicU64>);

impl Label {
    /// Its address, once it has been placed.
    pub fn address(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A program in the making.
pub struct Program {
    base: u64,
    code: Vec<Instruction>,
    /// What its writable memory holds first.
    pub data: Vec<u8>,
    claims: u64,
}

/// Codes of programs whose claims do not hold begin here: the number of the claim is what is left.
pub const CLAIMS: u64 = 1000;

impl Program {
    pub fn new() -> Program {
        Program { base: processor::next_code(), code: Vec::new(), data: Vec::new(), claims: 0 }
    }

    /// The address of its first instruction.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// An instruction that goes on with the next; it uses floating point.
    pub fn calculate(&mut self, act: impl Fn(&mut User) + Send + Sync + 'static) {
        self.push(move |user| {
            if !floating_point::is_enabled() {
                return Ok(Effect::FloatingPoint);
            }
            act(user);
            Ok(Effect::Next)
        });
    }

    /// Ends the program with a code that tells this claim from others unless it holds.
    pub fn claim(&mut self, holds: impl Fn(&User) -> bool + Send + Sync + 'static) {
        self.claims += 1;
        self.expect(CLAIMS + self.claims, holds);
    }

    /// Makes a call and claims that it is answered with this error.
    pub fn refused(&mut self, call: Call, arguments: [u64; 4], error: Error) {
        self.call(call, arguments);
        self.claim(move |user| user.x[0] == error.to_register());
    }

    /// Makes a call and claims that it succeeds.
    pub fn granted(&mut self, call: Call, arguments: [u64; 4]) {
        self.call(call, arguments);
        self.claim(|user| (user.x[0] as i64) >= 0);
    }

    /// As [`granted`](Self::granted), with arguments that depend on registers.
    pub fn granted_with(&mut self, call: Call, arguments: impl Fn(&User) -> [u64; 4] + Send + Sync + 'static) {
        self.call_with(call, arguments);
        self.claim(|user| (user.x[0] as i64) >= 0);
    }

    /// Loads a word into a register.
    pub fn load(&mut self, register: usize, address: u64) {
        self.act(move |user| {
            user.x[register] = user.load(address)?;
            Ok(())
        });
    }

    /// Stores a word.
    pub fn store(&mut self, address: u64, value: u64) {
        self.act(move |user| user.store(address, value));
    }

    /// Claims that a word is there.
    pub fn holds(&mut self, address: u64, value: u64) {
        self.load(28, address);
        self.claim(move |user| user.x[28] == value);
    }

    /// Stores its own number into the first word of each page, numbered from `first`.
    pub fn touch(&mut self, base: u64, pages: u64, first: u64) {
        self.act(|user| {
            user.x[28] = 0;
            Ok(())
        });
        let again = self.label();
        self.place(&again);
        self.act(move |user| {
            user.store(base + user.x[28] * PAGE_SIZE as u64, first + user.x[28])?;
            user.x[28] += 1;
            Ok(())
        });
        self.jump_if(&again, move |user| user.x[28] < pages);
    }

    /// Claims that [`touch`](Self::touch) is what was stored last.
    pub fn touched(&mut self, base: u64, pages: u64, first: u64) {
        self.act(|user| {
            (user.x[27], user.x[28]) = (0, 0);
            Ok(())
        });
        let again = self.label();
        self.place(&again);
        self.act(move |user| {
            let number = user.load(base + user.x[28] * PAGE_SIZE as u64)?;
            user.x[27] += u64::from(number == first + user.x[28]);
            user.x[28] += 1;
            Ok(())
        });
        self.jump_if(&again, move |user| user.x[28] < pages);
        self.claim(move |user| user.x[27] == pages);
    }

    /// Has a child do this, and claims that it ends so.
    pub fn child(&mut self, status: ExitStatus, child: impl FnOnce(&mut Program)) {
        self.fork(3, |program| {
            child(program);
            program.exit(0);
        });
        self.ends(status);
    }

    /// Claims that the process whose handle is in `x0` ends so, and closes the handle.
    pub fn ends(&mut self, status: ExitStatus) {
        self.keep(26);
        self.call_with(Call::Wait, |user| [user.x[26], 0, 0, 0]);
        self.claim(move |user| user.x[0] == 0 && user.x[1] == status.to_register());
        self.granted_with(Call::Close, |user| [user.x[26], 0, 0, 0]);
    }

    /// Stores bytes, a page at a time.
    pub fn store_bytes(&mut self, address: u64, bytes: &[u8]) {
        for (number, piece) in bytes.chunks(PAGE_SIZE).enumerate() {
            let piece = piece.to_vec();
            self.act(move |user| user.store_bytes(address + number as u64 * PAGE_SIZE as u64, &piece));
        }
    }

    fn push(&mut self, instruction: impl Fn(&mut User) -> Result<Effect, Failure> + Send + Sync + 'static) {
        self.code.push(Box::new(instruction));
    }

    /// An instruction that goes on with the next.
    pub fn act(&mut self, act: impl Fn(&mut User) -> Result<(), Failure> + Send + Sync + 'static) {
        self.push(move |user| act(user).map(|()| Effect::Next));
    }

    /// A call with these arguments.
    pub fn call(&mut self, call: Call, arguments: [u64; 4]) {
        self.call_with(call, move |_| arguments);
    }

    /// A call whose arguments depend on registers.
    pub fn call_with(&mut self, call: Call, arguments: impl Fn(&User) -> [u64; 4] + Send + Sync + 'static) {
        self.act(move |user| {
            let arguments = arguments(user);
            user.x[..4].copy_from_slice(&arguments);
            user.x[8] = call as u64;
            Ok(())
        });
        self.push(|_| Ok(Effect::Call));
    }

    /// A call that carries a message; `set` stores all of its arguments.
    pub fn call_with_message(&mut self, call: Call, set: impl Fn(&mut User) + Send + Sync + 'static) {
        self.act(move |user| {
            set(user);
            user.x[8] = call as u64;
            Ok(())
        });
        self.push(|_| Ok(Effect::Message));
    }

    /// An instruction that brings the kernel in, with registers that others have set.
    pub fn enter(&mut self, effect: fn() -> Effect) {
        self.push(move |_| Ok(effect()));
    }

    /// A call of another system.
    pub fn foreign_call(&mut self) {
        self.push(|_| Ok(Effect::Foreign));
    }

    /// Keeps the first result in another register, which calls leave alone.
    pub fn keep(&mut self, register: usize) {
        self.act(move |user| {
            user.x[register] = user.x[0];
            Ok(())
        });
    }

    /// Keeps the second result in another register.
    pub fn keep_second(&mut self, register: usize) {
        self.act(move |user| {
            user.x[register] = user.x[1];
            Ok(())
        });
    }

    /// Ends the program with this code.
    pub fn exit(&mut self, code: u64) {
        self.call(Call::Exit, [code, 0, 0, 0]);
    }

    /// Ends the program with this code unless the condition holds.
    pub fn expect(&mut self, code: u64, condition: impl Fn(&User) -> bool + Send + Sync + 'static) {
        let fine = self.label();
        self.jump_if(&fine, condition);
        self.exit(code);
        self.place(&fine);
    }

    /// Ends the program with this code unless the last call was refused with this error.
    pub fn expect_error(&mut self, code: u64, error: Error) {
        self.expect(code, move |user| user.x[0] == error.to_register());
    }

    /// Ends the program with this code if the last call was refused.
    pub fn expect_success(&mut self, code: u64) {
        self.expect(code, |user| (user.x[0] as i64) >= 0);
    }

    pub fn label(&self) -> Label {
        Label(Arc::new(AtomicU64::new(0)))
    }

    /// Makes the label lead to the next instruction.
    pub fn place(&mut self, label: &Label) {
        label.0.store(self.base + self.code.len() as u64 * 4, Ordering::Relaxed);
    }

    /// Makes the label lead to an address outside the program.
    pub fn place_at(&mut self, label: &Label, address: u64) {
        label.0.store(address, Ordering::Relaxed);
    }

    pub fn jump(&mut self, label: &Label) {
        self.jump_if(label, |_| true);
    }

    pub fn jump_if(&mut self, label: &Label, condition: impl Fn(&User) -> bool + Send + Sync + 'static) {
        let label = label.clone();
        self.push(move |user| Ok(if condition(user) { Effect::Jump(label.address()) } else { Effect::Next }));
    }

    /// What a child does, which goes on behind a fork of its own making; the parent has the child's handle in `x0`.
    pub fn fork(&mut self, share: u64, child: impl FnOnce(&mut Program)) {
        let parent = self.label();
        self.call(Call::Fork, [Handle::SELF.0.into(), share, 0, 0]);
        self.jump_if(&parent, |user| user.x[0] != 0);
        child(self);
        self.place(&parent);
        self.expect_success(90);
    }

    /// Its segments, whose bytes lie from an address on: text where its instructions are, writable memory, and a stack
    /// with arguments that lie elsewhere.
    pub fn segments(&self, bytes: u64, arguments: Text) -> [Segment; 3] {
        let text = (self.code.len() as u64 * 4).next_multiple_of(PAGE_SIZE as u64);
        let part = |start, size, permissions: Permissions, address, bytes| Segment {
            start,
            size,
            permissions: permissions as u64,
            address,
            bytes,
        };
        let data = Text { address: bytes, length: self.data.len() as u64 };
        let stack = (STACK_TOP - STACK_SIZE) as u64;
        [
            part(self.base, text, Permissions::ReadExecute, self.base, Text::default()),
            part(DATA, DATA_SIZE, Permissions::ReadWrite, DATA, data),
            part(stack, STACK_SIZE as u64, Permissions::ReadWrite, arguments_address(arguments.length), arguments),
        ]
    }

    /// A file of this program, as the kernel starts the first one.
    pub fn file(&self) -> Vec<u8> {
        let segments = self.segments((size_of::<FirstProgram>() + 3 * size_of::<Segment>()) as u64, Text::default());
        let header = [FirstProgram::MAGIC, self.base, segments.len() as u64];
        let words = header.into_iter().chain(segments.iter().flat_map(words));
        words.flat_map(u64::to_le_bytes).chain(self.data.iter().copied()).collect()
    }

    /// Puts the instructions where cores find them.
    pub fn put(self) {
        assert_eq!(processor::put_code(self.code), self.base, "one program is made at a time");
    }
}

/// Where arguments of this length are: at the top of the stack.
pub fn arguments_address(length: u64) -> u64 {
    STACK_TOP as u64 - length.next_multiple_of(16)
}

/// The fields of a segment, in their order.
pub fn words(segment: &Segment) -> [u64; 6] {
    let Segment { start, size, permissions, address, bytes } = *segment;
    [start, size, permissions, address, bytes.address, bytes.length]
}
