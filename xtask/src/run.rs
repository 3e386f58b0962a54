//! Running a program: quietly, with its output kept for the error message and a sign of life
//! for whoever waits.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// A step that takes longer says so this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
const TAIL_LINES: usize = 12;

pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, tail(&text));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// Runs `command` with its output kept back; while it runs, `what` is named every quarter of a
/// minute on standard error.
pub(crate) fn quietly(command: &mut Command, what: &str) -> Result<()> {
    let name = name(command);
    let mut log = tempfile::tempfile().context("cannot make a temporary file")?;
    let copies = (log.try_clone(), log.try_clone());
    let (stdout, stderr) = (copies.0?, copies.1?);
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let mut next = HEARTBEAT;
    let mut pause = Duration::from_millis(5);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= next {
            eprintln!("    {what}: {} s so far", started.elapsed().as_secs());
            next += HEARTBEAT;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    };
    if status.success() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    log.seek(SeekFrom::Start(0))?;
    log.read_to_end(&mut bytes)?;
    bail!("{name} failed ({status}): {}", tail(&String::from_utf8_lossy(&bytes)))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}
