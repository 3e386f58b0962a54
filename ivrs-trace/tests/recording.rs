//! Recordings as users meet them: a writer that is killed, a disk that is full, content that means
//! harm, the commands that read them, and the independent reader of docs/.
#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the failed assertion")]
#![expect(clippy::indexing_slicing, reason = "in tests a wrong index is the failed assertion")]

use std::{
    env, fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use ivrs_trace::{
    facts::{Clocks, End, Loss, ProbeFact, Start},
    firmware::amd::{
        builder::{IvhdSpec, IvrsBuilder},
        device_entry::DeviceEntry,
    },
    host::{Files, Place, Reading, Snapshot},
    model::RequireDirect,
    probe_state::ProbeState,
    recording::{self, EVENT_LAYOUT, Item, Kind, Options, Reader, Recorder},
};
use ivrs_trace_common as wire;
use tempfile::TempDir;
use zerocopy::{FromZeros as _, IntoBytes};

/// What must never reach a terminal: escapes, controls, what hides text or turns its direction.
const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;x\u{7}\r\n\t\u{9b}31m\u{202e}\u{2066}\u{200b}\u{feff}\u{ad}\u{e0041}";

fn ivrs_trace(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ivrs-trace")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn options(path: &Path) -> Options {
    Options { path: path.to_owned(), force: false, max_size: None, owner: None }
}

fn start(kernel_release: &str) -> Start {
    Start {
        tool: "test".to_owned(),
        event_layout: EVENT_LAYOUT,
        byte_order: "little".to_owned(),
        architecture: "x86_64".to_owned(),
        kernel_release: kernel_release.to_owned(),
        traced: true,
        require_direct: RequireDirect::Present,
        clocks: Clocks {
            monotonic_ns: 1_000_000_000,
            realtime_ns: 1_795_377_901_000_000_000,
            boottime_ns: 1_000_000_000,
        },
        command: Vec::new(),
        open_files: Vec::new(),
    }
}

fn end(exit_status: i32) -> End {
    End { reason: "command".to_owned(), exit_status: Some(exit_status), time_ns: 0 }
}

fn header(kind: wire::Kind, comm: &str) -> wire::Header {
    let mut header = wire::Header::new_zeroed();
    header.time_ns = 1_000_500_000;
    header.pid = 77;
    header.tid = 78;
    header.kind = kind;
    fill(&mut header.comm, comm);
    header
}

fn fill(to: &mut [u8], text: &str) {
    for (to, from) in to.iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

fn device(name: &str) -> wire::DeviceId {
    let mut device = wire::DeviceId::new_zeroed();
    (device.sbdf, device.group) = (0x0100, 10);
    fill(&mut device.name, name);
    device
}

/// A refusal, as the programs send it.
fn refusal(name: &str, comm: &str) -> Vec<Vec<u8>> {
    let mut claim = wire::Claim::new_zeroed();
    claim.header = header(wire::Kind::GROUP_CLAIM_ENTER, comm);
    claim.device.group = 10;
    let mut args = wire::Args::new_zeroed();
    args.header = header(wire::Kind::ARGS, comm);
    let line = format!("qemu\0-name\0guest={name}\0");
    args.total = u32::try_from(line.len()).unwrap();
    fill(&mut args.data, &line);
    let mut domain = wire::SetDomain::new_zeroed();
    domain.header = header(wire::Kind::SET_DOMAIN, comm);
    domain.device = device(name);
    fill(&mut domain.driver, name);
    (domain.flags, domain.ret) = (wire::SET_REFUSED, -22);
    let mut done = claim;
    done.header = header(wire::Kind::GROUP_CLAIM_EXIT, comm);
    done.ret = -22;
    let mut module = wire::ModuleLoad::new_zeroed();
    module.header = header(wire::Kind::MODULE_LOAD, comm);
    fill(&mut module.name, name);
    let unknown = header(wire::Kind(60_000), comm);
    vec![
        args.as_bytes().to_vec(),
        claim.as_bytes().to_vec(),
        domain.as_bytes().to_vec(),
        done.as_bytes().to_vec(),
        module.as_bytes().to_vec(),
        unknown.as_bytes().to_vec(),
    ]
}

/// A host with one function that an IVMD covers; `text` is wherever a host has text.
fn tree(text: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let file = |path: &str, content: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let table = IvrsBuilder::new()
        .ivhd(IvhdSpec {
            entries: vec![
                DeviceEntry::All { settings: 0 },
                DeviceEntry::AcpiHid {
                    devid: ivrs_trace::pci::Devid(0x0100),
                    settings: 0,
                    hid: *b"AB\x1b[2JCD",
                    cid: [0; 8],
                    uid: ivrs_trace::firmware::amd::device_entry::AcpiUid::Text(text.to_owned()),
                },
            ],
            ..IvhdSpec::default()
        })
        .ivmd("type=0x21,flags=8,devid=0x100,start=0x7ffe0000,length=0x1000".parse().unwrap())
        .build()
        .unwrap();
    file("sys/firmware/acpi/tables/IVRS", &table);
    for name in ["sys_vendor", "product_name", "board_vendor", "board_name", "bios_version"] {
        file(&format!("sys/class/dmi/id/{name}"), text.as_bytes());
    }
    file("sys/class/dmi/id/bios_date", "x".repeat(65_536).as_bytes());
    file("proc/cmdline", format!("amd_iommu=on vfio={text}").as_bytes());
    file("proc/sys/kernel/osrelease", format!("6.12{text}").as_bytes());
    file("proc/iomem", format!("7ffe0000-7ffeffff : {text}\n").as_bytes());
    let function = "sys/devices/pci0000:00/0000:01:00.0";
    for (name, value) in [("vendor", "0x1022"), ("device", "0x14db"), ("class", "0x020000")] {
        file(&format!("{function}/{name}"), value.as_bytes());
    }
    file("usr/share/misc/pci.ids", format!("1022  {text}\n\t14db  {text}\n").as_bytes());
    file("sys/bus/acpi/devices/ABCD0001:00/hid", text.as_bytes());
    file("sys/bus/acpi/devices/ABCD0001:00/path", text.as_bytes());
    file("sys/kernel/iommu_groups/10/type", text.as_bytes());
    let regions = format!("0x000000007ffe0000 0x000000007ffe0fff direct\n0x0 {text}\n");
    file("sys/kernel/iommu_groups/10/reserved_regions", regions.as_bytes());
    file("sys/class/iommu/ivhd0/devices/x", b"");
    let link = |path: &str, target: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    };
    link("sys/bus/pci/devices/0000:01:00.0", "../../../devices/pci0000:00/0000:01:00.0");
    let name: String = text.chars().filter(|c| *c != '/').collect();
    link(&format!("{function}/driver"), &format!("../../../bus/pci/drivers/{name}"));
    link(&format!("{function}/iommu_group"), "../../../kernel/iommu_groups/10");
    link(&format!("{function}/iommu"), "../../../class/iommu/ivhd0");
    link(
        "sys/kernel/iommu_groups/10/devices/0000:01:00.0",
        "../../../../devices/pci0000:00/0000:01:00.0",
    );
    link(&format!("sys/kernel/iommu_groups/10/devices/{name}"), "../../../../devices/x");
    link(&format!("sys/bus/pci/devices/{name}"), "../../../devices/x");
    root
}

/// A recording of that host and of a refusal there.
fn record(path: &Path, word: &str) {
    let root = tree(word);
    let (_, files) = Snapshot::read_and_keep(root.path());
    let recorder = Recorder::create(options(path), |line| eprintln!("{line}")).unwrap();
    recorder.json(Kind::START, &start(word));
    let probe = ProbeFact {
        symbol: word.to_owned(),
        module: Some(word.to_owned()),
        explains: word.to_owned(),
        required: true,
        how: vec![word.to_owned()],
        fallback: Some(word.to_owned()),
        state: ProbeState::Missing { reason: word.to_owned(), obstacles: Vec::new() },
    };
    recorder.json(Kind::PROBES, &[probe]);
    recorder.snapshot(0, &files);
    for (number, event) in (0..).zip(refusal(word, word)) {
        recorder.event(number, &event);
    }
    recorder.loss(Loss::default());
    assert!(recorder.finish(end(1)).closed);
}

#[test]
fn every_command_reads_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.ivt");
    record(&path, "plain");
    let path = path.to_str().unwrap();
    let check = ivrs_trace(&["check", "--json", "--from", path]);
    assert_eq!(check.status.code(), Some(1), "{}{}", text(&check.stdout), text(&check.stderr));
    let json: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(json["devices"][0]["bdf"], "0000:01:00.0");
    assert_eq!(json["devices"][0]["verdict"], "blocked");
    // A live host's words, not those of a copy.
    assert!(!text(&check.stdout).contains("in the tree"));
    let said = text(&check.stderr);
    assert!(said.contains("also holds 1 attempts"), "{said}");
    assert!(said.contains("1 of 1 probes is missing: the trace does not show plain"), "{said}");
    assert!(!said.contains("no probe on"), "{said}");
    let verbose = ivrs_trace(&["check", "--verbose", "--from", path]);
    assert!(text(&verbose.stderr).contains("no probe on plain [plain], which would show plain"));

    let run = ivrs_trace(&["run", "--from", path]);
    assert_eq!(run.status.code(), Some(0));
    assert!(text(&run.stdout).starts_with("BLOCKED by firmware"), "{}", text(&run.stdout));
    let run = ivrs_trace(&["run", "--json", "--from", path]);
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["exit_status"], 1);
    assert_eq!(json["attempts"][0]["outcome"], "rejected");

    let events = ivrs_trace(&["events", "--from", path]);
    let lines: Vec<_> = text(&events.stdout).lines().collect();
    assert_eq!(lines.len(), 6);
    assert!(lines[2].starts_with("     2     0.000500 77/78         plain "), "{}", lines[2]);
    let utc = ivrs_trace(&["events", "--time", "utc", "--from", path]);
    assert!(text(&utc.stdout).contains(" 2026-11-22T20:05:01.000500Z "));
    let some = ivrs_trace(&["events", "--filter", "verdict=blocked", "--json", "--from", path]);
    let line: serde_json::Value = serde_json::from_slice(&some.stdout).unwrap();
    assert_eq!((&line["number"], &line["kind"]), (&2.into(), &"set_domain".into()));
    let none = ivrs_trace(&["events", "--filter", "pid=1", "--from", path]);
    assert!(none.stdout.is_empty() && text(&none.stderr).contains("none of its 6 events"));

    assert_eq!(ivrs_trace(&["diff", path, path]).status.code(), Some(0));
    let what_if = ivrs_trace(&["what-if", "--without", "ivmd:0", "--from", path]);
    assert_eq!(what_if.status.code(), Some(0), "{}", text(&what_if.stderr));
    let decode = ivrs_trace(&["decode", "--json", path]);
    let json: serde_json::Value = serde_json::from_slice(&decode.stdout).unwrap();
    assert_eq!(json["ivmd"][0]["kernel"]["end"], "0x7ffe0fff");
    let piped = Command::new(env!("CARGO_BIN_EXE_ivrs-trace"))
        .args(["check", "--json", "--from", "-"])
        .stdin(fs::File::open(path).unwrap())
        .output()
        .unwrap();
    assert_eq!(piped.stdout, check.stdout);
}

#[test]
fn a_cut_recording_says_what_is_missing_and_judges_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.ivt");
    record(&whole, "plain");
    let bytes = fs::read(&whole).unwrap();
    let cut = folder.path().join("cut.ivt");
    let mut verdicts = Vec::new();
    for length in (16..bytes.len()).step_by(211) {
        fs::write(&cut, &bytes[..length]).unwrap();
        let check = ivrs_trace(&["check", "--from", cut.to_str().unwrap()]);
        let said = text(&check.stderr);
        assert!(said.contains("cut.ivt: "), "{length}: {said}");
        verdicts.push(check.status.code().unwrap());
    }
    // Nothing is clear for want of evidence: unknown, until it is known to be blocked.
    assert_eq!(verdicts.first(), Some(&3));
    assert_eq!(verdicts.last(), Some(&1));
    assert!(verdicts.is_sorted_by(|before, after| before >= after), "{verdicts:?}");
}

fn assert_harmless(what: &str, bytes: &[u8]) {
    let text = text(bytes);
    let bad = text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || HOSTILE.chars().any(|h| h != '\n' && !h.is_ascii() && h == *c)
    });
    assert_eq!(bad, None, "{what}: {text:?}");
}

#[test]
fn hostile_content_never_reaches_the_output_raw() {
    let folder = tempfile::tempdir().unwrap();
    let long = HOSTILE.repeat(65_536 / HOSTILE.len());
    let mut crafted = 0;
    for (name, word) in [("hostile", HOSTILE), ("shifted", &HOSTILE[1..]), ("long", &long)] {
        let path = folder.path().join(format!("{name}.ivt"));
        // File names end at 255 bytes; in a crafted file they do not.
        record(&path, &word.chars().take(60).collect::<String>());
        let crafted_path = folder.path().join(format!("{name}-crafted.ivt"));
        record_crafted(&crafted_path, word);
        let nothing = folder.path().join(format!("{name}-nothing.ivt"));
        record_nothing(&nothing, word);
        for path in [&path, &crafted_path, &nothing] {
            let path = path.to_str().unwrap();
            let calls: [&[&str]; 10] = [
                &["check", "--from", path],
                &["check", "--json", "--from", path],
                &["run", "--from", path],
                &["run", "--json", "--from", path],
                &["events", "--from", path],
                &["events", "--time", "utc", "--from", path],
                &["events", "--json", "--from", path],
                &["what-if", "--without", "ivmd:0", "--from", path],
                &["diff", path, path],
                &["decode", path],
            ];
            for args in calls {
                let output = ivrs_trace(args);
                // JSON escapes controls; what it prints of other text is printable all the same.
                assert_harmless(&format!("{args:?}"), &output.stdout);
                assert_harmless(&format!("{args:?}"), &output.stderr);
                crafted += usize::from(!output.stdout.is_empty());
            }
        }
    }
    assert!(crafted > 30, "{crafted}");
}

/// A file that no host could have made: every answer and every name is the word.
fn record_crafted(path: &Path, word: &str) {
    let root = tree("x");
    let (_, mut files) = Snapshot::read_and_keep(root.path());
    for content in files.contents.values_mut() {
        if !matches!(content, Reading::Read(bytes) if bytes.starts_with(b"IVRS")) {
            *content = Reading::Unreadable(word.to_owned());
        }
    }
    for target in files.targets.values_mut() {
        *target = Reading::Read(PathBuf::from(word));
    }
    for names in files.names.values_mut() {
        if let Reading::Read(names) = names {
            names.push(word.to_owned());
        }
    }
    for (path, place) in &mut files.places {
        if path.as_os_str().as_bytes().ends_with(b"dmi/id") {
            *place = Reading::Unreadable(word.to_owned());
        }
    }
    files.places.insert(word.into(), Reading::Read(Place { real: word.into(), is_dir: true }));
    let recorder = Recorder::create(options(path), |line| eprintln!("{line}")).unwrap();
    recorder.json(Kind::START, &start(word));
    recorder.json(Kind(60_000), &word);
    recorder.snapshot(0, &files);
    for (number, event) in (0..).zip(refusal(word, word)) {
        recorder.event(number, &event);
    }
    assert!(recorder.finish(end(0)).closed);
}

/// A file with a refusal on a host of which nothing could be read, for a reason that is the word.
fn record_nothing(path: &Path, word: &str) {
    let root = tree("x");
    let (_, mut files) = Snapshot::read_and_keep(root.path());
    for place in files.places.values_mut() {
        *place = Reading::Unreadable(word.to_owned());
    }
    let recorder = Recorder::create(options(path), |line| eprintln!("{line}")).unwrap();
    recorder.json(Kind::START, &start("6.12"));
    recorder.snapshot(0, &files);
    for (number, event) in (0..).zip(refusal("0000:01:00.0", word)) {
        recorder.event(number, &event);
    }
    assert!(recorder.finish(end(0)).closed);
}

/// The event with this number that the writer below feeds.
fn fed(number: u64) -> Vec<u8> {
    let mut event = header(wire::Kind(50_000), "writer").as_bytes().to_vec();
    event[..8].copy_from_slice(&number.to_le_bytes());
    // Something that does not pack well.
    let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    event.extend(noise.repeat(usize::try_from(number % 9).unwrap()));
    event
}

/// Not a test of its own: what the next one starts and kills.
#[test]
#[ignore = "it never ends: the test of killed writers runs it"]
fn writer_to_be_killed() {
    let path = PathBuf::from(env::var_os("IVRS_TRACE_TEST_FILE").unwrap());
    let recorder = Recorder::create(options(&path), |line| panic!("{line}")).unwrap();
    recorder.json(Kind::START, &start("6.12"));
    recorder.snapshot(0, &Files { root: "/".into(), ..Files::default() });
    for number in 0.. {
        recorder.event(number, &fed(number));
        if number % 256 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_file_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let (mut with_events, mut within_a_section, mut most) = (0, 0, 0);
    for round in 0..200 {
        let path = folder.path().join(format!("{round}.ivt"));
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writer_to_be_killed"])
            .env("IVRS_TRACE_TEST_FILE", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        thread::sleep(Duration::from_micros(seed % 120_000));
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let Ok(bytes) = fs::read(&path) else { continue };
        let Ok(mut reader) = Reader::new(bytes.as_slice()) else {
            assert!(bytes.len() < 16, "{round}");
            continue;
        };
        let mut next = 0;
        for item in &mut reader {
            if let Item::Events(events) = item {
                for (number, event) in events {
                    assert_eq!(number, next, "{round}");
                    assert_eq!(event, fed(number), "{round}");
                    next += 1;
                }
            }
        }
        let condition = reader.condition();
        assert!(!condition.is_whole() && condition.damages.is_empty(), "{round}: {condition:?}");
        assert_eq!(condition.missing_events, 0, "{round}");
        with_events += u32::from(next > 0);
        within_a_section += u32::from(condition.stopped.is_some());
        most = most.max(next);
    }
    eprintln!(
        "200 writers killed: {with_events} files with events (up to {most}), {within_a_section} \
         cut within a section"
    );
    assert!(with_events > 50, "{with_events}");
}

/// Needs root, for a disk that is full: a file system in memory of 64 KiB.
#[test]
fn a_full_disk_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(folder.path())
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not checked: a small file system cannot be mounted here (needs root)");
        return;
    }
    let path = folder.path().join("trace.ivt");
    let (send, said) = std::sync::mpsc::channel();
    let recorder = Recorder::create(options(&path), move |line| {
        let _ = send.send(line.to_owned());
    })
    .unwrap();
    recorder.json(Kind::START, &start("6.12"));
    let total = 20_000;
    for number in 0..total {
        recorder.event(number, &fed(number));
        if number % 1000 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let outcome = recorder.finish(end(0));
    let bytes = fs::read(&path).unwrap();
    let unmounted = Command::new("umount").arg(folder.path()).status();
    assert!(unmounted.unwrap().success());

    let said: Vec<String> = said.try_iter().collect();
    assert!(said[0].contains("No space left on device"), "{said:?}");
    assert!(outcome.status.events > 0 && outcome.status.dropped > 0, "{outcome:?}");
    assert_eq!(outcome.status.events + outcome.status.dropped, total);
    let mut reader = Reader::new(bytes.as_slice()).unwrap();
    let numbers: Vec<u64> = (&mut reader)
        .filter_map(|item| match item {
            Item::Events(events) => Some(events.map(|(number, _)| number)),
            _ => None,
        })
        .flatten()
        .collect();
    let condition = reader.condition();
    assert_eq!(condition.events, outcome.status.events);
    assert!(condition.damages.is_empty() && condition.stopped.is_none(), "{condition:?}");
    // Which sections still fit depends on how much was written at a time: the first may not.
    assert!(numbers.is_sorted() && !numbers.is_empty());
}

/// What the reader of docs/ says of a file.
fn python(path: &Path) -> Option<Vec<serde_json::Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/read-trace.py");
    let output = Command::new("python3").arg(script).arg("--lines").arg(path).output().ok()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_reader_written_from_the_description_alone_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.ivt");
    record(&whole, "plain");
    let bytes = fs::read(&whole).unwrap();
    let other = folder.path().join("other.ivt");
    let mut files = vec![bytes.clone()];
    files.extend((1..8).map(|n| bytes[..bytes.len() * n / 8].to_vec()));
    for n in 1..8 {
        let mut flipped = bytes.clone();
        flipped[bytes.len() * n / 8] ^= 0x10;
        files.push(flipped);
    }
    for bytes in files {
        fs::write(&other, &bytes).unwrap();
        let Some(lines) = python(&other) else {
            eprintln!("not checked: there is no python3");
            return;
        };
        agree(&bytes, &lines);
    }
}

fn agree(bytes: &[u8], lines: &[serde_json::Value]) {
    let (state, lines) = lines.split_last().unwrap();
    let mut reader = Reader::new(bytes).unwrap();
    let (mut events, mut answers) = (Vec::new(), 0);
    for item in &mut reader {
        match item {
            Item::Events(found) => events.extend(found),
            Item::Snapshot { files, .. } => {
                answers += files.places.len() + files.names.len();
                answers += files.contents.len() + files.targets.len();
            }
            _ => {}
        }
    }
    let condition = reader.condition();
    assert_eq!(state["closed"], condition.closed);
    let stopped = condition.stopped.as_ref().map(|(offset, _)| *offset);
    assert_eq!(state["stopped"], serde_json::to_value(stopped).unwrap());
    assert_eq!(state["length"], condition.length);
    assert_eq!(state["events"], condition.events);
    assert_eq!(state["missing_events"], condition.missing_events);
    let damaged: Vec<_> = state["damaged"].as_array().unwrap().iter().collect();
    assert_eq!(damaged.len(), condition.damages.len());
    for (theirs, ours) in damaged.iter().zip(&condition.damages) {
        assert_eq!(theirs["offset"], ours.offset);
    }
    let of_events: Vec<_> = lines.iter().filter(|line| !line["number"].is_null()).collect();
    assert_eq!(of_events.len(), events.len());
    for (theirs, (number, bytes)) in of_events.iter().zip(&events) {
        let event = ivrs_trace::event::Event::decode(bytes).unwrap();
        assert_eq!(theirs["number"], *number);
        assert_eq!(theirs["length"], bytes.len());
        assert_eq!(theirs["crc"], crc32fast::hash(bytes));
        assert_eq!(theirs["time_ns"], event.time_ns);
        assert_eq!((&theirs["pid"], &theirs["comm"]), (&event.pid.into(), &event.comm.into()));
    }
    let theirs = lines.iter().filter(|line| !line["question"].is_null());
    assert_eq!(theirs.filter(|line| line["question"] != "root").count(), answers);
}

#[test]
fn the_index_finds_every_section() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.ivt");
    record(&path, "plain");
    let Some(lines) = python(&path) else { return };
    let index = recording::read_index(&mut fs::File::open(&path).unwrap()).unwrap().unwrap();
    let sections = lines.iter().filter(|line| !line["name"].is_null() && line["name"] != "index");
    let offsets: Vec<u64> = sections.filter_map(|line| line["offset"].as_u64()).collect();
    assert_eq!(index.iter().map(|entry| entry.offset).collect::<Vec<_>>(), offsets);
}
