//! The project's own tools: set-up, the BPF object, the VM lab, the tests.
//!
//! A library, so that the tests of the VM lab boot its guests as the commands do.

mod bench;
mod build;
mod demo;
mod docs;
mod ebpf;
mod exports;
mod files;
mod fuzz;
mod program;
mod run;
mod setup;
mod test;
pub mod vm;
mod workspace;

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
    Setup,
    /// Build the BPF object, or renew or check the one that is checked in
    BuildEbpf(ebpf::Args),
    /// Write the documentation that is made from the code: schemas, man pages, examples
    Docs(docs::Args),
    /// Feed arbitrary input to every parser
    Fuzz(fuzz::Args),
    /// Measure how fast the dashboard draws, or what tracing costs in a guest
    Bench(bench::Args),
    /// Check and test everything, tests in virtual machines included
    Test(test::Args),
    /// Show a refusal and its explanation, from nothing
    Demo(demo::Args),
    /// Run the VM lab: a guest whose kernel refuses VFIO because of its firmware
    Vm(vm::cli::Args),
}

/// Runs `cargo xtask` with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup => setup::command(),
        Command::BuildEbpf(args) => ebpf::command(&args),
        Command::Docs(args) => docs::command(&args),
        Command::Fuzz(args) => fuzz::command(&args),
        Command::Bench(args) => bench::command(&args),
        Command::Test(args) => test::command(&args),
        Command::Demo(args) => demo::command(&args),
        Command::Vm(args) => return vm::cli::command(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
