//! The program `ivrs-trace`; all of it is in the library.

fn main() -> std::process::ExitCode {
    ivrs_trace::cli::main()
}
