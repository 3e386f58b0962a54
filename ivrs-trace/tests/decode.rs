//! `decode` and `explain` as they are called: files and standard input in, status and streams out.
#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the failed assertion")]

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use ivrs_trace::{
    facts::End,
    firmware::{
        amd::{
            builder::{IvhdSpec, IvrsBuilder},
            device_entry::DeviceEntry,
        },
        intel::builder::{DmarBuilder, ScopeSpec},
    },
    host::Snapshot,
    pci::{Devid, Segment},
    recording::{Options, Recorder},
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

fn dmar() -> Vec<u8> {
    let everything = DmarBuilder::new().drhd(1, Segment(0), 0xfed9_0000, &[]);
    let scope = ScopeSpec::function(Devid(0x0018));
    everything.rmrr(Segment(0), 0x7ffe_0000, 0x7ffe_ffff, &[scope]).build().unwrap()
}

/// A copied host with these tables, and a recording of it.
fn host(tables: &[(&str, &[u8])]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("host");
    let place = root.join("sys/firmware/acpi/tables");
    std::fs::create_dir_all(&place).unwrap();
    for (name, bytes) in tables {
        std::fs::write(place.join(name), bytes).unwrap();
    }
    let path = folder.path().join("host.ivt");
    let options = Options { path: path.clone(), force: false, max_size: None, owner: None };
    let recorder = Recorder::create(options, |line| eprintln!("{line}")).unwrap();
    recorder.snapshot(0, &Snapshot::read_and_keep(&root).1);
    let end = End { reason: "snapshot".to_owned(), exit_status: None, time_ns: 0 };
    assert!(recorder.finish(end).closed);
    (folder, path)
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
fn a_recording_gives_the_table_of_either_vendor_or_both() {
    let (ivrs, dmar) = (table().build().unwrap(), dmar());
    let (ivrs, dmar) = (("IVRS", ivrs.as_slice()), ("DMAR", dmar.as_slice()));
    for tables in [&[ivrs][..], &[dmar], &[ivrs, dmar]] {
        let (_folder, path) = host(tables);
        let page = run(&["decode", path.to_str().unwrap()], &[]);
        let direct: Vec<String> = tables
            .iter()
            .map(|(_, bytes)| text(&run(&["decode", "-"], bytes).stdout).to_owned())
            .collect();
        assert_eq!(text(&page.stdout), direct.join("\n"));
        let both = text(&page.stderr).contains("holds an IVRS and a DMAR table");
        assert_eq!(both, tables.len() == 2, "{}", text(&page.stderr));
        let json = run(&["decode", "--json", path.to_str().unwrap()], &[]);
        let documents = serde_json::Deserializer::from_slice(&json.stdout);
        let signatures: Vec<String> = documents
            .into_iter::<serde_json::Value>()
            .map(|one| one.unwrap()["table"]["signature"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(signatures, tables.iter().map(|(name, _)| *name).collect::<Vec<_>>());

        let exported = run(&["export", "--to", "acpi", "--from", path.to_str().unwrap()], &[]);
        assert_eq!(exported.status.code(), Some(0), "{}", text(&exported.stderr));
        if let [(_, bytes)] = tables {
            assert_eq!(&exported.stdout, bytes);
        }
        assert_eq!(text(&run(&["decode", "-"], &exported.stdout).stdout), direct.join("\n"));
    }
    // Other tables than these were copied.
    let (_folder, path) = host(&[("FACP", b"")]);
    for args in [&["decode"][..], &["export", "--to", "acpi", "--from"]] {
        let none = run(&[args, &[path.to_str().unwrap()]].concat(), &[]);
        assert_eq!(none.status.code(), Some(2));
        let said = text(&none.stderr).lines().last().unwrap();
        assert!(said.contains("neither an IVRS nor a DMAR table"), "{said}");
    }
}

#[test]
fn a_table_of_intel_is_an_input_of_diff() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), dmar()).unwrap();
    let name = file.path().to_str().unwrap();
    let same = run(&["diff", name, "-"], &dmar());
    assert_eq!((same.status.code(), text(&same.stderr)), (Some(0), ""));
    let host = host(&[("DMAR", &dmar())]).0;
    let same = run(&["diff", name, host.path().join("host").to_str().unwrap()], &[]);
    assert_eq!((same.status.code(), text(&same.stderr)), (Some(0), ""));
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
