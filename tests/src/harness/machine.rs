//! A machine for QEMU to play: board, processor, memory, and what is loaded into it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A board that the kernel knows and QEMU plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// QEMU's own board without a model in silicon.
    #[default]
    Virt,
    /// The Raspberry Pi 4 Model B.
    Raspi4b,
}

/// Where the guest's serial line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Console {
    /// To the terminal, every key included: Ctrl-C reaches the guest, Ctrl-A X leaves QEMU.
    Terminal,
    /// To the terminal, but Ctrl-C ends QEMU.
    Interruptible,
    /// To the process that holds QEMU's standard input and output, with nothing else in between.
    Pipe,
    /// Into this file.
    File(PathBuf),
}

/// How the guest leaves QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Through a semihosting call, which carries its status.
    Status,
    /// By switching the machine off, which QEMU reports as a success, as it does a reset.
    PowerOff,
}

/// What is in memory when the machine starts.
#[derive(Clone, Debug)]
pub enum Load {
    /// An arm64 `Image`, started by QEMU in the way of a boot loader.
    Image {
        /// The flat kernel image.
        kernel: PathBuf,
        /// The archive of programs, passed as the initial RAM disk.
        archive: Option<PathBuf>,
        /// The boot arguments.
        arguments: Option<String>,
    },
    /// Files at given physical addresses; core 0 starts at `entry` and nothing helps it.
    Placed {
        /// Each file and its address.
        files: Vec<(PathBuf, u64)>,
        /// Address of the first instruction.
        entry: u64,
    },
}

/// A plugin that counts cache lines beside the guest.
#[derive(Clone, Debug)]
pub struct LineCounter {
    /// The plugin.
    pub plugin: PathBuf,
    /// Where it writes what it has counted.
    pub out: PathBuf,
    /// Where it writes which instructions missed, if it is to.
    pub missed: Option<PathBuf>,
}

impl LineCounter {
    /// Counts only, written beside a log.
    pub fn beside(plugin: &Path, log: &Path) -> LineCounter {
        LineCounter { plugin: plugin.into(), out: log.with_extension("lines.csv"), missed: None }
    }
}

/// A plugin that writes down what happens to translation tables.
#[derive(Clone, Debug)]
pub struct TableRecorder {
    /// The plugin.
    pub plugin: PathBuf,
    /// Where it writes the trace.
    pub out: PathBuf,
    /// Virtual address of the kernel's reference counts of frames.
    pub references: u64,
}

/// A machine that QEMU can play. The fields are the variables of the Makefile.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Which board.
    pub board: Board,
    /// Processor model; `virt` only.
    pub cpu: String,
    /// Number of cores; `virt` only.
    pub cores: u32,
    /// Amount of memory in QEMU's notation; `virt` only.
    pub memory: String,
    /// Version of the interrupt controller, 2 or 3; `virt` only.
    pub gic: u8,
    /// Whether the security extensions (EL3) are there; `virt` only.
    pub secure: bool,
    /// Whether the virtualization extensions (EL2) are there; `virt` only.
    pub virtualization: bool,
    /// Whether guest time counts instructions: one instruction is one nanosecond, in every run.
    pub icount: bool,
    /// How the guest leaves.
    pub leave: Leave,
    /// Whether the guest may start the machine anew: a person sees when that goes on for ever.
    pub may_reset: bool,
    /// What counts cache lines, if anything does; `virt` only.
    pub lines: Option<LineCounter>,
    /// What records a trace of the translation tables, if anything does.
    pub tables: Option<TableRecorder>,
    /// A device tree to start with; without it, `virt` makes its own and `raspi4b` has none.
    pub device_tree: Option<PathBuf>,
    /// What is in memory.
    pub load: Load,
    /// The emulator.
    pub emulator: PathBuf,
}

/// The boot argument with which the shell may hand out devices.
pub const DEVICES: &str = "graft.devices";

/// The boot argument that the shell carries out: all that follows it.
const LINE: &str = "graft.cmd=";

impl Machine {
    /// The machine of `make run` without variables, with this kernel and nothing else.
    pub fn new(kernel: &Path) -> Machine {
        Machine {
            board: Board::Virt,
            cpu: "cortex-a72".into(),
            cores: 4,
            memory: "1G".into(),
            gic: 2,
            secure: false,
            virtualization: false,
            icount: false,
            leave: Leave::Status,
            may_reset: false,
            lines: None,
            tables: None,
            device_tree: None,
            load: Load::Image { kernel: kernel.into(), archive: None, arguments: None },
            emulator: std::env::var_os("QEMU").unwrap_or_else(|| "qemu-system-aarch64".into()).into(),
        }
    }

    /// The same machine as a Raspberry Pi 4, which has 4 cores and, in QEMU, 2 GiB.
    #[must_use]
    pub fn raspi4b(mut self, device_tree: Option<&Path>) -> Machine {
        self.board = Board::Raspi4b;
        self.cores = 4;
        self.memory = "2G".into();
        self.device_tree = device_tree.map(Into::into);
        self
    }

    /// The same machine with this archive of programs.
    #[must_use]
    pub fn with_archive(mut self, path: &Path) -> Machine {
        if let Load::Image { archive, .. } = &mut self.load {
            *archive = Some(path.into());
        }
        self
    }

    /// The same machine, whose `init` runs this shell line and powers off. The words before another line stay.
    #[must_use]
    pub fn with_line(mut self, line: &str) -> Machine {
        if let Load::Image { arguments, .. } = &mut self.load {
            let words = arguments.as_deref().and_then(|all| all.split(LINE).next()).unwrap_or_default();
            *arguments = Some(format!("{} {LINE}{line}", words.trim_end()).trim_start().into());
        }
        self
    }

    /// The same machine with these boot arguments.
    #[must_use]
    pub fn with_arguments(mut self, text: &str) -> Machine {
        if let Load::Image { arguments, .. } = &mut self.load {
            *arguments = Some(text.into());
        }
        self
    }

    /// The same machine, whose kernel finds this word among the boot arguments, before any line.
    #[must_use]
    pub fn with_boot_word(mut self, word: &str) -> Machine {
        if let Load::Image { arguments, .. } = &mut self.load {
            *arguments = Some(arguments.take().map_or(word.into(), |others| format!("{word} {others}")));
        }
        self
    }

    /// The command that plays this machine.
    pub fn command(&self, console: Console) -> Command {
        let mut command = Command::new(&self.emulator);
        command.arg("-M").arg(self.machine_option());
        if self.board == Board::Virt {
            // Without the option, one instruction of a Cortex-A72 takes a sixteenth of a tick of its counter.
            let counter = if self.icount { ",cntfrq=1000000000" } else { "" };
            command.arg("-cpu").arg(format!("{}{counter}", self.cpu));
            command.arg("-smp").arg(self.cores.to_string()).arg("-m").arg(&self.memory);
        }
        if self.icount {
            command.args(["-icount", "shift=0,sleep=off", "-seed", "1"]);
            command.args(["-rtc", "base=2025-01-01T00:00:00,clock=vm"]);
        }
        if self.has_visible_memory() {
            // The plugins read translation tables, in memory that they can find.
            command.arg("-object").arg(format!("memory-backend-memfd,id=ram,size={}", self.memory));
        }
        if let Some(TableRecorder { plugin, out, references }) = &self.tables {
            let mut option = escaped(plugin);
            option.push(",out=");
            option.push(escaped(out));
            let memory = if self.board == Board::Raspi4b { 0 } else { 1_u64 << 30 };
            option.push(format!(",references={references:#x},ram={memory:#x}"));
            command.arg("-plugin").arg(option);
        }
        if let Some(LineCounter { plugin, out, missed }) = &self.lines {
            let mut option = escaped(plugin);
            option.push(",out=");
            option.push(escaped(out));
            if let Some(missed) = missed {
                option.push(",missed=");
                option.push(escaped(missed));
            }
            command.arg("-plugin").arg(option);
        }
        if let Some(device_tree) = &self.device_tree {
            command.arg("-dtb").arg(device_tree);
        }
        match &self.load {
            Load::Image { kernel, archive, arguments } => {
                command.arg("-kernel").arg(kernel);
                if let Some(archive) = archive {
                    command.arg("-initrd").arg(archive);
                }
                if let Some(arguments) = arguments {
                    command.arg("-append").arg(arguments);
                }
            }
            Load::Placed { files, entry } => {
                for (file, address) in files {
                    let mut option = OsString::from("loader,force-raw=on,file=");
                    option.push(file);
                    option.push(format!(",addr={address:#x}"));
                    command.arg("-device").arg(option);
                }
                command.arg("-device").arg(format!("loader,cpu-num=0,addr={entry:#x}"));
            }
        }
        if self.leave == Leave::Status {
            // Any other way out, such as a watchdog reset, would end QEMU with status 0, so it stops the machine
            // instead and the time limit reports it.
            command.args(["-semihosting-config", "enable=on,target=native", "-no-shutdown"]);
        }
        if !self.may_reset {
            command.arg("-no-reboot");
        }
        command.args(["-display", "none", "-nic", "none"]);
        match console {
            Console::Terminal => command.args(["-serial", "mon:stdio"]),
            Console::Interruptible => command.args(["-chardev", "stdio,id=console,mux=on,signal=on"]).args([
                "-serial",
                "chardev:console",
                "-mon",
                "chardev=console",
            ]),
            Console::Pipe => command.args(["-monitor", "none", "-serial", "stdio"]),
            Console::File(path) => {
                let mut option = OsString::from("file:");
                option.push(path);
                command.args(["-monitor", "none", "-serial"]).arg(option)
            }
        };
        if self.board == Board::Virt {
            // A second UART, at which nothing listens: one for drivers that are programs.
            command.args(["-serial", "null"]);
        }
        command
    }

    fn has_visible_memory(&self) -> bool {
        self.lines.is_some() || self.tables.is_some()
    }

    fn machine_option(&self) -> String {
        let memory = if self.has_visible_memory() { ",memory-backend=ram" } else { "" };
        match self.board {
            Board::Raspi4b => format!("raspi4b{memory}"),
            Board::Virt => {
                let secure = if self.secure { ",secure=on" } else { "" };
                let virtualization = if self.virtualization { ",virtualization=on" } else { "" };
                format!("virt,gic-version={}{secure}{virtualization}{memory}", self.gic)
            }
        }
    }
}

/// A path within an option, where QEMU takes two commas for one.
fn escaped(path: &Path) -> OsString {
    path.to_string_lossy().replace(',', ",,").into()
}

/// What tells this machine from others, for the rows of a test run.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.board {
            Board::Raspi4b => write!(f, "raspi4b")?,
            Board::Virt => {
                write!(f, "virt {} x{} {} GICv{}", self.cpu, self.cores, self.memory, self.gic)?;
                for (is_on, name) in [(self.secure, "secure"), (self.virtualization, "virtualization")] {
                    if is_on {
                        write!(f, " {name}")?;
                    }
                }
            }
        }
        if self.icount { write!(f, " icount") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(machine: &Machine) -> Vec<String> {
        machine.command(Console::Pipe).get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    fn has(machine: &Machine, option: &str, value: &str) -> bool {
        words(machine).windows(2).any(|pair| pair[0] == option && pair[1] == value)
    }

    #[test]
    fn a_shell_line_reaches_the_boot_arguments_unchanged() {
        let machine = Machine::new(Path::new("k")).with_line("echo a, b; false && true");
        assert!(has(&machine, "-append", "graft.cmd=echo a, b; false && true"));
    }

    #[test]
    fn a_word_for_the_kernel_comes_before_the_line() {
        let machine = Machine::new(Path::new("k")).with_line("true").with_boot_word("graft.asid-bits=8");
        assert!(has(&machine, "-append", "graft.asid-bits=8 graft.cmd=true"));
        assert!(has(&machine.with_line("false"), "-append", "graft.asid-bits=8 graft.cmd=false"));
        let machine = Machine::new(Path::new("k")).with_boot_word(DEVICES).with_line("true");
        assert!(has(&machine, "-append", "graft.devices graft.cmd=true"));
    }

    #[test]
    fn counting_instructions_makes_runs_repeatable() {
        let machine = Machine { icount: true, ..Machine::new(Path::new("k")) };
        assert!(has(&machine, "-icount", "shift=0,sleep=off"));
        assert!(has(&machine, "-seed", "1"));
        assert!(has(&machine, "-rtc", "base=2025-01-01T00:00:00,clock=vm"));
        assert!(has(&machine, "-cpu", "cortex-a72,cntfrq=1000000000"));
    }

    #[test]
    fn a_reset_never_ends_the_emulator_with_success() {
        let words = words(&Machine::new(Path::new("k")));
        assert!(words.contains(&"-no-reboot".into()) && words.contains(&"-no-shutdown".into()));
        let words = super::tests::words(&Machine { may_reset: true, ..Machine::new(Path::new("k")) });
        assert!(!words.contains(&"-no-reboot".into()));
    }

    #[test]
    fn what_counts_lines_finds_the_guests_memory() {
        let lines = LineCounter { plugin: "p.so".into(), out: "a,b".into(), missed: Some("m".into()) };
        let machine = Machine { memory: "3G".into(), lines: Some(lines), ..Machine::new(Path::new("k")) };
        assert!(has(&machine, "-M", "virt,gic-version=2,memory-backend=ram"));
        assert!(has(&machine, "-object", "memory-backend-memfd,id=ram,size=3G"));
        assert!(has(&machine, "-plugin", "p.so,out=a,,b,missed=m"));
    }

    #[test]
    fn what_records_tables_knows_where_memory_and_counts_are() {
        let tables = TableRecorder { plugin: "p.so".into(), out: "t".into(), references: 0xffff_ffc0_0000_0000 };
        let machine = Machine { tables: Some(tables), ..Machine::new(Path::new("k")).raspi4b(None) };
        assert!(has(&machine, "-M", "raspi4b,memory-backend=ram"));
        assert!(has(&machine, "-object", "memory-backend-memfd,id=ram,size=2G"));
        assert!(has(&machine, "-plugin", "p.so,out=t,references=0xffffffc000000000,ram=0x0"));
    }

    #[test]
    fn a_guest_without_a_status_ends_the_emulator_by_switching_off() {
        let words = words(&Machine { leave: Leave::PowerOff, ..Machine::new(Path::new("k")) });
        assert!(words.contains(&"-no-reboot".into()) && !words.contains(&"-no-shutdown".into()));
    }

    #[test]
    fn extensions_are_machine_options() {
        let machine = Machine { gic: 3, secure: true, virtualization: true, ..Machine::new(Path::new("k")) };
        assert!(has(&machine, "-M", "virt,gic-version=3,secure=on,virtualization=on"));
    }

    #[test]
    fn the_pi_takes_no_processor_and_no_memory_options() {
        let machine = Machine::new(Path::new("k")).raspi4b(Some(Path::new("pi.dtb")));
        assert!(has(&machine, "-M", "raspi4b") && has(&machine, "-dtb", "pi.dtb"));
        assert!(!words(&machine).iter().any(|word| word == "-cpu" || word == "-m" || word == "-smp"));
    }
}
