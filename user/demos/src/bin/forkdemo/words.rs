//! What is said between the pictures.

use alloc::string::String;

use graft_lib::table_view::paint::{Meaning, Palette, Text};
use graft_lib::table_view::picture::COLUMNS;
use graft_rt::{Share, println};

/// What has just happened when a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Prepared,
    Forked,
    ChildRead,
    ChildWrote,
    ParentWrote,
    ChildEnded,
}

impl Step {
    pub(crate) const ALL: [Step; 6] =
        [Step::Prepared, Step::Forked, Step::ChildRead, Step::ChildWrote, Step::ParentWrote, Step::ChildEnded];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Step::Prepared => "1. Before fork",
            Step::Forked => "2. After fork",
            Step::ChildRead => "3. After the child has read A[0]",
            Step::ChildWrote => "4. After the child has written A[0]",
            Step::ParentWrote => "5. After the parent has written A[1]",
            Step::ChildEnded => "6. After the child has ended",
        }
    }

    const fn explanation(self, share: Share) -> &'static str {
        match (self, share) {
            (Step::Prepared, _) => {
                "A process with two regions, A of three pages and B of two. B begins 2 MiB after A, so each has a \
                 level-3 table of its own."
            }
            (Step::Forked, Share::Copy) => {
                "The classic way, for comparison: every table was copied, descriptor by descriptor. The pages are \
                 shared, with two references each, and their descriptors in both processes have become read-only."
            }
            (Step::Forked, Share::L3) => {
                "The child has tables of levels 0 to 2 of its own. The level-3 tables were not copied: both level-2 \
                 tables lead to the same ones, which have two references now. APTable=10 in the descriptors that lead \
                 to them takes write permission from all below. No page descriptor was touched: each still says rw."
            }
            (Step::Forked, Share::L2) => {
                "The child has tables of levels 0 and 1 of its own. Everything from level 2 down is there once, for \
                 both: one reference was counted and one descriptor on each side made read-only."
            }
            (Step::Forked, Share::L1) => {
                "The child has nothing of its own but a level-0 table. Everything from level 1 down is there once, for \
                 both: fork costs the same whatever the process maps."
            }
            (Step::ChildRead, _) => {
                "No * anywhere: a read needs no write permission, takes no fault and changes nothing."
            }
            (Step::ChildWrote, Share::Copy) => {
                "One fault. The child has a copy of the page. The parent's descriptor is still read-only and its page \
                 has one reference: when the parent writes, it finds itself the last owner and copies nothing."
            }
            (Step::ChildWrote, _) => {
                "One fault: the tables on the way to A[0] were split and the page copied. The other pages of A have \
                 two references now, one from each table, and are read-only in BOTH tables: leave the original's side \
                 out, and the parent would later write to pages that the child still reads. B is still one table."
            }
            (Step::ParentWrote, Share::Copy) => {
                "One fault: the parent has a copy of A[1]. The child keeps the old page."
            }
            (Step::ParentWrote, _) => {
                "One fault. The parent is the last owner of its table A, with one reference: APTable=10 comes off \
                 without a copy. A[1] had two references, so that page was copied. The child keeps the old one."
            }
            (Step::ChildEnded, _) => {
                "All counts are 1 again and nothing was leaked. The read-only marks that are left cost nothing: the \
                 next write there finds one reference and takes them off, without a copy."
            }
        }
    }
}

/// Prints what the signs in the pictures mean.
pub(crate) fn legend(share: Share, palette: Palette) {
    let how = match share {
        Share::Copy => "copies all translation tables",
        Share::L3 => "shares level-3 translation tables",
        Share::L2 => "shares translation tables from level 2 down",
        Share::L1 => "shares translation tables from level 1 down",
    };
    let name = share.name();
    println!("{}", heading(&alloc::format!("forkdemo --share {name}: fork that {how}")).paint(palette));
    let sign = |sign: &str, meaning: &str| {
        Text::new().with(Meaning::Heading, alloc::format!(" {sign:11}")).with(Meaning::Plain, meaning)
    };
    for (left, right) in [
        (("[n]", "descriptor n of a table"), ("×n", "references to a table or page")),
        (("APTable=10", "all below is read-only"), ("AP=01 rw", "the page's own bits: read and write")),
        (("▲", "writable, but for a table above"), ("AP=11 ro", "the page's own bits: read only")),
        (("#n", "frame number"), ("*", "descriptor or count changed")),
    ] {
        let line = sign(left.0, left.1).fill(Meaning::Plain, ' ', COLUMNS / 2).then(sign(right.0, right.1));
        println!("{}", line.paint(palette));
    }
}

fn heading(title: &str) -> Text {
    Text::new().with(Meaning::Faint, "── ").with(Meaning::Heading, title).with(Meaning::Plain, " ").fill(
        Meaning::Faint,
        '─',
        COLUMNS,
    )
}

/// Prints the heading of a picture and what there is to see in it.
pub(crate) fn introduce(step: Step, share: Share, palette: Palette) {
    println!();
    println!("{}", heading(step.title()).paint(palette));
    let mut line = String::new();
    for word in step.explanation(share).split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            println!("{line}");
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    println!("{line}");
    println!();
}
