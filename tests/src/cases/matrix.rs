//! Every kind of machine, and on each the programs that check the kernel from inside.

use super::play::{LIMIT, boot, raspi4b, virt};
use crate::builder::archive;
use crate::builder::folder::Build;
use crate::harness::machine::{Board, DEVICES, Machine};
use crate::harness::runner::Case;
use crate::harness::verdict::{Expected, Status};
use std::fs;
use std::time::Duration;

/// Time limits: for one test program, and for a run of all of them.
const PROGRAM_LIMIT: Duration = Duration::from_secs(180);
const ALL_PROGRAMS_LIMIT: Duration = Duration::from_secs(400);

/// Names of the test programs begin with this.
const TEST_PREFIX: &str = "t-";
/// Those that need the right to devices, which no other program has.
const DRIVERS: [&str; 2] = ["t-devices", "t-uart"];
/// Those that use up the machine, which takes longer than all others together and differs least between processors and
/// interrupt controllers: on one machine of the sample.
const LONG: [&str; 3] = ["t-bomb", "t-commit", "t-oom"];
/// Of those, what the Pi runs, too: its memory lies in two pieces, and all of it is found and given back. What the
/// others judge, who is killed and what a guarantee keeps, the board does not decide.
const LONG_ON_THE_PI: &str = "t-oom";

pub(super) fn cases(build: &Build) -> Result<Vec<Case>, String> {
    let programs = test_programs(build)?;
    let mut cases = Vec::new();
    let line = |machine: &Machine, line: &str, expected: Expected, limit: Duration| {
        boot(format!("{line} · {machine}"), machine.clone().with_line(line), expected, limit)
    };

    for machine in machines(build) {
        cases.push(line(&machine, "forkdemo", Expected::success(), LIMIT));
    }
    for machine in [virt(build), raspi4b(build)] {
        let is_left_out =
            |name: &str| machine.board == Board::Raspi4b && LONG.contains(&name) && name != LONG_ON_THE_PI;
        for program in programs.iter().filter(|name| !is_left_out(name)) {
            let is_driver = DRIVERS.contains(&program.as_str());
            let machine = if is_driver { machine.clone().with_boot_word(DEVICES) } else { machine.clone() };
            cases.push(line(&machine, program, Expected::success(), PROGRAM_LIMIT));
        }
        // Four processes and all their children on four cores; `make soak` goes on for longer.
        cases.push(line(&machine, "t-stress 15", Expected::success(), PROGRAM_LIMIT));
        cases.push(line(&machine, "healdemo", Expected::success().saying("every byte of the copy"), PROGRAM_LIMIT));
        let piped = Expected::success().saying("       2        3       14");
        let written = "echo one > /tmp/a && echo two three >> /tmp/a && cat < /tmp/a | cat | wc";
        cases.push(line(&machine, written, piped, LIMIT));
        let warm = "spawn --warm --count 3 echo one two && spawn --warm --share l1 echo three | cat";
        cases.push(line(&machine, warm, Expected::success().saying("1 run, from a template"), LIMIT));
        let busy = Expected::success().saying("FOR CALLERS %");
        cases.push(line(&machine, "ps && top -n 2 0.2 && top -n 1 0.1 | wc", busy, LIMIT));
        let traced = Expected::success().saying("\"name\":\"fork\",\"cat\":\"event\",\"ph\":\"i\"");
        cases.push(line(
            &machine,
            "trace --json /tmp/t 9 't-wait' && grep fork /tmp/t && trace on && trace off",
            traced,
            LIMIT,
        ));
        let refused = Expected::status(Status::Is(2)).saying("usage: trace [--json NAME]");
        cases.push(line(&machine, "trace 0 || trace x || trace 1 a b || trace on 1 || trace --json", refused, LIMIT));
        let refused = Expected::status(Status::Is(2)).saying("usage: top [-n TIMES] [SECONDS]");
        cases.push(line(&machine, "top 0.01 || top -n 0 || top 1 2 || top -n", refused, LIMIT));
        cases.push(line(&machine, "true", Expected::success(), LIMIT));
        cases.push(line(&machine, "false", Expected::status(Status::Is(1)), LIMIT));
        cases.push(line(&machine, "nosuch", Expected::status(Status::Is(127)).saying("nosuch"), LIMIT));
        cases.push(line(&machine, "echo one && false; echo two", Expected::success().saying("two"), LIMIT));
    }
    // What a program waits for while others take all that they can, in instructions.
    let counted = Machine { cores: 1, icount: true, ..virt(build) };
    cases.push(line(&counted, "t-bomb --exact", Expected::success(), PROGRAM_LIMIT));
    cases.push(line(&counted, "t-schedule --exact", Expected::success(), PROGRAM_LIMIT));
    cases.push(line(&counted, "t-times --exact", Expected::success(), PROGRAM_LIMIT));
    if !programs.is_empty() {
        let drivers = DRIVERS.join(" && ");
        for (index, machine) in sample(build).into_iter().enumerate() {
            let (what, left_out) = if index == 0 { ("all", &[][..]) } else { ("most", &LONG[..]) };
            let name = format!("{what} {TEST_PREFIX} programs · {machine}");
            let others = |name: &&&str| !DRIVERS.contains(name) && !left_out.contains(name);
            let all = programs.iter().map(String::as_str).collect::<Vec<_>>();
            let all = all.iter().filter(others).copied().collect::<Vec<_>>().join(" && ");
            cases.push(boot(name, machine.clone().with_line(&all), Expected::success(), ALL_PROGRAMS_LIMIT));
            let machine = machine.with_boot_word(DEVICES);
            cases.push(line(&machine, &drivers, Expected::success(), PROGRAM_LIMIT));
        }
    }
    // Processes and threads enough to use up the identifiers of address spaces many times over.
    let few = virt(build).with_line("t-threads && t-fork l3").with_boot_word("graft.asid-bits=8");
    cases.push(boot(format!("threads, 8-bit ASIDs · {few}"), few, Expected::success(), PROGRAM_LIMIT));
    // As many cores as a GICv2 can have, and more than the kernel has room for.
    for (cores, gic) in [(8, 2), (16, 3)] {
        cases.push(line(&Machine { cores, gic, ..virt(build) }, "forkdemo", Expected::success(), LIMIT));
    }
    for gic in [2, 3] {
        let small = Machine { memory: "64M".into(), gic, ..virt(build) };
        cases.push(line(&small, "forkdemo && free", Expected::success(), LIMIT));
    }
    Ok(cases)
}

fn test_programs(build: &Build) -> Result<Vec<String>, String> {
    let path = build.archive();
    let bytes = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let names = archive::unpack(&bytes)?.into_iter().map(|entry| entry.name);
    Ok(names.filter(|name| name.starts_with(TEST_PREFIX)).collect())
}

/// Every combination that `virt` offers, and the Pi.
fn machines(build: &Build) -> Vec<Machine> {
    let mut machines = Vec::new();
    for extensions in [false, true] {
        for gic in [2, 3] {
            for cores in [1, 4] {
                for cpu in ["cortex-a72", "max"] {
                    machines.push(Machine {
                        cpu: cpu.into(),
                        cores,
                        gic,
                        secure: extensions,
                        virtualization: extensions,
                        ..virt(build)
                    });
                }
            }
        }
    }
    machines.push(raspi4b(build));
    machines
}

/// A few that have each pair of properties between them; the plain one and the Pi run every program by itself.
fn sample(build: &Build) -> Vec<Machine> {
    let machine = |cpu: &str, cores, gic, extensions| Machine {
        cpu: cpu.into(),
        cores,
        gic,
        secure: extensions,
        virtualization: extensions,
        ..virt(build)
    };
    vec![
        machine("cortex-a72", 1, 3, true),
        machine("max", 1, 2, false),
        machine("max", 4, 3, false),
        machine("max", 4, 2, true),
    ]
}
