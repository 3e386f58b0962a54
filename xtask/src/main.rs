//! `cargo xtask`: the project's own tools on the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tools", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Get what is missing: BPF compiler and linker, QEMU, kernels, busybox
    Setup(xtask::setup::Args),
    /// Build the BPF object, or renew or check the one that is checked in
    BuildEbpf(xtask::ebpf::Args),
    /// Write what of the documentation is made from the code: schemas, man pages, examples
    Docs(xtask::docs::Args),
    /// Feed arbitrary input to everything that reads any
    Fuzz(xtask::fuzz::Args),
    /// Measure how fast the dashboard draws, and how much memory its events take
    Bench,
    /// Check and test everything, tests in virtual machines included
    Test(xtask::test::Args),
    /// Show a refusal and its explanation, from nothing
    Demo(xtask::demo::Args),
    /// Run the VM lab: a guest whose kernel refuses VFIO because of its firmware
    Vm(xtask::vm::cli::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => xtask::setup::command(&args).map(|()| ExitCode::SUCCESS),
        Command::BuildEbpf(args) => xtask::ebpf::command(&args).map(|()| ExitCode::SUCCESS),
        Command::Docs(args) => xtask::docs::command(&args).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(args) => xtask::fuzz::command(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench => xtask::bench::command().map(|()| ExitCode::SUCCESS),
        Command::Test(args) => xtask::test::command(&args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => xtask::demo::command(&args).map(|()| ExitCode::SUCCESS),
        Command::Vm(args) => return xtask::vm::cli::command(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
