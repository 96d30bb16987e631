//! Programs that are started from a template.

use alloc::vec::Vec;

use graft_rt::archive::Archive;
use graft_rt::grants::{self, Grants};
use graft_rt::message::{Endpoint, Message};
use graft_rt::template::Template;
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, Error, ExitStatus, Share, claim, claim_eq};

/// What each of the programs is given, beside its number.
const CONNECTION: &str = "warm";
const PROGRAMS: i32 = 12;

/// What a program does that was started here: it tells its number, and ends with it.
pub(crate) fn run(arguments: Arguments) -> Option<i32> {
    let connection = graft_rt::message::Connection::from_handle(grants::handle(CONNECTION)?);
    let number = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(-1);
    let answer = connection.call(Message::words([number as u64, 0, 0, 0, 0, 0]));
    Some(if answer.is_ok() { number } else { -2 })
}

pub(crate) fn programs(report: &Report) -> Result<(), Error> {
    let archive = Archive::open().map_err(|_| Error::NotFound)?;
    let image = archive.file("t-snapshot").map_err(|_| Error::NotFound)?;
    let endpoint = Endpoint::new()?;
    let receiver = endpoint.receiver()?;
    for share in Share::ALL {
        let mut frames = FreeFrames::now();
        // The first time, this program's heap grows.
        for round in 0..2 {
            let template = Template::load(image, "t-snapshot", share)?;
            let mut started = Vec::new();
            for number in 0..PROGRAMS {
                let connection = endpoint.connect(number as u64)?;
                let mut grants = Grants::standard();
                grants.add(CONNECTION, "", &[connection.handle()]);
                let words = ["t-snapshot", &alloc::format!("{number}"), &"long".repeat(number as usize * 100)];
                started.push(grants.spawn_warm(&template, &words)?);
            }
            // What has been started needs it no more.
            drop(template);
            for _ in 0..PROGRAMS {
                let received = receiver.receive()?;
                claim_eq!(report, received.message.words[0], received.badge, "--share {}: a number", share.name());
                receiver.reply(Message::default())?;
            }
            for (number, process) in started.iter().enumerate() {
                claim_eq!(report, process.wait()?, ExitStatus::Exited(number as i32), "--share {}", share.name());
            }
            drop(started);
            match round {
                0 => frames = FreeFrames::now(),
                _ => frames.claim_same(report, format_args!("--share {}: programs from a template", share.name())),
            }
        }
        report.done(format_args!("--share {}: programs begin at a template", share.name()));
    }
    let not_elf = Template::load(b"#!/bin/sh\0", "script", Share::default());
    claim!(report, not_elf.is_err(), "a template of what is no program");
    Ok(())
}
