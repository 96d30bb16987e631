//! A thread's registers while it is not running in user space.

/// Named as AArch64 names them: the call interface is the same.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct Context {
    /// General-purpose registers.
    pub x: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// Where to go on.
    pub pc: u64,
    /// Flags.
    pub pstate: u64,
    /// The thread's own word.
    pub thread_pointer: u64,
}

impl Context {
    /// All registers zero.
    pub const fn zeroed() -> Self {
        Context { x: [0; 31], sp: 0, pc: 0, pstate: 0, thread_pointer: 0 }
    }

    /// The registers with which a program begins.
    pub const fn new_user(entry: u64, stack: u64, x0: u64, x1: u64) -> Self {
        let mut context = Self::zeroed();
        context.x[0] = x0;
        context.x[1] = x1;
        context.sp = stack;
        context.pc = entry;
        context
    }
}

/// Leaves the kernel for the thread whose registers these are.
///
/// # Safety
/// The context is the calling core's alone.
pub unsafe fn resume(_context: *mut Context) -> ! {
    unimplemented!("no program runs on the host yet")
}
