//! `cargo xtask vm`: the lab on the command line.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::BoolishValueParser;
use clap::{Args as ClapArgs, Subcommand};
use ivrs_trace::firmware::builder::IvmdSpec;

use super::{
    DEFAULT_LIMIT, Firmware, Guest, Iommu, MAX_CPUS, Stream, Userland, stopped_by_signals,
};

/// Arguments of `cargo xtask vm`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the lab's guest, run a command in it, and return its output and exit status
    ///
    /// The exit status is the command's, or 125 where the lab itself failed.
    Run(Run),
    /// Boot the lab's guest and give a shell in it on this terminal
    Shell(Options),
}

#[derive(Debug, ClapArgs)]
struct Run {
    #[command(flatten)]
    options: Options,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, ClapArgs)]
struct Options {
    /// The guest's kernel: debian-6.12, debian-6.1, debian-6.18, debian-newest, iommufd or
    /// iommufd-relax (the last two are built, which takes minutes the first time)
    #[arg(long, value_name = "NAME", default_value = "debian-6.12")]
    kernel: String,
    /// The guest's IVRS: none (QEMU's own), am5-desktop, single, all, or a file with one; with
    /// --iommu intel its DMAR: none, rmrr-single or rmrr
    #[arg(long, value_name = "NAME|FILE", default_value = "none")]
    firmware: Firmware,
    /// Add an IVMD block, like
    /// type=0x22,flags=0x07,devid=0x0000,aux=0x0fff,start=0x7ffe0000,length=0x20000
    #[arg(long, value_name = "SPEC")]
    firmware_ivmd: Vec<IvmdSpec>,
    /// What runs in the guest
    #[arg(long, value_enum, default_value_t)]
    guest: Userland,
    /// The guest's IOMMU
    #[arg(long, value_enum, default_value_t)]
    iommu: Iommu,
    /// Have an IOMMU that does not remap interrupts
    #[arg(long)]
    no_interrupt_remapping: bool,
    /// Tell VFIO and iommufd whether to allow interrupts that are not remapped: by default only on
    /// kernels that find no interrupt remapping in the emulated machine
    #[arg(long, value_name = "YES|NO", value_parser = BoolishValueParser::new())]
    unsafe_interrupts: Option<bool>,
    /// The guest's processors; two take turns on one thread of the host
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CPUS)))]
    cpus: u32,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(512..=65536))]
    memory: u32,
    /// More arguments for the guest's kernel
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// How long the guest may take, in seconds (for a shell: until it is there)
    #[arg(long, value_name = "SECS", default_value_t = DEFAULT_LIMIT.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

impl Options {
    fn guest(self) -> Guest {
        Guest {
            kernel: self.kernel,
            firmware: self.firmware_ivmd.into_iter().fold(self.firmware, Firmware::with),
            userland: self.guest,
            iommu: self.iommu,
            interrupt_remapping: !self.no_interrupt_remapping,
            allow_unsafe_interrupts: self.unsafe_interrupts,
            cpus: self.cpus,
            memory: self.memory,
            append: self.append,
            limit: Duration::from_secs(self.timeout),
        }
    }
}

/// The exit status where it is the lab that failed and not the command in the guest.
const LAB_FAILED: u8 = 125;

/// What `cargo xtask vm shell` runs.
const LOGIN: &str = "exec sh -l\n";

/// `cargo xtask vm`. The exit code is that of the command or shell in the guest, or 125 after an
/// error of the lab, which is told here.
pub(crate) fn command(args: Args) -> ExitCode {
    ExitCode::from(run(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        LAB_FAILED
    }))
}

fn run(args: Args) -> Result<u8> {
    let stop = stopped_by_signals()?;
    match args.command {
        Command::Run(run) => {
            let script = script(&run.command);
            Ok(run.options.guest().run_streaming(&script, &stop, write)?.0)
        }
        Command::Shell(options) => options.guest().on_terminal(LOGIN, &stop),
    }
}

fn write(stream: Stream, bytes: &[u8]) -> Result<()> {
    let written = match stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Stderr => io::stderr().write_all(bytes),
    };
    written.context("cannot write the guest's output")
}

/// A shell script that runs exactly these arguments.
fn script(command: &[String]) -> String {
    let mut script = "exec".to_owned();
    for argument in command {
        script.push_str(" '");
        script.push_str(&argument.replace('\'', r"'\''"));
        script.push('\'');
    }
    script.push('\n');
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_guest_as_they_are() {
        let command = ["printf", "%s|", "a b", "it's", "$HOME", "", "x\ny", "*"].map(str::to_owned);
        let output = std::process::Command::new("sh").arg("-c").arg(script(&command)).output();
        assert_eq!(output.unwrap().stdout, b"a b|it's|$HOME||x\ny|*|");
    }
}
