//! Interrupts: a flag for each core, and its thread unparked. A test moves the [lines](raise) of devices.

use super::{MAX_CORES, core_index, timer};
use crate::arch::Trigger;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

struct Line {
    wakeup: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

static LINES: [Line; MAX_CORES] =
    [const { Line { wakeup: AtomicBool::new(false), thread: Mutex::new(None) } }; MAX_CORES];

/// Who interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This core's timer.
    Timer,
    /// Another core has interrupted this one.
    Wakeup,
    /// A device, by its line.
    Line(u32),
}

/// Most lines that any controller has.
pub const LINES_MAX: usize = 8;

/// A device's line. The first core takes its interrupts.
struct Device {
    high: bool,
    trigger: Trigger,
    /// An edge has come and has not been taken.
    latched: bool,
    enabled: bool,
    /// It has been taken and is not finished.
    active: bool,
}

static DEVICES: [Mutex<Device>; LINES_MAX] = [const {
    Mutex::new(Device { high: false, trigger: Trigger::Level, latched: false, enabled: false, active: false })
}; LINES_MAX];
/// The core that takes the interrupts of devices.
const TAKER: usize = 0;

impl Device {
    fn comes(&self) -> bool {
        let pending = match self.trigger {
            Trigger::Edge => self.latched,
            Trigger::Level => self.high,
        };
        pending && self.enabled && !self.active
    }
}

/// Changes a line, and has the core look whose interrupts it may be.
fn change(line: u32, change: impl FnOnce(&mut Device)) {
    let mut device = DEVICES[line as usize].lock().unwrap();
    change(&mut device);
    if device.comes()
        && let Some(thread) = &*LINES[TAKER].thread.lock().unwrap()
    {
        thread.unpark();
    }
}

/// What a device does: makes its line high.
pub fn raise(line: u32) {
    change(line, |device| device.latched |= !core::mem::replace(&mut device.high, true));
}

/// What a device does: makes its line low.
pub fn lower(line: u32) {
    change(line, |device| device.high = false);
}

/// How many lines there are.
pub fn lines() -> u32 {
    LINES_MAX as u32
}

/// Says what of a line, which is masked, is an interrupt.
pub fn set_trigger(line: u32, trigger: Trigger) {
    change(line, |device| device.trigger = trigger);
}

/// Keeps a line's interrupts from coming.
pub fn mask(line: u32) {
    change(line, |device| device.enabled = false);
}

/// Lets a line's interrupts come to the first core, one that is pending at once.
pub fn unmask(line: u32) {
    change(line, |device| device.enabled = true);
}

/// The first line with an interrupt for the calling core.
fn line_that_comes() -> Option<usize> {
    let comes = |line: &usize| DEVICES[*line].lock().unwrap().comes();
    if core_index() == TAKER { (0..LINES_MAX).find(comes) } else { None }
}

/// An interrupt that this core has taken and must [`finish`].
#[derive(Debug)]
#[must_use = "an interrupt that is not finished blocks all others"]
pub struct Interrupt {
    /// Who interrupts.
    pub source: Source,
}

pub(super) fn adopt(index: usize) {
    *LINES[index].thread.lock().unwrap() = Some(thread::current());
}

/// Takes the most urgent pending interrupt, if there is one.
pub fn acknowledge() -> Option<Interrupt> {
    if LINES[core_index()].wakeup.swap(false, Ordering::Acquire) {
        return Some(Interrupt { source: Source::Wakeup });
    }
    if let Some(line) = line_that_comes() {
        let mut device = DEVICES[line].lock().unwrap();
        (device.latched, device.active) = (false, true);
        return Some(Interrupt { source: Source::Line(line as u32) });
    }
    timer::is_due().then_some(Interrupt { source: Source::Timer })
}

/// Lets the next interrupt come.
pub fn finish(interrupt: Interrupt) {
    if let Source::Line(line) = interrupt.source {
        change(line, |device| device.active = false);
    }
}

/// Interrupts another core. Stores made before are visible to it when it has taken the interrupt.
pub fn wake(core: usize) {
    let line = &LINES[core];
    line.wakeup.store(true, Ordering::Release);
    if let Some(thread) = &*line.thread.lock().unwrap() {
        thread.unpark();
    }
}

/// Whether one is pending on the calling core.
pub fn is_pending() -> bool {
    LINES[core_index()].wakeup.load(Ordering::Acquire) || line_that_comes().is_some() || timer::is_due()
}

pub(super) fn wait() {
    while !is_pending() {
        match timer::remaining() {
            Some(nanoseconds) => thread::park_timeout(Duration::from_nanos(nanoseconds)),
            None => thread::park(),
        }
    }
}
