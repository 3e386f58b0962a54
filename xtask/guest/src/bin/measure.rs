//! `measure NAME SIGNAL CMD…`: runs a command and prints a line with how long it took, in microseconds,
//! from exec to its first line and from there (from SIGNAL, if it is not `none`) to its end, and its peak
//! memory in KiB, if it can still be read.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a command that waits for a signal is let alone before it gets it.
const REST: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, signal, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: measure NAME INT|KILL|none CMD…");
        return ExitCode::from(2);
    };
    let signal = match signal.as_str() {
        "INT" => Some(Signal::INT),
        "KILL" => Some(Signal::KILL),
        _ => None,
    };
    match measure(signal, Command::new(program).args(rest)) {
        Ok((first, end, peak)) => {
            println!("{name} {} {} {peak}", first.as_micros(), end.as_micros());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("measure: {program}: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure(
    signal: Option<Signal>,
    command: &mut Command,
) -> io::Result<(Duration, Duration, String)> {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    output.read_until(b'\n', &mut Vec::new())?;
    let mut from = Instant::now();
    let first = from - began;
    let rest = thread::spawn(move || io::copy(&mut output, &mut io::sink()));
    if signal.is_some() {
        thread::sleep(REST);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.map_or("-", |line| line.trim().trim_end_matches(" kB")).to_owned();
    if let (Some(signal), Some(pid)) =
        (signal, i32::try_from(child.id()).ok().and_then(Pid::from_raw))
    {
        from = Instant::now();
        kill_process(pid, signal)?;
    }
    child.wait()?;
    let end = from.elapsed();
    // Who still holds the other end of the pipe is of no interest here.
    drop(rest);
    Ok((first, end, peak))
}
