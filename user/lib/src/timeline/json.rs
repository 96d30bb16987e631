//! The trace event format that viewers of timelines read: JSON, one event a line.
//!
//! Cores are threads of one process, "cores"; what a core runs is a complete event (`X`), what happens is an instant one
//! (`i`). Times are microseconds, with the nanoseconds behind the point.

use alloc::format;
use alloc::string::String;

use graft_abi::{TraceEvent, TraceKind};

use super::{Span, Trace, kind_name};

/// Microseconds, as the format wants them.
fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1_000, nanoseconds % 1_000)
}

/// A text as JSON has it: quotation marks, backslashes and control characters escaped.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..' ' | '\x7f' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Writes the trace, a piece at a time.
///
/// # Errors
/// What `write` refuses.
pub fn write<E>(trace: &Trace, mut write: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let end = trace.bounds().map_or(0, |(_, end)| end);
    write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
    write("{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":\"cores\"}}")?;
    for track in &trace.tracks {
        let core = track.core;
        write(&format!(
            ",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":{core},\"args\":{{\"name\":\"core {core}\"}}}}"
        ))?;
        for Span { start, end, process } in track.spans(end) {
            write(&format!(
                ",\n{{\"name\":{},\"cat\":\"run\",\"ph\":\"X\",\"pid\":1,\"tid\":{core},\"ts\":{},\"dur\":{},\
                 \"args\":{{\"process\":{process}}}}}",
                quoted(&trace.name(process)),
                microseconds(start),
                microseconds(end.saturating_sub(start)),
            ))?;
        }
        for event in &track.events {
            write(&instant(core, event))?;
        }
    }
    write("\n]}\n")
}

fn instant(core: usize, &TraceEvent { time, kind, process, what }: &TraceEvent) -> String {
    format!(
        ",\n{{\"name\":\"{}\",\"cat\":\"event\",\"ph\":\"i\",\"s\":\"t\",\"pid\":1,\"tid\":{core},\"ts\":{},\
         \"args\":{{\"process\":{process},\"{}\":\"{what:#x}\"}}}}",
        kind_name(kind),
        microseconds(time),
        what_name(kind),
    )
}

/// What an event's third number is.
fn what_name(kind: u64) -> &'static str {
    match TraceKind::from_number(kind) {
        Some(TraceKind::Call | TraceKind::Answer | TraceKind::Switch) => "before",
        Some(TraceKind::Fork | TraceKind::Spawn) => "child",
        Some(TraceKind::End) => "status",
        Some(TraceKind::Interrupt) => "source",
        Some(TraceKind::Split | TraceKind::Copy | TraceKind::Reuse | TraceKind::DemandZero | TraceKind::Fault) => {
            "address"
        }
        Some(TraceKind::Idle) | None => "what",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use core::convert::Infallible;

    fn text(trace: &Trace) -> String {
        let mut text = String::new();
        let written = write(trace, |piece| {
            text.push_str(piece);
            Ok::<_, Infallible>(())
        });
        assert_eq!(written, Ok(()));
        text
    }

    #[test]
    fn a_trace_is_an_object_with_an_event_a_line() {
        let text = text(&sample());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
        assert_eq!(lines.last(), Some(&"]}"));
        let events = &lines[1..lines.len() - 1];
        // One for the cores together, two cores, four and one spans, six and two events.
        assert_eq!(events.len(), 1 + 2 + 5 + 8);
        let (last, others) = events.split_last().unwrap();
        assert!(others.iter().all(|line| line.starts_with('{') && line.ends_with("},")) && last.ends_with('}'));
        for part in [
            "{\"name\":\"sh\",\"cat\":\"run\",\"ph\":\"X\",\"pid\":1,\"tid\":0,\"ts\":1.000,\"dur\":1.000,\"args\":{\"process\":3}},",
            "{\"name\":\"fork\",\"cat\":\"event\",\"ph\":\"i\",\"s\":\"t\",\"pid\":1,\"tid\":1,\"ts\":6.000,\"args\":{\"process\":9,\"child\":\"0xa\"}}",
        ] {
            assert!(lines.contains(&part), "{part}");
        }
        for (open, close) in [('{', '}'), ('[', ']')] {
            assert_eq!(text.matches(open).count(), text.matches(close).count());
        }
        assert!(super::tests::text(&Trace::default()).lines().count() == 3);
    }

    #[test]
    fn a_name_cannot_leave_its_quotation_marks() {
        assert_eq!(quoted("a\"b\\c\nd\u{1b}é"), "\"a\\\"b\\\\c\\u000ad\\u001bé\"");
        let mut trace = sample();
        trace.names.insert(3, "\",\"ph\":\"".into());
        assert!(text(&trace).contains("\"name\":\"\\\",\\\"ph\\\":\\\"\","));
    }

    #[test]
    fn a_refusal_to_write_ends_it() {
        let mut pieces = 0;
        let refused = write(&sample(), |_| {
            pieces += 1;
            if pieces == 3 { Err(pieces) } else { Ok(()) }
        });
        assert_eq!((refused, pieces), (Err(3), 3));
    }
}
