//! Recordings through the real writer, and what is left of them after harm.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use tempfile::TempDir;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{
    frame::{FILE_HEADER, FileHeader, SECTION_HEADER},
    *,
};
use crate::{
    facts::{Clocks, End, Loss, Start},
    host::{Files, Place, Reading},
    model::RequireDirect,
    replay::replay,
};

fn start() -> Start {
    Start {
        tool: "ivrs-trace test".to_owned(),
        event_layout: EVENT_LAYOUT,
        byte_order: "little".to_owned(),
        architecture: "x86_64".to_owned(),
        kernel_release: "6.12.0".to_owned(),
        traced: true,
        require_direct: RequireDirect::Present,
        clocks: Clocks { monotonic_ns: 1, realtime_ns: 2, boottime_ns: 3 },
        command: vec!["virsh".to_owned()],
        open_files: Vec::new(),
    }
}

fn a_host() -> Files {
    let place = |real: &str, is_dir| Reading::Read(Place { real: real.into(), is_dir });
    Files {
        root: "/".into(),
        places: [
            ("/sys/a".into(), place("/sys/b", true)),
            ("/sys/c".into(), Reading::Absent),
            ("/sys/d".into(), Reading::Unreadable("/sys/d: denied".to_owned())),
        ]
        .into(),
        names: [
            ("/sys/b".into(), Reading::Read(vec!["one".to_owned(), "two".to_owned()])),
            ("/sys/empty".into(), Reading::Read(Vec::new())),
        ]
        .into(),
        contents: [
            ("/sys/b/one".into(), Reading::Read(b"DMA-FQ\n".to_vec())),
            ("/sys/b/big".into(), Reading::Read(vec![7; 2_000])),
        ]
        .into(),
        targets: [("/sys/b/two".into(), Reading::Read("../../x".into()))].into(),
    }
}

fn options(path: &Path) -> Options {
    Options { path: path.to_owned(), force: false, max_size: None, owner: None }
}

fn end() -> End {
    End { reason: "interrupted".to_owned(), exit_status: None, time_ns: 9 }
}

/// Of the length and the bytes that its number says.
fn event(number: u64) -> Vec<u8> {
    let mut event = number.to_le_bytes().to_vec();
    event.resize(40 + usize::try_from(number % 7).unwrap() * 16, 0);
    event
}

/// A file with a snapshot and that many events.
fn recorded(path: &Path, events: u64) -> Vec<u8> {
    let recorder = Recorder::create(options(path), |line| panic!("{line}")).unwrap();
    recorder.json(Kind::START, &start());
    recorder.snapshot(0, &a_host());
    for number in 0..events {
        recorder.event(number, &event(number));
    }
    recorder.loss(Loss::default());
    let outcome = recorder.finish(end());
    assert!(outcome.closed);
    assert_eq!((outcome.status.events, outcome.status.dropped), (events, 0));
    let bytes = fs::read(path).unwrap();
    assert_eq!(outcome.status.bytes, u64::try_from(bytes.len()).unwrap());
    bytes
}

/// What there is in a file, in order: names of sections, numbers of events.
#[derive(Debug, Default, PartialEq)]
struct Found {
    sections: Vec<&'static str>,
    events: Vec<u64>,
    condition: Condition,
}

fn found(bytes: &[u8]) -> Result<Found, OpenError> {
    let mut reader = Reader::new(bytes)?;
    let mut found = Found::default();
    for item in &mut reader {
        found.sections.push(match item {
            Item::Start(found) => {
                assert_eq!(found, start());
                "start"
            }
            Item::Probes(_) => "probes",
            Item::Snapshot { .. } => "snapshot",
            Item::Events(events) => {
                for (number, bytes) in events {
                    assert_eq!(bytes, event(number));
                    found.events.push(number);
                }
                "events"
            }
            Item::Loss(_) => "loss",
            Item::Continues(_) => "continues",
            Item::End(_) => "end",
        });
    }
    found.condition = reader.condition().clone();
    Ok(found)
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.ivt");
    (folder, path)
}

#[test]
fn what_is_written_is_read() {
    let (_folder, path) = folder();
    let bytes = recorded(&path, 5000);
    let all = found(&bytes).unwrap();
    assert_eq!(all.events, (0..5000).collect::<Vec<_>>());
    assert_eq!(all.sections.first(), Some(&"start"));
    assert_eq!(all.sections.last(), Some(&"end"));
    assert_eq!(all.condition.notes(), [""; 0]);
    let snapshots: Vec<_> = open(&path)
        .unwrap()
        .filter_map(|item| match item {
            Item::Snapshot { number, files, complete } => {
                assert!(complete);
                Some((number, files))
            }
            _ => None,
        })
        .collect();
    assert_eq!(snapshots, [(0, a_host())]);

    let index = read_index(&mut fs::File::open(&path).unwrap()).unwrap().unwrap();
    assert_eq!(index.first().map(|entry| entry.kind), Some(Kind::START));
    assert_eq!(index.last().map(|entry| entry.kind), Some(Kind::END));
    // Reading from any section on that the index names works as well.
    let events = index.iter().rfind(|entry| entry.kind == Kind::EVENTS).unwrap();
    let tail = &bytes[usize::try_from(events.offset).unwrap()..];
    let tail = found(&[FileHeader::new().as_bytes(), tail].concat()).unwrap();
    assert_eq!(tail.events, (events.event..5000).collect::<Vec<_>>());
    assert!(read_index(&mut std::io::Cursor::new(&bytes[..bytes.len() - 1])).unwrap().is_none());
}

#[test]
fn cut_at_any_byte_it_opens_up_to_its_last_whole_section() {
    let (_folder, path) = folder();
    let bytes = recorded(&path, 40);
    let whole = found(&bytes).unwrap();
    let mut before = Found::default();
    for cut in 0..bytes.len() {
        let left = match found(&bytes[..cut]) {
            Ok(left) => left,
            Err(error) => {
                assert!(cut < FILE_HEADER, "{cut}: {error}");
                continue;
            }
        };
        assert!(cut >= FILE_HEADER);
        assert!(whole.events.starts_with(&left.events), "{cut}");
        assert!(left.events.len() >= before.events.len(), "{cut}");
        assert!(left.sections.len() >= before.sections.len(), "{cut}: {:?}", left.sections);
        assert!(!left.condition.closed);
        let length = usize::try_from(left.condition.length).unwrap();
        assert!(length <= cut);
        let notes = left.condition.notes();
        if let Some((offset, _)) = &left.condition.stopped {
            // Nothing is read of what is not whole, and where that begins is said.
            assert_eq!(*offset, left.condition.length);
            assert!(length < cut);
            assert!(notes[0].starts_with(&format!("from byte {offset} on")), "{notes:?}");
        } else {
            assert_eq!(length, cut);
            assert!(notes[0].starts_with("it was not closed"), "{notes:?}");
        }
        before = left;
    }
    assert_eq!(before.events, whole.events);
}

#[test]
fn a_flipped_bit_costs_at_most_what_lies_behind_it_and_is_told() {
    let (_folder, path) = folder();
    let bytes = recorded(&path, 40);
    let whole = found(&bytes).unwrap();
    let mut skipped = 0;
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut harmed = bytes.clone();
            harmed[at] ^= 1 << bit;
            let Ok(left) = found(&harmed) else {
                assert!(at < FILE_HEADER, "{at}");
                continue;
            };
            assert!(at >= FILE_HEADER, "{at}");
            assert!(!left.condition.is_whole(), "{at}: {left:?}");
            assert!(left.events.iter().all(|number| whole.events.contains(number)));
            skipped += usize::from(left.condition.stopped.is_none());
        }
    }
    assert!(skipped > bytes.len(), "a section with damaged content is passed over");
}

#[test]
fn a_snapshot_that_lacks_a_part_says_so() {
    let host = Files {
        contents: (0..40)
            .map(|n| (format!("/f{n}").into(), Reading::Read(vec![n; 20_000])))
            .collect(),
        ..a_host()
    };
    let parts = files::parts(0, &host);
    assert!(parts.len() > 2);
    for missing in 0..parts.len() {
        let mut bytes = FileHeader::new().as_bytes().to_vec();
        for (_, part) in parts.iter().enumerate().filter(|(number, _)| *number != missing) {
            bytes.extend(frame::pack(Kind::FILES, part).unwrap());
        }
        bytes.extend(frame::pack(Kind::START, &serde_json::to_vec(&start()).unwrap()).unwrap());
        let left = found(&bytes).unwrap();
        assert!(left.condition.snapshot_cut, "{missing}");
        assert_eq!(left.sections, ["snapshot", "start"]);
    }
}

#[test]
fn unknown_sections_are_passed_over_with_a_note() {
    let mut bytes = FileHeader::new().as_bytes().to_vec();
    bytes.extend(frame::store(Kind(999), b"of a later version").unwrap());
    bytes.extend(frame::pack(Kind::START, &serde_json::to_vec(&start()).unwrap()).unwrap());
    let left = found(&bytes).unwrap();
    assert_eq!(left.sections, ["start"]);
    assert_eq!(left.condition.unknown_sections, 1);
    assert!(left.condition.notes().iter().any(|note| note.contains("does not know")));
}

#[test]
fn what_is_not_a_recording_is_refused_in_one_line() {
    let crlf = b"\x89IVT\n\x1a\n\x01\0\0\0aaaaaaaaaaaaa";
    let mut later = FileHeader { version: 2.into(), ..FileHeader::new() };
    later.crc = later.checksum().into();
    for (bytes, expected) in [
        (&b""[..], "not a recording"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0\0", "not a recording"),
        (b"\x89IVT\r\n", "was cut within"),
        (crlf, "copied as text"),
        (later.as_bytes(), "format version 2"),
    ] {
        let error = Reader::new(bytes).err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn no_length_is_believed() {
    let header = FileHeader::new();
    // A section that would unpack to much more than there is, and one that says it is huge.
    for (stored, unpacked) in [(20_u32, 8_000_000_u32), (u32::MAX, u32::MAX), (0, 10_300)] {
        let mut bytes = header.as_bytes().to_vec();
        let mut section = Vec::new();
        section.extend(Kind::EVENTS.0.to_le_bytes());
        section.extend(frame::ZSTD.to_le_bytes());
        section.extend(stored.to_le_bytes());
        section.extend(unpacked.to_le_bytes());
        section.extend([0; 4]);
        section.extend(crc32fast::hash(&section).to_le_bytes());
        assert_eq!(section.len(), SECTION_HEADER);
        bytes.extend(section);
        let left = found(&bytes).unwrap();
        let (offset, why) = left.condition.stopped.unwrap();
        assert_eq!(offset, 16);
        assert!(why.contains("more than any section"), "{why}");
    }
}

#[test]
fn a_file_that_is_there_is_not_replaced_unless_that_is_said() {
    let (folder, path) = folder();
    fs::write(&path, "precious").unwrap();
    let refused = Recorder::create(options(&path), |_| {}).err().unwrap();
    assert!(matches!(refused, CreateError::Exists(_)), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    // A link is not followed, and neither it nor a folder is a file to replace.
    let link = folder.path().join("link.ivt");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for other in [link.as_path(), folder.path()] {
        let forced = Options { force: true, ..options(other) };
        let refused = Recorder::create(forced, |_| {}).err().unwrap();
        assert!(matches!(refused, CreateError::NotAFile(_)), "{refused}");
    }
    // Neither is the one that a full file would be renamed to.
    let other = folder.path().join("other.ivt");
    fs::write(folder.path().join("other.ivt.1"), "precious").unwrap();
    let rotating = Options { max_size: Some(MIN_SIZE), ..options(&other) };
    assert!(matches!(Recorder::create(rotating, |_| {}), Err(CreateError::Exists(_))));

    let forced = Options { force: true, ..options(&path) };
    let outcome = Recorder::create(forced, |_| {}).unwrap().finish(end());
    assert!(outcome.closed);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(found(&fs::read(&path).unwrap()).unwrap().condition.closed);
}

#[test]
fn at_its_end_a_recording_can_take_another_name_or_go() {
    let (_folder, path) = folder();
    let name = path.with_extension("kept");
    let ended = |max_size, fate| {
        let recorder =
            Recorder::create(Options { max_size, force: true, ..options(&path) }, |line| {
                panic!("{line}")
            });
        recorder.unwrap().finish_with(end(), fate)
    };
    let names = || {
        let names = fs::read_dir(path.parent().unwrap()).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().path()).collect();
        names.sort();
        names
    };
    assert!(ended(None, Fate::Remove).closed);
    assert!(names().is_empty());

    // What is not of a recording that is put aside stays.
    fs::write(rotated(&name), "another's").unwrap();
    assert!(ended(None, Fate::Name(name.clone())).closed);
    assert_eq!(names(), [name.clone(), rotated(&name)]);
    assert!(found(&fs::read(&name).unwrap()).unwrap().condition.closed);
    assert!(ended(None, Fate::Remove).closed);
    assert_eq!(names(), [name.clone(), rotated(&name)]);

    assert!(ended(Some(MIN_SIZE), Fate::Name(name.clone())).closed);
    assert_eq!(names(), std::slice::from_ref(&name));
    assert!(ended(Some(MIN_SIZE), Fate::Stay).closed);
    assert_eq!(names().len(), 2);

    let recorder = Recorder::create(Options { force: true, ..options(&path) }, |_| {}).unwrap();
    let nowhere = path.join("no/folder");
    let outcome = recorder.finish_with(end(), Fate::Name(nowhere));
    assert!(!outcome.closed && outcome.status.trouble.is_some(), "{outcome:?}");
}

#[test]
fn a_full_file_is_put_aside_and_each_opens_by_itself() {
    let (_folder, path) = folder();
    let rotating = Options { max_size: Some(64 * 1024), ..options(&path) };
    let recorder = Recorder::create(rotating, |line| panic!("{line}")).unwrap();
    recorder.json(Kind::START, &start());
    recorder.snapshot(0, &a_host());
    recorder.event(0, &event(0));
    recorder.end_of_prologue();
    let total = 60_000;
    for number in 1..total {
        // What does not pack, so that the file grows.
        recorder.event(number, &event(number));
        if number % 1000 == 0 {
            recorder.loss(Loss::default());
        }
    }
    let outcome = recorder.finish(end());
    assert!(outcome.closed);
    assert_eq!(outcome.status.dropped, 0);
    let older = found(&fs::read(rotated_path(&path)).unwrap()).unwrap();
    let newer = found(&fs::read(&path).unwrap()).unwrap();
    for part in [&older, &newer] {
        assert_eq!(part.condition.notes(), [""; 0]);
        assert_eq!(part.sections[..3], ["start", "snapshot", "events"]);
        assert_eq!(part.events[0], 0);
    }
    assert_eq!(newer.sections[3], "continues");
    assert_eq!(newer.events.last(), Some(&(total - 1)));
    assert_eq!(newer.events[1] - 1, *older.events.last().unwrap());
    assert!(outcome.status.bytes > newer.condition.length + older.condition.length);
}

fn rotated_path(path: &Path) -> PathBuf {
    format!("{}.1", path.display()).into()
}

#[test]
fn events_that_are_missing_are_counted_and_lost() {
    let (_folder, path) = folder();
    let recorder = Recorder::create(options(&path), |_| {}).unwrap();
    recorder.json(Kind::START, &start());
    recorder.event(0, &event(0));
    recorder.event(5, &event(5));
    // More than an event may have: dropped.
    recorder.event(6, &vec![0; MAX_EVENT + 1]);
    let outcome = recorder.finish(end());
    assert_eq!((outcome.status.events, outcome.status.dropped), (2, 1));
    let left = found(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(left.condition.missing_events, 4);
    // Nor is there a snapshot.
    assert!(left.condition.snapshot_cut);
    assert!(left.condition.notes().iter().any(|note| note.contains("4 events are missing")));
    let replayed = replay(open(&path).unwrap(), |_, _, _| {});
    assert_eq!(replayed.lost.queue, 4);
    assert_eq!(replayed.end, Some(end()));
    assert!(matches!(replayed.model.host().groups, Reading::Unreadable(_)));
}

#[test]
fn a_disk_that_takes_nothing_is_told_counted_and_survived() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("not checked: there is no /dev/full");
        return;
    }
    let (_folder, path) = folder();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&said);
    let recorder = Recorder::onto(
        fs::OpenOptions::new().write(true).open(full).unwrap(),
        options(&path),
        || {},
        move |line| told.lock().unwrap().push(line.to_owned()),
    )
    .unwrap();
    recorder.json(Kind::START, &start());
    for number in 0..2000 {
        recorder.event(number, &event(number));
    }
    let outcome = recorder.finish(end());
    assert!(!outcome.closed);
    assert_eq!((outcome.status.events, outcome.status.dropped), (0, 2000));
    assert!(outcome.status.trouble.unwrap().contains("No space left"));
    let said = said.lock().unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("No space left") && said[0].contains("goes on"), "{said:?}");
}

proptest! {
    #[test]
    fn any_files_come_back(
        paths in proptest::collection::vec("[ -~]{1,40}", 0..8),
        names in proptest::collection::vec("[^\0]{1,20}", 0..8),
        content in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut files = Files { root: "/".into(), ..Files::default() };
        for (index, path) in paths.iter().enumerate() {
            let path = PathBuf::from(path);
            match index % 4 {
                0 => { files.places.insert(path.clone(), Reading::Read(Place { real: path, is_dir: true })); }
                1 => { files.names.insert(path, Reading::Read(names.clone())); }
                2 => { files.contents.insert(path, Reading::Read(content.clone())); }
                _ => { files.targets.insert(path, Reading::Unreadable("é\n".to_owned())); }
            }
        }
        let mut collected = files::Collected::default();
        for part in files::parts(3, &files) {
            collected.add(&part);
        }
        prop_assert!(collected.complete && collected.left_out == 0);
        prop_assert_eq!(collected.files, files);
    }

    #[test]
    fn any_content_is_packed_and_unpacked(content in proptest::collection::vec(any::<u8>(), 0..3000), repeat in 1_usize..50) {
        let content = content.repeat(repeat);
        let packed = frame::pack(Kind::EVENTS, &content).unwrap();
        let (header, stored) = frame::SectionHeader::read_from_prefix(&packed).unwrap();
        prop_assert!(header.check().is_ok());
        prop_assert_eq!(frame::Unpacker::default().content(&header, stored.to_vec()).unwrap(), content);
    }

    #[test]
    fn any_bytes_are_an_answer_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let bytes = [FileHeader::new().as_bytes(), &bytes].concat();
        replay(Reader::new(bytes.as_slice()).unwrap(), |_, _, _| {});
    }

    /// Sections that are well-formed outside and anything inside.
    #[test]
    fn any_sections_are_an_answer_not_a_panic(
        sections in proptest::collection::vec((0_u16..10, proptest::collection::vec(any::<u8>(), 0..300)), 0..6),
    ) {
        let mut bytes = FileHeader::new().as_bytes().to_vec();
        for (kind, content) in sections {
            bytes.extend(frame::pack(Kind(kind), &content).unwrap());
        }
        let replayed = replay(Reader::new(bytes.as_slice()).unwrap(), |_, _, _| {});
        prop_assert_eq!(replayed.condition.stopped, None);
    }
}
