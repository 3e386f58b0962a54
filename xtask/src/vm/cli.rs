//! `cargo xtask vm`: the lab on the command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, Subcommand};
use ivrs_trace::firmware::amd::builder::IvmdSpec;

use super::{Firmware, Guest, Stream, stopped_by_signals};

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
    Run {
        #[command(flatten)]
        options: Options,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Boot the lab's guest and give a shell in it on this terminal
    Shell(Options),
}

#[derive(Debug, ClapArgs)]
struct Options {
    #[command(flatten)]
    guest: Guest,
    /// Add an IVMD block, like
    /// type=0x22,flags=0x07,devid=0x0000,aux=0x0fff,start=0x7ffe0000,length=0x20000
    #[arg(long, value_name = "SPEC")]
    firmware_ivmd: Vec<IvmdSpec>,
}

impl Options {
    fn guest(self) -> Guest {
        let firmware = self.firmware_ivmd.into_iter().fold(self.guest.firmware, Firmware::with);
        Guest { firmware, ..self.guest }
    }
}

const LAB_FAILED: u8 = 125;

const LOGIN: &str = "exec sh -l\n";

/// `cargo xtask vm`. The exit code is that of the command or shell in the guest, or 125 after an
/// error of the lab, which this prints.
pub(crate) fn command(args: Args) -> ExitCode {
    ExitCode::from(run(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        LAB_FAILED
    }))
}

fn run(args: Args) -> Result<u8> {
    let stop = stopped_by_signals()?;
    match args.command {
        Command::Run { options, command } => {
            Ok(options.guest().run_streaming(&script(&command), &stop, write)?.0)
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
    fn without_options_it_is_the_default_guest() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let guest = |words: &[&str]| {
            let line: Line = clap::Parser::try_parse_from(words).unwrap();
            line.options.guest()
        };
        assert_eq!(format!("{:?}", guest(&["vm"])), format!("{:?}", Guest::default()));
        let other = guest(&["vm", "--no-interrupt-remapping", "--unsafe-interrupts", "no"]);
        assert_eq!(
            (other.interrupt_remapping, other.allow_unsafe_interrupts),
            (false, Some(false))
        );
    }

    #[test]
    fn arguments_reach_the_guest_as_they_are() {
        let command = ["printf", "%s|", "a b", "it's", "$HOME", "", "x\ny", "*"].map(str::to_owned);
        let output = std::process::Command::new("sh").arg("-c").arg(script(&command)).output();
        assert_eq!(output.unwrap().stdout, b"a b|it's|$HOME||x\ny|*|");
    }
}
