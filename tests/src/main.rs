//! The command behind the Makefile's targets.

use clap::{Args, Parser, Subcommand};
use graft_abi::Share;
use graft_tests::bench::{self, compare, missed, profile};
use graft_tests::builder::folder::Build;
use graft_tests::cases;
use graft_tests::harness::foreground::{self, Outcome};
use graft_tests::harness::host;
use graft_tests::harness::machine::{Board, Console, DEVICES, Machine};
use graft_tests::harness::runner::{self, Options};
use graft_tests::harness::session::shell_words;
use graft_tests::judges::{protocol, prove, runs, tables};
use graft_tests::plots::picture;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Builds Graft's images, boots them in QEMU and judges them. `make help` shows the convenient way.
#[derive(Parser)]
#[command(name = "graft-tests")]
struct Arguments {
    /// The build folder.
    #[arg(long, default_value = "build", global = true)]
    build: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes kernel image and archive of what cargo has compiled.
    Pack {
        /// Where cargo put kernel and programs.
        #[arg(long)]
        compiled: PathBuf,
        /// Folder of programs and files to add to the archive.
        #[arg(long)]
        extra: Option<PathBuf>,
        /// The programs.
        programs: Vec<String>,
    },
    /// Makes the folder for a Pi 4's boot partition, and the SD card.
    Image {
        /// Folder with start4.elf, fixup4.dat and bcm2711-rpi-4-b.dtb.
        #[arg(long)]
        firmware: Option<PathBuf>,
    },
    /// Prints how many bytes kernel and programs take in memory.
    Size,
    /// Boots in the terminal; exits with the guest's status.
    Run {
        #[command(flatten)]
        machine: MachineArguments,
        /// End the run after this many seconds; 0 means never.
        #[arg(long)]
        timeout: Option<u64>,
    },
    /// Prints a QEMU command for gdb's `target remote |`.
    GdbCommand {
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// Shows where the instructions of forkbench's figures go, by function, or its cache misses.
    Profile {
        #[command(flatten)]
        machine: MachineArguments,
        /// How much memory forkbench touches.
        #[arg(long)]
        memory: String,
        /// Show where its cache misses are, instead.
        #[arg(long)]
        misses: bool,
        /// Depths of sharing.
        shares: Vec<String>,
    },
    /// Measures fork and what is around it: a table, CSV and charts.
    Bench {
        /// Emulators at a time.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Measures the same on Linux, in the same machine.
    BenchLinux {
        /// The program that measures, made for Linux.
        #[arg(long)]
        program: PathBuf,
        /// More boot arguments for Linux.
        #[arg(long, default_value = "", allow_hyphen_values = true)]
        arguments: String,
        /// Emulators at a time.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Accepts what operations cost now as what they may cost.
    BenchAccept,
    /// Draws the translation tables of two running processes, before and after a write.
    Picture {
        /// How much the fork shares: copy, l3, l2 or l1.
        #[arg(long, default_value = "l3", value_parser = share)]
        share: Share,
    },
    /// Replays histories through both descriptor formats: a table, CSV and charts of what they cost.
    Compare {
        /// Folder of the histories, `*.txt`.
        #[arg(long, default_value = "tests/histories")]
        histories: PathBuf,
    },
    /// Proves laws of the descriptor formats and of the commit charge, with z3.
    Prove {
        /// What rustc made of kernel/paging/src/proof.rs: LLVM IR.
        program: PathBuf,
    },
    /// Looks for calls that never end, in a model of their protocol, with SPIN.
    Model,
    /// Writes traces of what the tree and the running kernel do to translation tables, and judges them.
    TraceTables,
    /// Runs every test; the last line is the count.
    Test {
        /// Emulators at a time.
        #[arg(long)]
        jobs: Option<usize>,
        /// Run only tests whose names contain this.
        #[arg(long)]
        only: Option<String>,
    },
}

#[derive(Args)]
struct MachineArguments {
    #[arg(long, value_enum, default_value_t)]
    board: Board,
    /// Processor model of virt [default: cortex-a72]
    #[arg(long)]
    cpu: Option<String>,
    /// Cores of virt [default: 4]
    #[arg(long)]
    smp: Option<u32>,
    /// Memory of virt [default: 1G]
    #[arg(long)]
    mem: Option<String>,
    /// Interrupt controller of virt: 2 or 3 [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=3))]
    gic: Option<u8>,
    /// Virt with the security extensions.
    #[arg(long)]
    secure: bool,
    /// Virt with the virtualization extensions.
    #[arg(long)]
    virtualization: bool,
    /// The shell may hand out devices.
    #[arg(long)]
    devices: bool,
    /// Count instructions instead of time.
    #[arg(long)]
    icount: bool,
    /// Boot with this archive instead of the one that is built.
    #[arg(long)]
    archive: Option<PathBuf>,
    /// A shell line to run before powering off.
    #[arg(long)]
    cmd: Option<String>,
}

impl MachineArguments {
    fn machine(&self, build: &Build) -> Result<Machine, String> {
        let archive = self.archive.clone().unwrap_or_else(|| build.archive());
        let mut machine = Machine::new(&build.kernel_image()).with_archive(&archive);
        machine.icount = self.icount;
        match self.board {
            Board::Raspi4b => {
                let is_virt_only = self.cpu.is_some() || self.smp.is_some_and(|cores| cores != 4);
                let is_virt_only = is_virt_only || self.mem.is_some() || self.gic.is_some();
                if is_virt_only || self.secure || self.virtualization {
                    return Err("raspi4b always has 4 cores of a Cortex-A72, 2 GiB and a GICv2; \
                                CPU, SMP, MEM, GIC, SECURE and VIRT are for BOARD=virt"
                        .into());
                }
                machine = machine.raspi4b(Some(&build.pi_tree()));
            }
            Board::Virt => {
                machine.cpu = self.cpu.clone().unwrap_or(machine.cpu);
                machine.cores = self.smp.unwrap_or(machine.cores);
                machine.memory = self.mem.clone().unwrap_or(machine.memory);
                machine.gic = self.gic.unwrap_or(machine.gic);
                machine.secure = self.secure;
                machine.virtualization = self.virtualization;
            }
        }
        if let Some(line) = &self.cmd {
            machine = machine.with_line(line);
        }
        if self.devices {
            machine = machine.with_boot_word(DEVICES);
        }
        Ok(machine)
    }
}

fn main() -> ExitCode {
    let Arguments { build, action } = Arguments::parse();
    perform(&Build(build), action).unwrap_or_else(|error| {
        eprintln!("graft: {error}");
        ExitCode::FAILURE
    })
}

fn perform(build: &Build, action: Action) -> Result<ExitCode, String> {
    match action {
        Action::Pack { compiled, extra, programs } => build.pack(&compiled, &programs, extra.as_deref())?,
        Action::Image { firmware } => {
            build.image(firmware.as_deref())?;
            println!("{}: copy these files onto the boot partition of an SD card", build.pi_folder().display());
            match firmware {
                Some(_) => println!("{}: the whole SD card", build.pi_card().display()),
                None => println!("With FIRMWARE=DIR a whole SD card is made, too: see boot/rpi4/README.md."),
            }
        }
        Action::Size => print!("{}", build.sizes()?),
        Action::Run { machine, timeout } => {
            let limit = timeout.map(|seconds| match seconds {
                0 => Duration::MAX,
                _ => Duration::from_secs(seconds),
            });
            let has_line = machine.cmd.is_some();
            return match foreground::run(&machine.machine(build)?, has_line, limit) {
                Ok(Outcome::Status(status)) => Ok(ExitCode::from(status)),
                Ok(Outcome::TimedOut(limit)) => {
                    Err(format!("no end after {} s; TIMEOUT=SECONDS changes the limit, 0 lifts it", limit.as_secs()))
                }
                Err(error) => Err(error.to_string()),
            };
        }
        Action::GdbCommand { machine } => {
            std::fs::create_dir_all(build.logs()).map_err(|error| error.to_string())?;
            // Standard input and output belong to gdb.
            let console = Console::File(build.logs().join("gdb-console.log"));
            let mut command = machine.machine(build)?.command(console);
            println!("{}", shell_words(command.args(["-gdb", "stdio", "-S"])));
        }
        Action::Profile { machine, memory, misses, shares } => {
            let machine = machine.machine(build)?;
            for share in shares {
                let run = if misses { missed::run } else { profile::run };
                println!("{}", run(build, &machine, &memory, &share)?);
            }
        }
        Action::Bench { jobs } => print!("{}", bench::run(build, at_a_time(jobs))?),
        Action::BenchLinux { program, arguments, jobs } => {
            print!("{}", bench::linux::run(build, &program, &arguments, at_a_time(jobs))?);
        }
        Action::BenchAccept => print!("{}", bench::accept(build)?),
        Action::Picture { share } => {
            for file in picture::run(build, share)? {
                println!("{}", file.display());
            }
        }
        Action::Compare { histories } => print!("{}", compare::report(build, &histories)?),
        Action::TraceTables => {
            let folder = build.0.join("traces");
            println!("{}", tables::run(&folder)?);
            println!("{}", runs::run(build, &folder)?);
        }
        Action::Prove { program } => println!("{}", prove::run(&program, &build.0)?),
        Action::Model => println!("{}", protocol::run(&build.0.join("model"))?),
        Action::Test { jobs, only } => {
            let jobs = at_a_time(jobs);
            let mut all = host::cases();
            all.extend(cases::all(build)?);
            let options = Options { jobs, logs: build.logs(), only };
            let tally = runner::run(&all, &options, std::io::stdout());
            println!("\n{tally}");
            return Ok(if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn share(name: &str) -> Result<Share, String> {
    Share::from_name(name).ok_or_else(|| "there is copy, l3, l2 and l1".into())
}

/// As many emulators as were asked for, otherwise one for each core.
fn at_a_time(jobs: Option<usize>) -> usize {
    jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1)
}
