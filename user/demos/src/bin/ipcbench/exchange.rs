//! The measured calls, and a server that does nothing but answer.

use core::arch::asm;

use graft_demos::calls::{timed, write};
use graft_demos::span::Span;
use graft_rt::abi::{Call, PAGE_SIZE, Permissions, SVC_IMMEDIATE, SVC_MESSAGE};
use graft_rt::message::{Connection, Message, Receiver};
use graft_rt::notification::Notification;
use graft_rt::{Error, Handle};

/// Answers every call with the words that came with it, for good, or until the endpoint is closed. A handle that comes
/// is kept.
pub(crate) fn serve(receiver: &Receiver) -> i32 {
    // SAFETY: the loop stores to no memory, and the kernel preserves the registers that it lives in.
    unsafe {
        asm!(
            "mov     x8, {receive}",
            "2:",
            "mov     x0, x20",
            "mov     x7, xzr",
            "mov     x9, xzr",
            "svc     {svc}",
            "mov     x8, {reply_receive}",
            "cbz     x0, 2b",
            svc = const SVC_MESSAGE,
            receive = const Call::Receive as u64,
            reply_receive = const Call::ReplyReceive as u64,
            in("x20") u64::from(receiver.handle().0),
            clobber_abi("C"),
            options(nostack),
        );
    }
    0
}

/// A page in one page.
#[repr(align(4096))]
pub(crate) struct Page(pub(crate) [u8; PAGE_SIZE]);

/// Copies what each call lends, as many bytes as its first word says, and answers it, until the endpoint is closed.
pub(crate) fn serve_copies(receiver: &Receiver) -> i32 {
    let mut page = Page([0; PAGE_SIZE]);
    let mut received = receiver.receive();
    while let Ok(call) = received {
        let bytes = call.message.words[0] as usize;
        if receiver.read(0, &mut page.0[..bytes]).is_err() {
            return 1;
        }
        // The answer shows that the bytes have come.
        received = receiver.reply_receive(Message::words([page.0[bytes - 1].into(), 0, 0, 0, 0, 0]));
    }
    0
}

/// One call that lends these bytes, and its answer.
pub(crate) fn lend(connection: &Connection, bytes: &[u8]) -> Result<Span, Error> {
    let begin = count();
    let answer = connection.call_lending(Message::words([bytes.len() as u64, 0, 0, 0, 0, 0]), bytes, &mut [])?;
    let span = Span::between(begin, count());
    if answer.words[0] == bytes[bytes.len() - 1].into() { Ok(span) } else { Err(Error::BadArgument) }
}

/// The counter, now.
fn count() -> u64 {
    let now;
    // SAFETY: reads a register.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) now, options(nostack)) };
    now
}

/// Whether a client uses floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatingPoint {
    /// Not at all.
    Unused,
    /// Before the call and after it.
    Used,
}

/// One call and its answer: with a handle, or with [`Handle::NONE`]; until a moment, or for ever, which is 0.
pub(crate) fn call(
    connection: &Connection,
    handle: Handle,
    deadline: u64,
    floating_point: FloatingPoint,
) -> Result<Span, Error> {
    let (begin, end, result): (u64, u64, u64);
    let words = [1u64, 2, 3, 4, 5, 6];
    let [mut w1, mut w2, mut w3, mut w4, mut w5, mut w6] = words;
    // SAFETY: what the kernel does not preserve is declared; the call touches no memory.
    unsafe {
        asm!(
            ".arch_extension fp",
            "cbz     x22, 2f",
            "fmov    d0, x22",
            "2:",
            "isb",
            "mrs     x20, cntvct_el0",
            "svc     {svc}",
            "cbz     x22, 3f",
            "fmov    x23, d0",
            "3:",
            "isb",
            "mrs     x21, cntvct_el0",
            ".arch_extension nofp",
            svc = const SVC_MESSAGE,
            inlateout("x0") u64::from(connection.handle().0) => result,
            inlateout("x1") w1,
            inlateout("x2") w2,
            inlateout("x3") w3,
            inlateout("x4") w4,
            inlateout("x5") w5,
            inlateout("x6") w6,
            inlateout("x7") u64::from(handle.0) => _,
            inlateout("x8") Call::Call as u64 => _,
            inlateout("x9") deadline => _,
            out("x20") begin,
            out("x21") end,
            in("x22") u64::from(floating_point == FloatingPoint::Used),
            out("x23") _,
            lateout("x10") _, lateout("x11") _, lateout("x12") _, lateout("x13") _, lateout("x14") _,
            lateout("x15") _, lateout("x16") _, lateout("x17") _,
            options(nostack),
        );
    }
    Error::from_register(result)?;
    if [w1, w2, w3, w4, w5, w6] == words { Ok(Span::between(begin, end)) } else { Err(Error::BadArgument) }
}

/// Why a thread stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An instruction that there is not.
    Fault,
    /// A call of another system.
    ForeignCall,
}

/// Stops until the supervisor has answered.
pub(crate) fn stop(stop: Stop) -> Span {
    let (begin, end): (u64, u64);
    // SAFETY: what a stop changes is the supervisor's, which changes `x0` alone.
    unsafe {
        match stop {
            Stop::Fault => asm!("isb", "mrs {}, cntvct_el0", "udf #1", "isb", "mrs {}, cntvct_el0",
                out(reg) begin, out(reg) end, out("x0") _, options(nostack)),
            Stop::ForeignCall => asm!("isb", "mrs {}, cntvct_el0", "svc #0", "isb", "mrs {}, cntvct_el0",
                out(reg) begin, out(reg) end, out("x0") _, options(nostack)),
        }
    }
    Span::between(begin, end)
}

/// Sets the bits of the counter's value just before the call.
pub(crate) fn notify_with_counter(notification: &Notification) {
    // SAFETY: what the kernel does not preserve is declared; the call touches no memory.
    unsafe {
        asm!(
            "isb",
            "mrs     x1, cntvct_el0",
            "svc     {svc}",
            svc = const SVC_IMMEDIATE,
            inout("x0") u64::from(notification.handle().0) => _,
            inout("x8") Call::Notify as u64 => _,
            clobber_abi("C"),
            options(nostack),
        );
    }
}

/// What mapping a page and unmapping it take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) map: Span,
    pub(crate) unmap: Span,
}

/// Maps a page of fresh memory, writes to it, and unmaps it.
pub(crate) fn map_and_unmap(address: usize) -> Result<Mapping, Error> {
    let (address, bytes) = (address as u64, PAGE_SIZE as u64);
    let permissions = Permissions::ReadWrite as u64;
    // SAFETY: nothing of this program's lies there.
    let map = unsafe { timed(Call::Map, [address, bytes, permissions, 0]) };
    map.x0?;
    write(address as usize);
    // SAFETY: no reference into the page exists.
    let unmap = unsafe { timed(Call::Unmap, [address, bytes]) };
    unmap.x0?;
    Ok(Mapping { map: map.span(), unmap: unmap.span() })
}
