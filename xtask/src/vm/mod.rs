//! The VM lab: a Linux guest with an emulated AMD IOMMU and a firmware of our choosing, in which
//! the kernel really refuses VFIO.
//!
//! [`Guest::run`] boots it, runs a shell script in it and returns its output; [`cli`] is the
//! same on the command line. QEMU emulates the processor too (no KVM), so a boot takes some
//! seconds, and timings inside are those of a slow machine. Nothing is kept from run to run.

pub(crate) mod cli;
mod cpio;
mod firmware;
mod initrd;
mod libvirt;
mod machine;
mod modules;
mod qemu;
mod session;
mod terminal;

use std::fs::{self, File};
use std::io::Read as _;
use std::num::{NonZeroU64, ParseIntError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args as _, FromArgMatches as _, ValueEnum, value_parser};
use ivrs_trace::firmware::{Dmar, Ivrs};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

pub use firmware::Firmware;
pub use machine::Iommu;
pub use session::Session;

use initrd::Overlay;
use machine::Board;
use qemu::Process;

use crate::{build, files, setup};

const MAX_CPUS: u32 = 2;
/// The same for the container of VFIO and for iommufd. modprobe reads it from the kernel's command
/// line; a kernel without iommufd does not mind.
const ALLOW_UNSAFE_INTERRUPTS: &str =
    "vfio_iommu_type1.allow_unsafe_interrupts=1 iommufd.allow_unsafe_interrupts=1";
const PERIOD: Duration = Duration::from_millis(10);
/// For guests that no signal ends.
static NEVER: AtomicBool = AtomicBool::new(false);
const TAIL: usize = 12;

/// What runs in a guest besides the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Userland {
    /// Nothing: busybox and our programs
    #[default]
    Plain,
    /// libvirtd, with the domains covered and free, and QEMU
    Libvirt,
}

/// A guest to be booted.
#[derive(Debug, Clone, clap::Args)]
pub struct Guest {
    /// The guest's kernel: debian-6.12, debian-6.1, debian-6.18, debian-newest, iommufd or
    /// iommufd-relax (the last two are built, which takes minutes the first time)
    #[arg(long, value_name = "NAME", default_value = "debian-6.12")]
    pub kernel: String,
    /// The guest's IVRS: none (QEMU's own), am5-desktop, single, all, or a file with one; with
    /// --iommu intel its DMAR: none, rmrr-single or rmrr
    #[arg(long, value_name = "NAME|FILE", default_value = "none")]
    pub firmware: Firmware,
    /// What runs in the guest
    #[arg(long = "guest", value_enum, default_value_t)]
    pub userland: Userland,
    /// The guest's IOMMU
    #[arg(long, value_enum, default_value_t)]
    pub iommu: Iommu,
    /// Give the guest an IOMMU that does not remap interrupts
    #[arg(long = "no-interrupt-remapping", action = ArgAction::SetFalse)]
    pub interrupt_remapping: bool,
    /// Whether VFIO and iommufd allow interrupts that are not remapped [default: only on kernels that
    /// find no interrupt remapping in the emulated machine]
    #[arg(long = "unsafe-interrupts", value_name = "YES|NO", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub allow_unsafe_interrupts: Option<bool>,
    /// The guest's processors, 1 or 2; two take turns on one thread of the host
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=i64::from(MAX_CPUS)))]
    pub cpus: u32,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = value_parser!(u32).range(512..=65536))]
    pub memory: u32,
    /// More arguments for the guest's kernel
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Let the guest's clock count executed instructions, a nanosecond each: times are then the same
    /// whatever else the host does, and say nothing of caches or of waiting
    #[arg(long)]
    pub icount: bool,
    /// How long the guest may take, in seconds (for a shell: until it starts)
    #[arg(long = "timeout", value_name = "SECS", default_value = "120", value_parser = seconds)]
    pub limit: Duration,
    /// More static programs for the guest's PATH, by name
    #[arg(skip)]
    pub more_programs: Vec<(&'static str, PathBuf)>,
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    Ok(Duration::from_secs(text.parse::<NonZeroU64>()?.get()))
}

impl Default for Guest {
    /// The guest of a command line without options.
    fn default() -> Self {
        let matches = Self::augment_args(clap::Command::new("guest")).get_matches_from(["guest"]);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// What a script in a guest wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
    /// Its exit status, or 128 and the signal.
    pub status: u8,
    /// The kernel's log from power-on to the end of the script.
    pub kernel_log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Guest {
    /// Boots the guest, runs `script` in it with `sh` as root, and ends it. `ivrs-trace` and
    /// `vfio-attach` are on the guest's PATH, built from the present sources.
    ///
    /// # Errors
    /// When something that the lab needs cannot be fetched or built, and when the guest did not reach
    /// the end of the script: it hung, panicked, could not boot or saw another firmware. The
    /// message carries the last lines of the kernel's log and where the whole log is.
    pub fn run(&self, script: &str) -> Result<Outcome> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (status, kernel_log) = self.run_streaming(script, &NEVER, |stream, bytes| {
            match stream {
                Stream::Stdout => stdout.extend_from_slice(bytes),
                Stream::Stderr => stderr.extend_from_slice(bytes),
            }
            Ok(())
        })?;
        Ok(Outcome { stdout, stderr, status, kernel_log })
    }

    /// As [`run`](Self::run), but `output` gets the script's output while it comes, and setting
    /// `stop` ends the guest with an error. Returns the exit status and the kernel's log.
    pub(crate) fn run_streaming(
        &self,
        script: &str,
        stop: &AtomicBool,
        mut output: impl FnMut(Stream, &[u8]) -> Result<()>,
    ) -> Result<(u8, String)> {
        let mut running =
            Running::start(self.prepare(script, None, |folder| file(folder, "stdout"))?)?;
        // QEMU writes into the files that are there.
        let open = |name: &str| {
            let path = running.folder.path().join(name);
            let opened =
                File::options().read(true).write(true).create(true).truncate(false).open(&path);
            opened.with_context(|| format!("cannot read {}", path.display()))
        };
        let mut outputs = [(open("stdout")?, Stream::Stdout), (open("stderr")?, Stream::Stderr)];
        loop {
            // The result is read before the outputs: what precedes it has been sent by then.
            let result = running.result()?;
            for (file, stream) in &mut outputs {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).context("cannot read the guest's output")?;
                if !bytes.is_empty() {
                    output(*stream, &bytes)?;
                }
            }
            if let Some(status) = result {
                return Ok((status, running.kernel_log()));
            }
            running.check(Some(self.limit), stop)?;
            thread::sleep(PERIOD);
        }
    }

    /// Runs `script` in the guest on this program's terminal, and returns its exit status. The limit
    /// counts until the script starts.
    pub(crate) fn on_terminal(&self, script: &str, stop: &AtomicBool) -> Result<u8> {
        let settings = terminal::size_settings();
        let (folder, mut command) =
            self.prepare(script, Some(&settings), |_| "stdio,signal=off".to_owned())?;
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
        let _restored_at_end = terminal::Saved::now();
        let mut running = Running::start((folder, command))?;
        loop {
            if let Some(status) = running.result()? {
                return Ok(status);
            }
            let limit = (!running.control()?.contains("ready\n")).then_some(self.limit);
            running.check(limit, stop)?;
            thread::sleep(PERIOD);
        }
    }

    /// Makes a folder with everything that QEMU needs to run `script`, and QEMU's command line.
    ///
    /// `terminal` are `stty` settings if the script is to have a terminal; `output` says where its
    /// port, or that of the script's standard output, leads, given the folder.
    fn prepare(
        &self,
        script: &str,
        terminal: Option<&str>,
        output: impl FnOnce(&Path) -> String,
    ) -> Result<(TempDir, Command)> {
        ensure!(
            (1..=MAX_CPUS).contains(&self.cpus),
            "a guest has 1 or {MAX_CPUS} processors, not {}",
            self.cpus
        );
        let temporary = tempfile::Builder::new().prefix("ivrs-trace-lab-").tempdir();
        let temporary = temporary.context("cannot make a temporary folder")?;
        let folder = temporary.path();
        let kernel = setup::kernel(&self.kernel)?;
        let qemu = setup::qemu()?;
        let Self { iommu, interrupt_remapping, cpus, userland, .. } = *self;
        let board = Board { iommu, interrupt_remapping, cpus };
        let table = self.table(&qemu, board)?;
        let programs = [programs()?, self.more_programs.clone()].concat();
        let overlay = Overlay { programs, table: table.as_ref(), userland, script, terminal };
        let initrd = folder.join("initrd");
        initrd::write(&initrd, &kernel, &overlay)?;

        let mut command = machine::command(&qemu, board);
        if self.icount {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        // A panic and an oops end the machine, so that neither looks like a hang. The kernel's check
        // of its timer counts the host's time, and fails where the host is busy.
        let mut line = vec!["console=ttyS0 panic=-1 oops=panic no_timer_check"];
        line.extend(iommu.kernel_argument());
        if self.allow_unsafe_interrupts.unwrap_or(kernel.needs_unsafe_interrupts) {
            line.push(ALLOW_UNSAFE_INTERRUPTS);
        }
        line.push(&self.append);
        let line = line.join(" ");
        command.args(["-m", &format!("{}M", self.memory), "-append", &line, "-kernel"]);
        command.arg(&kernel.vmlinuz).arg("-initrd").arg(&initrd);
        // Each port has an interrupt of its own: two ports that share one, as COM1 and COM3 do by
        // default, lose interrupts on this edge-triggered bus.
        let chardevs = [
            (4, file(folder, "console")),
            (3, output(folder)),
            (5, file(folder, "stderr")),
            (7, file(folder, "control")),
        ];
        for (index, (irq, chardev)) in chardevs.iter().enumerate() {
            let (backend, options) = chardev.split_once(',').unwrap_or((chardev, ""));
            command.args(["-chardev", &format!("{backend},id=port{index},{options}")]);
            let device = format!("isa-serial,index={index},irq={irq},chardev=port{index}");
            command.args(["-device", &device]);
        }
        Ok((temporary, command))
    }

    fn table(&self, qemu: &setup::Qemu, board: Board) -> Result<Option<Table>> {
        if self.firmware.is_own() {
            return Ok(None);
        }
        ensure!(
            self.iommu != Iommu::None,
            "the guest is to have no IOMMU, so no table describes one: choose the firmware none"
        );
        let own = machine::own_table(qemu, board)?;
        let made = if self.iommu == Iommu::Intel {
            let own = Dmar::parse(&own).context("the machine's own table is not a DMAR")?;
            self.firmware.dmar(&own)?
        } else {
            let own = Ivrs::parse(&own).context("the machine's own table is not an IVRS")?;
            self.firmware.table(&own)?
        };
        if let Some(note) = made.note {
            eprintln!("note: firmware: {note}");
        }
        Ok(Some(Table { name: self.iommu.table(), bytes: made.table }))
    }
}

struct Table {
    name: &'static str,
    bytes: Vec<u8>,
}

/// A guest at work and the folder with its files.
struct Running {
    // The process is dropped first: it writes into the folder.
    process: Process,
    folder: TempDir,
    started: Instant,
}

impl Running {
    fn start((folder, command): (TempDir, Command)) -> Result<Self> {
        let process = Process::start(command, &folder.path().join("qemu.log"))?;
        Ok(Self { process, folder, started: Instant::now() })
    }

    fn control(&self) -> Result<String> {
        files::lossy(&self.folder.path().join("control"))
    }

    fn kernel_log(&self) -> String {
        files::lossy(&self.folder.path().join("console")).unwrap_or_default()
    }

    fn result(&mut self) -> Result<Option<u8>> {
        match said(&self.control()?) {
            Some(Ok(status)) => Ok(Some(status)),
            Some(Err(failure)) => Err(self.failure(failure)),
            None => Ok(None),
        }
    }

    /// An error if the guest can no longer come to its end.
    fn check(&mut self, limit: Option<Duration>, stop: &AtomicBool) -> Result<()> {
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if let Some(status) = self.process.ended()? {
            // It may have written its result between the last look and its end.
            if said(&self.control()?).is_some() {
                return Ok(());
            }
            let log = self.kernel_log();
            let what = if let Some(at) = log.find("Kernel panic") {
                let panic = log.get(at..).and_then(|panic| panic.lines().next());
                format!("the guest's kernel stopped: {}", panic.unwrap_or_default())
            } else if status.success() {
                "the guest powered off or rebooted before its command was done".to_owned()
            } else {
                format!("QEMU failed ({status}): {}", self.process.complaint())
            };
            return Err(self.failure(&what));
        }
        if let Some(limit) = limit
            && self.started.elapsed() > limit
        {
            let what = format!("the guest was not done after {} s", limit.as_secs());
            return Err(self.failure(&what));
        }
        Ok(())
    }

    /// An error with the end of the kernel's log, which is kept.
    fn failure(&mut self, what: &str) -> anyhow::Error {
        let log = self.kernel_log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n  ");
        self.folder.disable_cleanup(true);
        // It is large and can be made again.
        let _ = fs::remove_file(self.folder.path().join("initrd"));
        let path = self.folder.path().join("console");
        if tail.is_empty() {
            return anyhow::anyhow!("{what} (the kernel log {} is empty)", path.display());
        }
        anyhow::anyhow!("{what} (kernel log: {}); its last lines:\n  {tail}", path.display())
    }
}

/// The result that the guest has written to its control port: the command's exit status, or why the
/// command did not run.
fn said(text: &str) -> Option<Result<u8, &'static str>> {
    // A line counts when it is whole.
    let (whole, _) = text.rsplit_once('\n')?;
    whole.lines().find_map(|line| match line {
        "wrong-firmware" => {
            Some(Err("the guest's kernel did not use the table that was put in; nothing was run"))
        }
        "not-started" => Some(Err("libvirt did not start in the guest; nothing was run")),
        _ => line.strip_prefix("exit ")?.parse().ok().map(Ok),
    })
}

/// A flag that SIGHUP, SIGINT and SIGTERM set, so that a guest is ended and its files are removed
/// before this program goes.
pub(crate) fn stopped_by_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot handle a signal")?;
    }
    Ok(stop)
}

/// Our programs for the guest by name, built once in the life of this process.
///
/// # Errors
/// When a build fails.
pub fn programs() -> Result<Vec<(&'static str, PathBuf)>> {
    static BUILT: Mutex<Vec<(&str, PathBuf)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.is_empty() {
        let program = |package, name| anyhow::Ok((name, build::static_binary(package, name)?));
        *built = vec![
            program("lab-guest", "vfio-attach")?,
            program("lab-guest", "with-caps")?,
            program("lab-guest", "measure")?,
            program("ivrs-trace", "ivrs-trace")?,
        ];
    }
    Ok(built.clone())
}

/// A file of the folder as one end of a serial port.
fn file(folder: &Path, name: &str) -> String {
    format!("file,path={}", escaped(&folder.join(name)))
}

/// A path in QEMU's options, which double a comma that is part of a value.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_port_counts_by_whole_lines() {
        for (text, expected) in [
            ("", None),
            ("ready\n", None),
            ("exit 1", None),
            ("exit 12\n", Some(12)),
            ("ready\nexit 0\n", Some(0)),
            ("exit 999\n", None),
        ] {
            assert_eq!(said(text), expected.map(Ok), "{text:?}");
        }
        for (text, expected) in [("wrong-firmware\n", "table"), ("not-started\n", "libvirt")] {
            assert!(said(text).unwrap().unwrap_err().contains(expected), "{text:?}");
        }
    }
}
