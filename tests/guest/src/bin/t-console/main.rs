//! Tests the server of the console against its clients, and against what is typed: this program is the driver of a
//! server of its own, so that it can type, and let the device take nothing.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod anew;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use graft_drivers::pl011::SERVED;
use graft_rt::archive::Archive;
use graft_rt::console::protocol::{self, Operation, WRITE_MAX};
use graft_rt::console::{self, INTERRUPT, Job, Mode, SUSPEND, Size};
use graft_rt::grants::Grants;
use graft_rt::heal::{Event, Guarded};
use graft_rt::memory::Shared;
use graft_rt::message::{Connection, Message};
use graft_rt::notification::Notification;
use graft_rt::process::close;
use graft_rt::ring::{CAPACITY, Consumer, Producer, memory};
use graft_rt::store::Kept;
use graft_rt::sync::Mutex;
use graft_rt::test::{FreeFrames, Numbers, Report, claim_end, claim_success, touch_stack_and_heap, wait_until};
use graft_rt::{Arguments, Error, ExitStatus, Handle, Process, Share, claim, claim_eq, thread, time};

graft_rt::program!(main);

/// More than the sessions and the calls kept aside that there can be.
const MANY: usize = 40;
/// Pages of what is kept for the server.
const KEPT_PAGES: usize = 13;
/// More messages than a process has handles.
const MESSAGES: usize = 400;

type Test = fn(&Report, &Desk) -> Result<(), Error>;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let archive = Archive::open().map_err(|_| Error::NotFound)?;
    let image = archive.file("console").map_err(|_| Error::NotFound)?;
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    let all: [Test; 10] = [writes, bad_input, stuck, reads, keys, sessions, size, deaths, anew::killed, anew::anew];
    for test in all {
        let desk = Desk::new(image)?;
        let result = test(&report, &desk);
        claim_eq!(report, result, Ok(()), "a call of the test's own");
        desk.end(&report)?;
    }
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// The driver's side.
struct Terminal {
    told: Notification,
    tells: Notification,
    outgoing: Mutex<Consumer>,
    incoming: Mutex<Producer>,
    shown: Mutex<Vec<u8>>,
    /// Whether the device takes anything.
    takes: AtomicBool,
    is_over: AtomicBool,
}

impl Terminal {
    fn serve(&self) {
        let mut piece = [0; 512];
        while self.told.wait().is_ok() && !self.is_over.load(Ordering::SeqCst) {
            let mut outgoing = self.outgoing.lock();
            while self.takes.load(Ordering::SeqCst) && !outgoing.is_empty() {
                let count = outgoing.read(&mut piece);
                self.shown.lock().extend_from_slice(&piece[..count]);
                // Then only is it out, for the server.
                outgoing.free();
            }
            let _ = self.tells.notify(SERVED);
        }
    }
}

/// A server, and all around it.
struct Desk<'a> {
    image: &'a [u8],
    grants: Grants,
    /// What the grants name, and this program does not use.
    _handed: (Shared, Shared),
    server: Arc<Guarded>,
    /// What root would hand on: the first shell's.
    root: Connection,
    terminal: Arc<Terminal>,
    thread: thread::JoinHandle<()>,
    supervisor: thread::JoinHandle<()>,
}

impl<'a> Desk<'a> {
    fn new(image: &'a [u8]) -> Result<Desk<'a>, Error> {
        let (told, tells) = (Notification::new()?, Notification::new()?);
        let (outgoing, incoming) = (memory()?, memory()?);
        let mut grants = Grants::standard();
        grants.add("uart", "", &[told.handle(), tells.handle(), outgoing.handle(), incoming.handle()]);
        let kept = Kept::new(KEPT_PAGES)?;
        let server = Arc::new(Guarded::start_with(image, &["console"], grants.clone(), Some(kept))?);
        let root = server.connect()?;
        let terminal = Arc::new(Terminal {
            told,
            tells,
            outgoing: Mutex::new(Consumer::new(&outgoing)?),
            incoming: Mutex::new(Producer::new(&incoming)?),
            shown: Mutex::new(Vec::with_capacity(64 << 10)),
            takes: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
        });
        let driver = terminal.clone();
        let thread = thread::spawn(move || driver.serve())?;
        let (tended, desk) = (server.clone(), terminal.clone());
        let supervisor = thread::spawn(move || {
            loop {
                match tended.tend() {
                    // The last word of a server that was killed is ignored, too.
                    Ok(Event::Ignored) if desk.is_over.load(Ordering::SeqCst) => return,
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(Desk { image, grants, _handed: (outgoing, incoming), server, root, terminal, thread, supervisor })
    }

    /// Kills the server, and does what root does then.
    fn start_anew(&self) -> Result<(), Error> {
        let server = self.server.process()?;
        server.kill(8)?;
        server.wait()?;
        self.server.restart(self.image, &["console"], self.grants.clone())
    }

    fn end(self, report: &Report) -> Result<(), Error> {
        self.terminal.is_over.store(true, Ordering::SeqCst);
        self.terminal.told.notify(1)?;
        let _ = self.thread.join();
        let server = self.server.process()?;
        claim_eq!(report, server.kill(9), Ok(()), "the server runs to the end");
        claim_end(report, &server, ExitStatus::Killed(9), format_args!("the server"));
        self.server.stop_tending()?;
        let _ = self.supervisor.join();
        Ok(())
    }

    /// What a person does.
    fn types(&self, bytes: &[u8]) {
        let mut rest = bytes;
        let all = wait_until(|| {
            let put = self.terminal.incoming.lock().put(rest);
            rest = &rest[put..];
            let _ = self.terminal.tells.notify(SERVED);
            rest.is_empty()
        });
        assert!(all, "the server takes nothing that is typed");
    }

    /// What is on the screen since the last time.
    fn shown(&self) -> Vec<u8> {
        let mut shown = self.terminal.shown.lock();
        let all = shown.clone();
        shown.clear();
        all
    }

    fn comes_to_show(&self, expected: &[u8]) -> bool {
        wait_until(|| self.terminal.shown.lock()[..] == *expected) && self.shown() == expected
    }

    fn device_takes(&self, takes: bool) -> Result<(), Error> {
        self.terminal.takes.store(takes, Ordering::SeqCst);
        self.terminal.told.notify(1)
    }
}

fn ask(through: &Connection, words: [u64; 4], read: &[u8], write: &mut [u8]) -> Result<[u64; 5], Error> {
    let [a, b, c, d] = words;
    let message = Message::words([a, b, c, d, 0, 0]);
    let [result, rest @ ..] = through.call_lending_until(message, read, write, soon())?.into_words();
    protocol::result(result).map(|()| rest)
}

fn write(through: &Connection, bytes: &[u8]) -> Result<usize, Error> {
    ask(through, [Operation::Write as u64, bytes.len() as u64, 0, 0], bytes, &mut []).map(|[count, ..]| count as usize)
}

fn read(through: &Connection, mode: Mode, room: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = alloc::vec![0; room];
    let words = [Operation::Read as u64, mode as u64, room as u64, 0];
    let [count, ..] = ask(through, words, &[], &mut buffer)?;
    buffer.truncate(count as usize);
    Ok(buffer)
}

fn open(through: &Connection) -> Result<(u64, Connection), Error> {
    open_told(through, Notification::new()?.into_handle())
}

fn open_told(through: &Connection, told: Handle) -> Result<(u64, Connection), Error> {
    let message = Message { words: [Operation::Open as u64, 0, 0, 0, 0, 0], handle: told };
    let answer = through.call_until(message, soon())?;
    let [result, number, ..] = answer.words;
    protocol::result(result)?;
    Ok((number, Connection::from_handle(answer.handle)))
}

fn set_foreground(through: &Connection, number: u64) -> Result<(), Error> {
    ask(through, [Operation::Foreground as u64, number, 0, 0], &[], &mut []).map(drop)
}

fn soon() -> Duration {
    time::clock() + Duration::from_secs(20)
}

/// A program with a connection as its console; its exit code says whether all was well.
fn program(through: &Connection, does: impl FnOnce() -> Result<bool, Error>) -> Result<Process, Error> {
    let handle = through.handle();
    Process::fork_into(Share::default(), move || {
        console::use_server(Connection::from_handle(handle));
        i32::from(does() != Ok(true))
    })
}

/// What a terminal shows of bytes.
fn as_shown(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| if *byte == b'\n' { &b"\r\n"[..] } else { core::slice::from_ref(byte) })
        .copied()
        .collect()
}

fn writes(report: &Report, desk: &Desk) -> Result<(), Error> {
    let all: Vec<u8> = (0..WRITE_MAX + 40).map(|index| if index % 7 == 3 { b'\n' } else { index as u8 }).collect();
    let mut wrong = 0;
    for length in (0..70).chain((WRITE_MAX - 30)..=all.len()) {
        let bytes = &all[..length];
        let written = write(&desk.root, bytes);
        // It is there when the call returns.
        wrong += usize::from(
            written != Ok(length.min(WRITE_MAX)) || desk.shown() != as_shown(&bytes[..length.min(WRITE_MAX)]),
        );
    }
    claim_eq!(report, wrong, 0, "writes that did not arrive whole");
    let line = b"a line that several programs write, and none in another's\n";
    let writers: Result<Vec<Process>, Error> = (0..8)
        .map(|_| program(&desk.root, || (0..40).try_for_each(|_| console::write_all(line)).map(|()| true)))
        .collect();
    for writer in writers? {
        claim_success(report, &writer, format_args!("one of several programs that write"));
    }
    claim!(report, desk.shown() == as_shown(&line.repeat(320)), "lines of several programs are whole");
    report.done(format_args!(
        "what is written is out when the call returns, of every length, and nothing gets in between"
    ));
    Ok(())
}

fn bad_input(report: &Report, desk: &Desk) -> Result<(), Error> {
    let lent = [b'x'; 32];
    for length in [33, 2048, 1 << 32, u64::MAX] {
        let refused = ask(&desk.root, [Operation::Write as u64, length, 0, 0], &lent, &mut []).err();
        claim_eq!(report, refused, Some(Error::BadArgument), "{length} bytes of 32");
    }
    let (_, job) = open(&desk.root)?;
    let mut numbers = Numbers::new(7);
    let mut unanswered = 0;
    for _ in 0..MESSAGES {
        // No reading: that would wait.
        let operation = numbers.choose(&[0, 1, 3, 4, 5, 7, 8, u64::MAX, 1 << 32 | 1]);
        let words =
            [operation, numbers.next(), numbers.next(), numbers.below(3) as u64, numbers.next(), numbers.next()];
        let handle = if numbers.below(2) == 0 { Notification::new()?.into_handle() } else { Handle::NONE };
        let through = if numbers.below(2) == 0 { &desk.root } else { &job };
        match through.call_until(Message { words, handle }, soon()) {
            Ok(answer) => _ = answer.into_words(),
            Err(_) => unanswered += 1,
        }
        if handle != Handle::NONE {
            let _ = close(handle);
        }
        let _ = through.send(Message::words(words));
    }
    claim_eq!(report, unanswered, 0, "messages without an answer");
    for mode in [2, 3, u64::MAX] {
        let refused = ask(&desk.root, [Operation::Read as u64, mode, 1, 0], &[], &mut [0]).err();
        claim_eq!(report, refused, Some(Error::BadArgument), "mode {mode}");
    }
    // What was read and could not be handed out is the next reader's.
    desk.types(b"kept\r");
    let refused = ask(&desk.root, [Operation::Read as u64, Mode::Lines as u64, 90, 0], &[], &mut [0]).err();
    claim_eq!(report, refused, Some(Error::BadArgument), "room for 90 bytes in 1");
    claim_eq!(report, read(&desk.root, Mode::Lines, 90), Ok(b"kept\n".to_vec()), "what was read before");
    claim!(report, desk.comes_to_show(b"kept\r\n"), "it is shown once");
    claim_eq!(report, write(&desk.root, b"well"), Ok(4), "after all of it");
    claim!(report, desk.comes_to_show(b"well"), "after all of it");
    report.done(format_args!("messages that mean nothing are refused, and cost nothing"));
    Ok(())
}

fn stuck(report: &Report, desk: &Desk) -> Result<(), Error> {
    let (number, job) = open(&desk.root)?;
    set_foreground(&desk.root, number)?;
    desk.device_takes(false)?;
    let flood =
        |_| program(&job, || (0..100).try_for_each(|_| console::write_all(&[b'\n'; 3 * WRITE_MAX])).map(|()| true));
    let floods: Vec<Process> = (0..4).map(flood).collect::<Result<_, _>>()?;
    let full = wait_until(|| desk.terminal.outgoing.lock().len() == CAPACITY);
    claim!(report, full, "the device takes nothing, and the ring is full");
    for flood in &floods {
        flood.kill(3)?;
        claim_end(report, flood, ExitStatus::Killed(3), format_args!("a program in the middle of a write"));
    }
    desk.device_takes(true)?;
    claim_eq!(report, write(&desk.root, b"on it goes\n"), Ok(11), "another program, afterwards");
    let shown = desk.shown();
    let lines = shown.chunks(2).take_while(|line| line == b"\r\n").count();
    claim_eq!(report, shown[2 * lines..], b"on it goes\r\n"[..], "what is written");
    claim!(report, lines <= 5 * WRITE_MAX, "{lines} lines of the dead");
    report.done(format_args!("programs that die while the device takes nothing leave the way free"));
    Ok(())
}

fn reads(report: &Report, desk: &Desk) -> Result<(), Error> {
    desk.types("grün\rtwo\r\x04rest".as_bytes());
    claim_eq!(report, read(&desk.root, Mode::Lines, 4), Ok("grü".as_bytes().to_vec()), "no character is cut in two");
    claim_eq!(report, read(&desk.root, Mode::Lines, 99), Ok(b"n\n".to_vec()), "the rest of the line");
    claim_eq!(report, read(&desk.root, Mode::Lines, 99), Ok(b"two\n".to_vec()), "a line");
    claim_eq!(report, read(&desk.root, Mode::Lines, 99), Ok(b"".to_vec()), "the end");
    claim_eq!(report, read(&desk.root, Mode::Raw, 99), Ok(b"rest".to_vec()), "bytes as they come");
    claim!(report, desk.comes_to_show("grün\r\ntwo\r\n".as_bytes()), "lines are shown as they are read");

    let (number, job) = open(&desk.root)?;
    let expects = |line: &'static [u8]| {
        move || {
            let mut buffer = [0; 40];
            let count = console::read(Mode::Lines, &mut buffer)?;
            Ok(buffer[..count] == *line)
        }
    };
    // In the background it waits.
    let waiting = program(&job, expects(b"for the job\n"))?;
    let own = program(&desk.root, expects(b"for the shell\n"))?;
    desk.types(b"for the shell\r");
    claim_success(report, &own, format_args!("the foreground reads"));
    set_foreground(&desk.root, number)?;
    desk.types(b"for the jov\x7fb\r");
    claim_success(report, &waiting, format_args!("and then the job"));

    // A reader that is killed takes nothing with it.
    let killed = program(&job, expects(b"never"))?;
    claim!(report, wait_until(|| killed.info().is_ok_and(|info| info.state == 1)), "it waits");
    killed.kill(4)?;
    claim_end(report, &killed, ExitStatus::Killed(4), format_args!("a program that reads"));
    let after = program(&job, expects(b"not lost\n"))?;
    desk.types(b"not lost\r");
    claim_success(report, &after, format_args!("the reader after one that was killed"));

    // Of many that wait, few may; the others are told, and it is the same after the deaths of all of them.
    for round in 0..2 {
        let crowd: Vec<Process> = (0..MANY)
            .map(|_| program(&job, || Ok(console::read(Mode::Lines, &mut [0]) == Err(Error::NotReady))))
            .collect::<Result<_, _>>()?;
        let ended = || crowd.iter().filter(|one| one.info().is_ok_and(|info| info.state == 2)).count();
        claim!(report, wait_until(|| ended() >= MANY - 2), "round {round}: {} are told", ended());
        claim_eq!(report, write(&desk.root, b""), Ok(0), "others are served");
        crowd.iter().for_each(|one| _ = one.kill(5));
        crowd.iter().for_each(|one| _ = one.wait());
    }
    let over = program(&job, || Ok(console::read(Mode::Lines, &mut [0]) == Err(Error::NotAllowed)))?;
    claim!(report, wait_until(|| over.info().is_ok_and(|info| info.state == 1)), "it waits");
    ask(&desk.root, [Operation::Close as u64, number, 0, 0], &[], &mut [])?;
    claim_success(report, &over, format_args!("a reader whose session is over"));
    claim_eq!(report, read(&job, Mode::Raw, 9).err(), Some(Error::NotAllowed), "a session that is over");
    claim_eq!(report, write(&job, b"still"), Ok(5), "which can write");
    report.done(format_args!("what is typed is the foreground's, and the dead take nothing with them"));
    Ok(())
}

fn keys(report: &Report, desk: &Desk) -> Result<(), Error> {
    let root = desk.root.handle();
    // A shell of its own, whose words come back in a notification.
    let (from, to) = (Notification::new()?, Notification::new()?);
    let (ready, said) = (from.handle(), to.handle());
    let shell = Process::fork_into(Share::default(), move || {
        console::use_server(Connection::from_handle(root));
        let (ready, said) = (Notification::from_handle(ready), Notification::from_handle(said));
        let run = || -> Result<(), Error> {
            let told = Notification::new()?;
            let job = Job::new(&told)?;
            job.to_foreground()?;
            for _ in 0..3 {
                ready.notify(1)?;
                said.notify(told.wait()?)?;
            }
            drop(job);
            ready.notify(1)?;
            // The shell's own again: control-C is a byte.
            let mut buffer = [0; 4];
            let count = console::read(Mode::Raw, &mut buffer)?;
            said.notify(if buffer[..count] == [3] { 1 << 9 } else { 1 << 10 })
        };
        i32::from(run().is_err())
    })?;
    for (keys, sign) in [(&b"\x03"[..], INTERRUPT), (b"abc\x1a", SUSPEND)] {
        from.wait_until(soon())?;
        desk.types(keys);
        claim_eq!(report, to.wait_until(soon()), Ok(sign), "the sign of {keys:?}");
    }
    // More than anything can keep, with no program that reads.
    from.wait_until(soon())?;
    desk.types(&[b'x'; 5 * CAPACITY]);
    desk.types(b"\x03");
    claim_eq!(report, to.wait_until(soon()), Ok(INTERRUPT), "control-C behind a flood");
    from.wait_until(soon())?;
    desk.types(b"\x03");
    claim_eq!(report, to.wait_until(soon()), Ok(1 << 9), "control-C when the shell reads bytes");
    claim_success(report, &shell, format_args!("the shell"));
    let rings = desk.shown();
    let rings = rings.iter().filter(|&&byte| byte == 7).count();
    claim!(report, rings > CAPACITY, "the terminal rings for what is lost: {rings}");
    report.done(format_args!(
        "control-C and control-Z reach the shell of the job in the foreground, behind a flood, too"
    ));
    Ok(())
}

fn sessions(report: &Report, desk: &Desk) -> Result<(), Error> {
    let (number, job) = open(&desk.root)?;
    let theirs: Vec<_> = (0..MANY).map_while(|_| open(&job).ok()).collect();
    let ours: Vec<_> = (0..MANY).map_while(|_| open(&desk.root).ok()).collect();
    claim!(
        report,
        !theirs.is_empty() && ours.len() >= 7,
        "sessions: a job's {}, the shell's {}",
        theirs.len(),
        ours.len()
    );
    for (inner, connection) in &theirs {
        claim_eq!(report, set_foreground(&job, *inner).err(), Some(Error::NotAllowed), "a job in the background");
        claim_eq!(report, set_foreground(connection, 0).err(), Some(Error::NotAllowed), "its job");
        let refused = ask(&desk.root, [Operation::Close as u64, *inner, 0, 0], &[], &mut []).err();
        claim_eq!(report, refused, Some(Error::NotAllowed), "another's job");
    }
    claim_eq!(report, set_foreground(&desk.root, number), Ok(()), "the job in the foreground");
    claim_eq!(report, set_foreground(&job, theirs[0].0), Ok(()), "and then its own");
    ask(&desk.root, [Operation::Close as u64, number, 0, 0], &[], &mut [])?;
    desk.types(b"home\r");
    claim_eq!(report, read(&desk.root, Mode::Lines, 9), Ok(b"home\n".to_vec()), "the foreground is the shell's again");
    for (number, _) in &ours {
        ask(&desk.root, [Operation::Close as u64, *number, 0, 0], &[], &mut [])?;
    }
    claim!(report, open(&desk.root).is_ok(), "room again");
    // Sessions whose programs are gone, with nothing said.
    let forgotten = (0..4 * MANY).filter(|_| open(&desk.root).is_ok()).count();
    claim_eq!(report, forgotten, 4 * MANY, "sessions whose connections are closed");
    report.done(format_args!("sessions are few, and the first shell always has some"));
    Ok(())
}

fn size(report: &Report, desk: &Desk) -> Result<(), Error> {
    // Nothing answers: what every terminal has.
    let sized = |expected| program(&desk.root, move || Ok(console::size() == expected));
    claim_success(report, &sized(Size::DEFAULT)?, format_args!("a terminal that does not answer"));
    claim!(report, desk.comes_to_show(b"\x1b[18t"), "it was asked");
    claim_success(report, &sized(Size::DEFAULT)?, format_args!("one that has not answered"));
    claim_eq!(report, desk.shown(), b"", "which is not asked again");
    // Until something is typed: then there is one.
    desk.types(b"a");
    claim_eq!(report, read(&desk.root, Mode::Raw, 9), Ok(b"a".to_vec()), "typed");
    let mut answered = false;
    for _ in 0..20 {
        let asks = sized(Size { columns: 132, rows: 50 })?;
        if desk.comes_to_show(b"\x1b[18t") {
            desk.types(b"b\x1b[8;50;132tc");
        }
        answered = asks.wait()?.is_success();
        // A machine so busy that the answer came too late finds it among what is typed.
        let typed = read(&desk.root, Mode::Raw, 99)?;
        if answered {
            claim_eq!(report, typed, b"bc", "what is typed around the answer");
            break;
        }
        desk.types(b"d");
        read(&desk.root, Mode::Raw, 99)?;
    }
    claim!(report, answered, "the answer is found");
    report.done(format_args!("the terminal says how large it is, or need not"));
    Ok(())
}

/// Programs that do one thing after the other and end at any moment.
fn deaths(report: &Report, desk: &Desk) -> Result<(), Error> {
    let mut numbers = Numbers::new(11);
    for round in 0..60 {
        let (number, job) = open(&desk.root)?;
        set_foreground(&desk.root, number)?;
        let seed = numbers.next();
        let start = |index: u64| {
            program(&job, move || {
                let mut numbers = Numbers::new(seed ^ index);
                let mut buffer = [b'.'; 3000];
                loop {
                    let length = numbers.below(buffer.len());
                    match numbers.below(4) {
                        0 => _ = console::read(Mode::Lines, &mut buffer[..length.min(9)]),
                        1 => {
                            _ = Notification::new().and_then(|told| Job::new(&told)).and_then(|job| job.to_foreground())
                        }
                        _ => _ = console::write_all(&buffer[..length]),
                    }
                }
            })
        };
        let programs: Vec<Process> = (0..4).map(start).collect::<Result<_, _>>()?;
        for _ in 0..numbers.below(6) {
            desk.types(numbers.choose(&[&b"a line\r"[..], b"\x04", b"\x03", b"half", b"\xff\x1b["]));
        }
        programs.iter().for_each(|program| _ = program.kill(6));
        for program in &programs {
            claim_end(report, program, ExitStatus::Killed(6), format_args!("round {round}"));
        }
        ask(&desk.root, [Operation::Close as u64, number, 0, 0], &[], &mut [])?;
        desk.shown();
    }
    desk.types(b"\x15");
    while read(&desk.root, Mode::Raw, 99)?.last() != Some(&0x15) {}
    desk.types(b"after\r");
    claim_eq!(report, read(&desk.root, Mode::Lines, 9), Ok(b"after\n".to_vec()), "after all of it");
    report.done(format_args!("programs that end in the middle of anything leave nothing behind"));
    Ok(())
}
