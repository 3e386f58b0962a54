//! What a command does where nobody reads its output, or where that cannot be written.
#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the failed assertion")]

use std::process::{Command, Output, Stdio};

/// Every command that runs without a kernel to trace, with `RECORDING` for one.
const COMMANDS: [&str; 15] = [
    "check --from RECORDING",
    "check --json --from RECORDING",
    "completions bash",
    "decode RECORDING",
    "doctor --from RECORDING",
    "events --from RECORDING",
    "explain",
    "export --to acpi --from RECORDING",
    "export --to csv --from RECORDING",
    "export --to csv --of devices --from RECORDING",
    "export --to json --from RECORDING",
    "export --to perfetto --from RECORDING",
    "export --to prometheus --from RECORDING",
    "report --for kernel --from RECORDING",
    "run --from RECORDING",
];

fn run(command: &str, stdout: impl Into<Stdio>) -> Output {
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/refused.ivt");
    let args = command.split(' ').map(|word| if word == "RECORDING" { recording } else { word });
    let mut command = Command::new(env!("CARGO_BIN_EXE_ivrs-trace"));
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// What is said of errors; commands also say what a recording holds.
fn errors(output: &Output) -> Vec<&str> {
    let said = std::str::from_utf8(&output.stderr).unwrap();
    said.lines().filter(|line| line.contains("os error") || line.contains("cannot")).collect()
}

#[test]
fn a_reader_that_goes_away_ends_every_command_quietly() {
    for command in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run(command, writer);
        assert_eq!(errors(&output), [""; 0], "{command}");
        assert_eq!(output.status.code(), Some(0), "{command}");
    }
}

#[test]
fn an_output_that_is_full_is_named() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let why = "cannot write to standard output: No space left on device (os error 28)";
    for command in COMMANDS {
        let output = run(command, full());
        assert_eq!(errors(&output), [format!("ivrs-trace: {why}")], "{command}");
        assert_eq!(output.status.code(), Some(2), "{command}");
    }
    for format in ["csv", "json", "perfetto", "prometheus", "acpi"] {
        let output = run(&format!("export --to {format} --from RECORDING -o /dev/full"), full());
        let why = why.replace("to standard output", "/dev/full");
        assert_eq!(errors(&output), [format!("ivrs-trace: {why}")], "{format}");
    }
}

#[test]
fn a_command_that_does_not_exist_is_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.ivt");
    for command in ["run --", &format!("record -o {} --", file.display())] {
        let output = run(&format!("{command} no-such-command-anywhere"), Stdio::null());
        let said = std::str::from_utf8(&output.stderr).unwrap();
        assert_eq!(
            said,
            "ivrs-trace: cannot run no-such-command-anywhere: no folder of PATH has it\n"
        );
        assert_eq!(output.status.code(), Some(127));
    }
    assert!(!file.exists());
}
