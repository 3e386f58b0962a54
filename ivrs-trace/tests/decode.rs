//! `decode` and `explain` as they are called: files and standard input in, status and streams out.
#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the failed assertion")]

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use ivrs_trace::firmware::amd::{
    builder::{IvhdSpec, IvrsBuilder},
    device_entry::DeviceEntry,
};

fn run(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ivrs-trace"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn table() -> IvrsBuilder {
    let ivmd = "type=0x22,flags=8,devid=0,aux=0xfff,start=0x7ffe0000,length=0x1000";
    IvrsBuilder::new()
        .ivhd(IvhdSpec { entries: vec![DeviceEntry::All { settings: 0 }], ..IvhdSpec::default() })
        .ivmd(ivmd.parse().unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_table_comes_from_a_file_or_standard_input() {
    let bytes = table().build().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let from_file = run(&["decode", file.path().to_str().unwrap()], &[]);
    let from_input = run(&["decode", "-"], &bytes);
    assert_eq!(from_file.status.code(), Some(0));
    assert_eq!(text(&from_file.stderr), "");
    assert_eq!(from_file.stdout, from_input.stdout);
    assert!(text(&from_file.stdout).contains("Blocked    00:00.0 to 0f:1f.7: 1 region"));

    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let pasted = run(&["decode", "--json", "-"], hex.join(" ").as_bytes());
    assert_eq!(pasted.status.code(), Some(0), "{}", text(&pasted.stderr));
    let json: serde_json::Value = serde_json::from_slice(&pasted.stdout).unwrap();
    assert_eq!(json["ivmd"][0]["kernel"]["end"], "0x7ffe0fff");
}

#[test]
fn a_kernel_log_gives_the_entries_that_the_kernel_heeded() {
    let log = "[    0.5] AMD-Vi: IVMD_TYPE_RANGE\t\t devid_start: 0000:00:00.0 devid_end: \
               0000:0f:1f.7 range_start: 000000007ffe0000 range_end: 000000007ffe1000 flags: 8\n";
    let json = run(&["decode", "--json", "-"], log.as_bytes());
    assert_eq!(json.status.code(), Some(0), "{}", text(&json.stderr));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["ivmd"][0]["devid_end"], "0x0fff");
    assert_eq!(json["ivmd"][0]["kernel"]["end"], "0x7ffe0fff");
    let page = run(&["decode", "-"], log.as_bytes());
    assert!(text(&page.stdout).contains("0x7ffe0000 to 0x7ffe0fff (4 KiB), read and write"));
}

#[test]
fn errors_in_a_table_are_no_failure_and_no_table_is() {
    let wrong = table().checksum(0).build().unwrap();
    let told = run(&["decode", "-"], &wrong);
    assert_eq!(told.status.code(), Some(0));
    assert!(text(&told.stdout).contains("ivrs-checksum"));

    let cut = wrong.get(..60).unwrap();
    for (args, input) in [
        (["decode", "-"].as_slice(), cut),
        (&["decode", "-"], b"no table at all"),
        (&["decode", "-"], b""),
        (&["decode", "/nonexistent/IVRS"], b""),
        (&["explain", "IVMD-\x1b[31m"], b""),
    ] {
        let refused = run(args, input);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&refused.stdout), "", "{args:?}");
        let said = text(&refused.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.trim_end().contains(char::is_control), "{said:?}");
    }
}

#[test]
fn every_code_that_is_listed_is_explained() {
    let listed = run(&["explain"], &[]);
    assert_eq!(listed.status.code(), Some(0));
    let codes: Vec<_> = text(&listed.stdout)
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        let explained = run(&["explain", code], &[]);
        assert_eq!(explained.status.code(), Some(0), "{code}");
        assert!(text(&explained.stdout).starts_with(code), "{code}");
    }
    // As 0.1.0 wrote it, and as a shell's variable would be.
    for spelt in ["IVMD-WIDE", "ivmd_wide"] {
        let explained = run(&["explain", spelt], &[]);
        assert!(text(&explained.stdout).starts_with("ivmd-wide: "), "{spelt}");
    }
}
