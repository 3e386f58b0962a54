//! Writes the seeds in the project's own formats: `cargo xtask fuzz --write-seeds` renews what is checked
//! in. Those in other formats (tables, dumps, BTF, text) are files alone.
//!
//! No seed comes from a machine: each is a small input that leads its target to another place.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ivrs_trace::{
    facts::{Clocks, End, Loss, Start},
    host::{Files, Place, Reading, Snapshot},
    model::RequireDirect,
    recording::{
        EVENT_LAYOUT, Kind, Options, Recorder,
        frame::{FILE_HEADER, SectionHeader, Unpacker},
    },
};
use ivrs_trace_common as wire;
use ivrs_trace_fuzz::{
    host,
    script::{self, Record},
};
use zerocopy::{FromBytes as _, IntoBytes as _};

fn main() -> Result<()> {
    let root = std::env::args_os().nth(1).map(PathBuf::from).context("which folder?")?;
    events(&Seeds::of(&root, "event")?, &Seeds::of(&root, "model")?)?;
    recording(&Seeds::of(&root, "recording")?)?;
    let json = host::json().context("cannot make a host")?;
    Seeds::of(&root, "host")?.write("three-entries", json.as_bytes())
}

/// The folder of a target's seeds, empty at first.
struct Seeds(PathBuf);

impl Seeds {
    fn of(root: &Path, target: &str) -> Result<Self> {
        let dir = root.join(target);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

const BASE: Record = Record {
    kind: 0,
    thread: 0x11,
    device: 1,
    group: 5,
    flags: 0,
    ret: 0,
    index: 0,
    count: 1,
    value: 0x0007_a2d9_u32.to_le_bytes(),
};

fn of(kind: wire::Kind) -> Record {
    Record { kind: kind.0.to_le_bytes()[0], ..BASE }
}

fn ret(kind: wire::Kind, ret: i8) -> Record {
    Record { ret, ..of(kind) }
}

fn refused() -> Vec<Record> {
    vec![
        of(wire::Kind::REGION),
        Record { flags: 12, ..of(wire::Kind::REGIONS_END) },
        Record { flags: 4, ..of(wire::Kind::GROUP_IOCTL_ENTER) },
        of(wire::Kind::CONTAINER_ATTACH_ENTER),
        Record { count: 14, value: [0; 4], ..of(wire::Kind::ARGS) },
        of(wire::Kind::GROUP_CLAIM_ENTER),
        of(wire::Kind::UNITY_MATCH),
        Record { flags: 7, index: 1, count: 3, ..ret(wire::Kind::SET_DOMAIN, -22) },
        ret(wire::Kind::GROUP_CLAIM_EXIT, -22),
        ret(wire::Kind::CONTAINER_ATTACH_EXIT, -22),
        ret(wire::Kind::GROUP_IOCTL_EXIT, -22),
    ]
}

/// An event of each kind, and the scripts of three stories.
fn events(single: &Seeds, streams: &Seeds) -> Result<()> {
    let unknown = wire::Kind(99);
    let every = wire::Kind::ALL.iter().chain([&unknown]);
    let every: Vec<Record> = every.map(|kind| Record { flags: 7, ..ret(*kind, -22) }).collect();
    for (record, event) in every.iter().zip(script::events(every.as_bytes())) {
        single.write(&format!("kind-{:02}", record.kind), &event)?;
    }
    let args = Record { count: 14, value: [0; 4], ..of(wire::Kind::ARGS) };
    let taken = vec![
        Record { flags: 4, ..of(wire::Kind::GROUP_IOCTL_ENTER) },
        args,
        of(wire::Kind::GROUP_CLAIM_ENTER),
        of(wire::Kind::GROUP_CLAIM_EXIT),
        of(wire::Kind::GROUP_IOCTL_EXIT),
        of(wire::Kind::TYPE1_ATTACH_ENTER),
        of(wire::Kind::TYPE1_ATTACH_EXIT),
        Record { flags: 6, ..of(wire::Kind::GROUP_IOCTL_ENTER) },
        ret(wire::Kind::GROUP_IOCTL_EXIT, 9),
    ];
    let on_device = vec![
        of(wire::Kind::MODULE_LOAD),
        of(wire::Kind::REGION),
        Record { index: 1, ..of(wire::Kind::REGION) },
        Record { count: 2, flags: 12, ..of(wire::Kind::REGIONS_END) },
        Record { index: 7, ..args },
        of(wire::Kind::DEVICE_CLAIM_ENTER),
        Record { device: 6, flags: 7, index: 1, count: 3, ..ret(wire::Kind::SET_DOMAIN, -22) },
        ret(wire::Kind::DEVICE_CLAIM_EXIT, -22),
        of(unknown),
    ];
    for (name, story) in [("refused", refused()), ("taken", taken), ("on-a-device", on_device)] {
        streams.write(name, story.as_bytes())?;
    }
    Ok(())
}

/// A small recording, and its contents as pieces.
fn recording(seeds: &Seeds) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("trace.ivt");
    let options = Options { path: path.clone(), force: false, max_size: None, owner: None };
    let recorder = Recorder::create(options, |line| eprintln!("{line}"))?;
    recorder.json(
        Kind::START,
        &Start {
            tool: "seed".to_owned(),
            event_layout: EVENT_LAYOUT,
            byte_order: "little".to_owned(),
            architecture: "x86_64".to_owned(),
            kernel_release: "6.12".to_owned(),
            traced: true,
            require_direct: RequireDirect::Present,
            clocks: Clocks::default(),
            command: Vec::new(),
            open_files: Vec::new(),
        },
    );
    recorder.snapshot(0, &files()?);
    for (number, event) in (0..).zip(script::events(refused().as_bytes())) {
        recorder.event(number, &event);
    }
    recorder.loss(Loss::default());
    let end = End { reason: "command".to_owned(), exit_status: Some(1), time_ns: 1 };
    anyhow::ensure!(recorder.finish(end).closed, "the recording is not closed");
    let file = fs::read(&path)?;
    let mut rest = file.get(FILE_HEADER..).context("the recording has no header")?;
    seeds.write("whole", rest)?;
    let mut pieces = Vec::new();
    while let Ok((header, after)) = SectionHeader::read_from_prefix(rest) {
        let (stored, next) = after.split_at(header.stored());
        let content = Unpacker::default().content(&header, stored.to_vec())?;
        pieces.push(header.kind().0.to_le_bytes()[0]);
        pieces.extend(u16::try_from(content.len())?.to_le_bytes());
        pieces.extend(content);
        rest = next;
    }
    seeds.write("pieces", &pieces)
}

/// What was read of a host with one function. Where its files were for a moment is not in it.
fn files() -> Result<Files> {
    let folder = tempfile::tempdir()?;
    host::write(folder.path(), host::FUNCTIONS.get(..1).unwrap_or_default())?;
    let root = folder.path().canonicalize()?;
    let (_, all) = Snapshot::read_and_keep(&root);
    let at = |path: &Path| {
        let below = path.strip_prefix(&root).map(|rest| Path::new("/").join(rest));
        below.unwrap_or_else(|_| path.to_owned())
    };
    let place = |place: Place| Place { real: at(&place.real), ..place };
    Ok(Files {
        root: "/".into(),
        places: moved(all.places, at, place),
        names: moved(all.names, at, |names| names),
        contents: moved(all.contents, at, |content| content),
        targets: moved(all.targets, at, |target| at(&target)),
    })
}

/// What was read, at other paths. The reason why something was not may name a path.
fn moved<T>(
    all: BTreeMap<PathBuf, Reading<T>>,
    at: impl Fn(&Path) -> PathBuf,
    make: impl Fn(T) -> T,
) -> BTreeMap<PathBuf, Reading<T>> {
    let found = all.into_iter().map(|(path, found)| match found {
        Reading::Read(found) => (at(&path), Reading::Read(make(found))),
        _ => (at(&path), Reading::Absent),
    });
    found.collect()
}
