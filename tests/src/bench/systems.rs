//! What is compared: the depths of sharing, and other systems as far as their figures are known.

use crate::bench::figures::{self, Figure};
use graft_abi::Share;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What no command here measures; the file says where it comes from.
const WITH_A_SOURCE: &str = include_str!("others.csv");

/// One of those that are compared, with its figures.
pub(super) struct System<'a> {
    /// What it is called.
    pub(super) name: String,
    /// The depth of sharing, if it is one of ours.
    pub(super) share: Option<Share>,
    /// Whether it is Linux with pages of the same size as ours.
    pub(super) is_linux: bool,
    figures: Vec<&'a Figure>,
}

impl System<'_> {
    /// The middle value of a metric.
    pub(super) fn median(&self, bytes: u64, metric: &str) -> Option<u64> {
        self.figures.iter().find(|figure| figure.bytes == bytes && figure.metric == metric).map(|figure| figure.median)
    }

    /// The sizes for which a metric is known, and its middle values.
    pub(super) fn by_size(&self, metric: &str) -> Vec<(u64, u64)> {
        let of_it = self.figures.iter().filter(|figure| figure.metric == metric);
        let mut all: Vec<_> = of_it.map(|figure| (figure.bytes, figure.median)).collect();
        all.sort_unstable();
        all
    }
}

/// All that there are figures of: ours from copying to sharing most, then the others in their order.
pub(super) fn compared(figures: &[Figure]) -> Vec<System<'_>> {
    let ours = Share::ALL.map(|share| ("forkbench", share.name()));
    let all = figures.iter().map(|figure| (figure.program.as_str(), figure.share.as_str()));
    let mut names: Vec<(&str, &str)> = Vec::new();
    for name in ours.into_iter().filter(|ours| all.clone().any(|one| one == *ours)).chain(all.clone()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let system = |(program, share): (&str, &str)| System {
        name: match program {
            "forkbench" => share.into(),
            "linux" => format!("Linux {}", upstream(share)),
            "linux-thp" => "Linux THP".into(),
            "odf" => format!("on-demand-fork {share}"),
            _ => format!("{program} {share}"),
        },
        share: if program == "forkbench" { Share::from_name(share) } else { None },
        is_linux: program == "linux",
        figures: figures.iter().filter(|figure| figure.program == program && figure.share == share).collect(),
    };
    names.into_iter().map(system).collect()
}

/// The version in a distribution's name of a kernel: `6.12.117` of `6.12.117+deb13-arm64`.
fn upstream(release: &str) -> &str {
    release.split(['+', '-']).next().unwrap_or(release)
}

/// Other systems' figures, and what to tell about them: Linux's if they have been measured, and those with a source.
pub(super) fn others(linux: &Path) -> Result<(Vec<Figure>, String), String> {
    let (text, remark) = match fs::read_to_string(linux) {
        Ok(text) => (text, format!("Linux: as {} has it\n", linux.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (String::new(), format!("Linux: left out; 'make bench-linux' measures it into {}\n", linux.display()))
        }
        Err(error) => return Err(format!("cannot read {}: {error}", linux.display())),
    };
    let mut others = figures::parse(&text);
    if others.is_empty() && !text.is_empty() {
        return Err(format!("{} has no row PROGRAM,SHARE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N", linux.display()));
    }
    others.extend(figures::parse(WITH_A_SOURCE));
    figures::count_nanoseconds(&mut others);
    Ok((others, remark + "on-demand-fork: tests/src/bench/others.csv has figures and source\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::scratch::Scratch;

    fn names(figures: &[Figure]) -> Vec<String> {
        compared(figures).into_iter().map(|system| system.name).collect()
    }

    #[test]
    fn what_comes_with_a_source_is_all_read() {
        let rows = WITH_A_SOURCE.lines().filter(|line| line.starts_with("odf,") || line.starts_with("sel4,")).count();
        let figures = figures::parse(WITH_A_SOURCE);
        assert!(rows > 0 && figures.len() == rows);
        assert_eq!(names(&figures), ["on-demand-fork arm64", "sel4 16.0-dev"]);
    }

    #[test]
    fn linux_is_there_where_it_was_measured_and_missed_where_not() {
        let scratch = Scratch::new();
        let path = scratch.path().join("bench-linux.csv");
        let (without, remark) = others(&path).unwrap();
        assert!(remark.contains("make bench-linux") && !names(&without).contains(&"Linux 6.12".into()));

        let rows = "linux,6.12.117+deb13-arm64,0,fork,ns,1,2,3,5\nlinux-thp,6.12.117+deb13-arm64,0,fork,ns,1,2,3,5\n";
        fs::write(&path, rows).unwrap();
        let (with, remark) = others(&path).unwrap();
        assert_eq!(with[0].unit, "instructions");
        assert!(!remark.contains("make bench-linux"));
        assert_eq!(names(&with)[..2], ["Linux 6.12.117", "Linux THP"]);

        fs::write(&path, "no rows\n").unwrap();
        assert!(others(&path).unwrap_err().contains("bench-linux.csv has no row"));
    }

    #[test]
    fn ours_come_first_from_copying_to_sharing_most() {
        let figures = figures::parse(
            "linux,6.12,4096,fork,ns,1,9,3,5\nforkbench,l1,4096,fork,ns,1,2,3,5\n\
             forkbench,copy,8192,fork,ns,1,6,3,5\nforkbench,copy,4096,fork,ns,1,5,3,5\n",
        );
        assert_eq!(names(&figures), ["copy", "l1", "Linux 6.12"]);
        let copy = &compared(&figures)[0];
        assert_eq!(copy.by_size("fork"), [(4096, 5), (8192, 6)]);
        assert_eq!((copy.median(8192, "fork"), copy.median(4096, "exit")), (Some(6), None));
    }
}
