//! Writes the seeds: `cargo xtask fuzz --write-seeds` renews what is checked in.
//!
//! All of them are made here, none is taken from a machine: a few small inputs a target, each of
//! which leads it to another place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ivrs_trace::{
    facts::{Clocks, End, Loss, Start},
    firmware::{
        amd::{
            builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
            device_entry::{AcpiUid, DeviceEntry, SpecialKind},
            ivrs::IvhdKind,
        },
        intel::{
            builder::{DmarBuilder, ScopeSpec},
            dmar::ScopeKind,
        },
    },
    host::{Files, Place, Reading, Snapshot},
    model::RequireDirect,
    pci::{Devid, Segment},
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
    for target in ["ivrs", "decode"] {
        ivrs(&Seeds::of(&root, target)?)?;
    }
    dmar(&Seeds::of(&root, "dmar")?)?;
    events(&Seeds::of(&root, "event")?, &Seeds::of(&root, "model")?)?;
    texts(&root)?;
    dumps(&Seeds::of(&root, "dump")?)?;
    tree(&Seeds::of(&root, "tree")?)?;
    recording(&Seeds::of(&root, "recording")?)?;
    let json = host::json().context("cannot make a host")?;
    Seeds::of(&root, "host")?.write("three-entries", json.as_bytes())?;
    btf(&Seeds::of(&root, "btf")?)
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

fn spec(text: &str) -> Result<IvmdSpec> {
    text.parse().with_context(|| text.to_owned())
}

/// Every kind of device entry.
fn entries() -> Vec<DeviceEntry> {
    let (first, last, source, settings) = (Devid(0x0100), Devid(0x01ff), Devid(0x00a4), 0xd7);
    let named = |uid| DeviceEntry::AcpiHid {
        devid: Devid(0x0098),
        settings,
        hid: *b"MSFT0201",
        cid: [0; 8],
        uid,
    };
    vec![
        DeviceEntry::Range { first: Devid(0x0008), last: Devid(0x00ff), settings: 0 },
        DeviceEntry::Select { devid: first, settings },
        DeviceEntry::Alias { devid: first, source, settings },
        DeviceEntry::AliasRange { first, last, source, settings },
        DeviceEntry::ExtSelect { devid: first, settings, extended: 0x8000_0000 },
        DeviceEntry::ExtRange { first, last, settings, extended: 1 },
        DeviceEntry::Special { handle: 0x20, devid: source, kind: SpecialKind::IoApic, settings },
        DeviceEntry::Special { handle: 0, devid: source, kind: SpecialKind::Hpet, settings: 0 },
        DeviceEntry::Raw(vec![0; 4]),
        named(AcpiUid::None),
        named(AcpiUid::Integer(7)),
        named(AcpiUid::Text("\\_SB.FUR0".to_owned())),
    ]
}

/// Every kind of device scope, and structures that are not decoded.
fn dmar(seeds: &Seeds) -> Result<()> {
    let at = ScopeSpec::function(Devid(0x00e4));
    let scopes = [
        at.clone(),
        at.clone().below(0, 2),
        at.clone().of_kind(ScopeKind::Bridge),
        at.clone().of_kind(ScopeKind::Namespace),
    ];
    let table = DmarBuilder::new()
        .drhd(0, Segment(0), 0xfed9_0000, &scopes)
        .drhd(1, Segment(0), 0xfed9_1000, &[])
        .rmrr(Segment(0), 0x8a78_5000, 0x8a7a_4fff, &scopes)
        .rmrr(Segment(1), 0, 0, &[])
        .raw(vec![2, 0, 8, 0, 1, 0, 0, 0])
        .raw(vec![0x63, 0, 4, 0]);
    seeds.write("every-kind", &table.build()?)?;
    let empty = ScopeSpec { length: Some(0), ..at };
    let wrong = DmarBuilder::new().rmrr(Segment(0), 0x2000, 0xfff, &[empty]).raw(vec![1, 0, 0, 0]);
    seeds.write("wrong", &wrong.build()?)
}

fn ivrs(seeds: &Seeds) -> Result<()> {
    seeds.write("three-entries", &host::ivrs()?)?;
    let of_kind = |kind| IvhdSpec { kind, entries: entries(), ..IvhdSpec::default() };
    let all = IvrsBuilder::new()
        .ivhd(IvhdSpec {
            entries: vec![DeviceEntry::All { settings: 0 }],
            ..of_kind(IvhdKind::Type10)
        })
        .ivhd(of_kind(IvhdKind::Type11))
        .ivhd(of_kind(IvhdKind::Type40))
        .ivmd(spec("type=0x21,flags=0x07,devid=0x98,start=0x5e2e8000,length=0x80000")?)
        .raw([&[0x51, 0, 40, 0][..], &[0; 36]].concat())
        .ivmd(spec("type=0x20,flags=0x01,start=0x1001,length=0")?);
    seeds.write("every-kind", &all.build()?)?;
    let second = IvhdSpec {
        segment: Segment(1),
        devid: Devid(0x4002),
        entries: vec![DeviceEntry::Select { devid: Devid(0x4100), settings: 0 }],
        ..IvhdSpec::default()
    };
    let segments = IvrsBuilder::new()
        .ivhd(IvhdSpec { devid: second.devid, ..of_kind(IvhdKind::Type10) })
        .ivhd(second)
        .ivmd(spec("type=0x20,flags=0x0f,segment=1,start=0xfffffffffffff001,length=0x2000")?);
    seeds.write("two-segments", &segments.build()?)?;
    let zero = IvrsBuilder::new().raw(vec![0x20, 0, 0, 0]).build()?;
    seeds.write("block-of-length-0", &zero)?;
    let stuck = vec![DeviceEntry::Raw(vec![0x80, 0, 0, 0])];
    let stuck = IvrsBuilder::new().ivhd(IvhdSpec { entries: stuck, ..IvhdSpec::default() });
    seeds.write("entry-of-length-0", &stuck.build()?)?;
    let long = IvrsBuilder::new().ivhd(of_kind(IvhdKind::Type40)).last_block_length(0xffff);
    seeds.write("block-beyond-the-end", &long.checksum(0).build()?)?;
    seeds.write("no-blocks", &IvrsBuilder::new().build()?)
}

/// The script of one story is a seed, and so is each kind of event in it.
fn events(single: &Seeds, streams: &Seeds) -> Result<()> {
    let base = Record { thread: 0x11, group: 5, device: 1, ..Record::default() };
    let of = |kind: wire::Kind| Record { kind: kind.0.to_le_bytes()[0], ..base };
    let page = 0x0007_a2d9_u32.to_le_bytes();
    let region = |index| Record { index, count: 1, value: page, ..of(wire::Kind::REGION) };
    let listed = |count| Record { count, flags: 12, ..of(wire::Kind::REGIONS_END) };
    let args = Record { count: 14, ..of(wire::Kind::ARGS) };
    let set_container = Record { flags: 4, ..of(wire::Kind::GROUP_IOCTL_ENTER) };
    let ret = |kind, ret| Record { ret, ..of(kind) };
    let set_domain =
        Record { flags: 7, ret: -22, index: 1, count: 3, ..of(wire::Kind::SET_DOMAIN) };
    let refused = vec![
        region(0),
        listed(1),
        set_container,
        of(wire::Kind::CONTAINER_ATTACH_ENTER),
        args,
        of(wire::Kind::GROUP_CLAIM_ENTER),
        Record { count: 1, value: page, ..of(wire::Kind::UNITY_MATCH) },
        set_domain,
        ret(wire::Kind::GROUP_CLAIM_EXIT, -22),
        ret(wire::Kind::CONTAINER_ATTACH_EXIT, -22),
        ret(wire::Kind::GROUP_IOCTL_EXIT, -22),
    ];
    let taken = vec![
        set_container,
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
        region(0),
        region(1),
        listed(2),
        Record { index: 7, ..args },
        of(wire::Kind::DEVICE_CLAIM_ENTER),
        Record { device: 6, ..set_domain },
        ret(wire::Kind::DEVICE_CLAIM_EXIT, -22),
        of(wire::Kind(99)),
    ];
    for (name, story) in [("refused", refused), ("taken", taken), ("on-a-device", on_device)] {
        streams.write(name, story.as_bytes())?;
        for (record, event) in story.iter().zip(script::events(story.as_bytes())) {
            single.write(&format!("kind-{:02}", record.kind), &event)?;
        }
    }
    Ok(())
}

fn texts(root: &Path) -> Result<()> {
    let regions = Seeds::of(root, "regions")?;
    regions.write(
        "every-type",
        b"0x000000007a2d9000 0x000000007a2d9fff direct\n\
          0x0000000000001000 0x0000000000000fff direct\n\
          0x0000000000000000 0xffffffffffffffff direct-relaxable\n\
          0x000000fd00000000 0x000000ffffffffff reserved\n\
          0x00000000fee00000 0x00000000feefffff msi\n",
    )?;
    regions.write("cut", b"0x00000000fee00000 0x00000000fee")?;
    let spec = Seeds::of(root, "spec")?;
    spec.write("all", b"type=0x20,flags=1,start=4096,length=0")?;
    spec.write("device", b"type=0x21,flags=0x07,devid=0x0039,start=0x7a2d9000,length=0x1000")?;
    let range = b"type=0x22,flags=8,devid=0,aux=0xfff,start=0,length=0x1000,segment=1";
    spec.write("range", range)?;
    let bdf = Seeds::of(root, "bdf")?;
    bdf.write("whole", b"0001:41:1f.7")?;
    bdf.write("short", b"0a:00.0")?;
    bdf.write("hex", b"0x00a0")
}

/// Prints a row: its offset and its bytes.
type Row = fn(usize, &[u8]) -> String;

/// A table as tools print it: only how they write offsets and rows matters here.
fn dumps(seeds: &Seeds) -> Result<()> {
    let table = host::table(&[spec("type=0x21,flags=7,devid=0x39,start=0x1000,length=0x1000")?]);
    let table = table.build()?;
    seeds.write("binary", &table)?;
    let forms: [(&str, &str, Row); 8] = [
        ("acpidump", "IVRS @ 0x0000000000000000\n", |at, row| {
            format!("    {at:04X}:{}  {}", hex(row).to_uppercase(), row.escape_ascii())
        }),
        ("iasl", "Raw Table Data: Length 112 (0x70)\n\n", |at, row| {
            format!("    {at:04X}:{}  // IVRS", hex(row).to_uppercase())
        }),
        ("xxd", "", |at, row| {
            format!("{at:08x}: {} IVRS", words(row, |[a, b]| format!("{a:02x}{b:02x} ")))
        }),
        ("hexdump-C", "$ hexdump -C IVRS\n", |at, row| format!("{at:08x} {}  |IVRS|", hex(row))),
        ("hexdump", "", |at, row| {
            format!("{at:07x}{}", words(row, |[a, b]| format!(" {b:02x}{a:02x}")))
        }),
        ("od", "", |at, row| {
            format!("{at:07o}{}", words(row, |pair| format!(" {:06o}", u16::from_le_bytes(pair))))
        }),
        ("od-A-d", "> ", |at, row| format!("{at:07}{}", hex(row))),
        ("plain", "", |_, row| hex(row)),
    ];
    for (name, head, print) in forms {
        let rows = table.chunks(16).enumerate();
        let text: Vec<String> = rows.map(|(at, row)| print(at * 16, row)).collect();
        let end = match name {
            "hexdump" => format!("\n{:07x}\n", table.len()),
            "od" => format!("\n{:07o}\n", table.len()),
            _ => "\n".to_owned(),
        };
        seeds.write(name, format!("{head}{}{end}", text.join("\n")).as_bytes())?;
    }
    seeds.write(
        "kernel-log",
        b"[    0.1] AMD-Vi: PCI segment : 0x0, last bdf : 0x22ff\n\
          [    0.1] AMD-Vi: IVMD_TYPE_RANGE\t\t devid_start: 0000:00:00.0 devid_end: 0000:0f:1f.7 \
          range_start: 0x000000007a2d9000 range_end: 0x000000007a2da000 flags: 8\n\
          [    0.1] AMD-Vi: IVMD_TYPEi\t\t\t devid_start: 0000:00:07.1 devid_end: 0000:00:07.1 \
          range_start: 0x0000000000001000 range_end: 0x0000000000002000 flags: 7\n\
          [    0.1] AMD-Vi: IVMD_TYPE_ALL\t\t devid_start: 00:00.0 devid_end: 22:1f.7 \
          range_start: 0x0000000000001000 range_end: 0x0000000000002000 flags: 1\n",
    )
}

fn hex(row: &[u8]) -> String {
    row.iter().fold(String::new(), |text, byte| text + &format!(" {byte:02x}"))
}

fn words(row: &[u8], print: impl Fn([u8; 2]) -> String) -> String {
    row.as_chunks::<2>().0.iter().map(|pair| print(*pair)).collect()
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
    let base = Record { thread: 0x11, group: 1, device: 1, ..Record::default() };
    let of = |kind: wire::Kind| Record { kind: kind.0.to_le_bytes()[0], ..base };
    let story = [
        of(wire::Kind::GROUP_CLAIM_ENTER),
        Record { flags: 7, ret: -22, ..of(wire::Kind::SET_DOMAIN) },
        Record { ret: -22, ..of(wire::Kind::GROUP_CLAIM_EXIT) },
    ];
    for (number, event) in (0..).zip(script::events(story.as_bytes())) {
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

/// What was read of a host with one function in a group. Where its files were for a moment is not
/// in it.
fn files() -> Result<Files> {
    let folder = tempfile::tempdir()?;
    host::write(folder.path())?;
    let root = folder.path().canonicalize()?;
    let (_, all) = Snapshot::read_and_keep(&root);
    let at = |path: &Path| Path::new("/").join(path.strip_prefix(&root).unwrap_or(path));
    let other = |path: &Path| {
        let text = path.to_string_lossy();
        host::FUNCTIONS.iter().skip(1).any(|(bdf, ..)| text.contains(bdf))
    };
    let mut files = Files { root: "/".into(), ..Files::default() };
    for (path, place) in all.places.iter().filter(|(path, _)| !other(path)) {
        let place = match place {
            Reading::Read(Place { real, is_dir }) => {
                Reading::Read(Place { real: at(real), is_dir: *is_dir })
            }
            _ => Reading::Absent,
        };
        files.places.insert(at(path), place);
    }
    for (path, names) in all.names.iter().filter(|(path, _)| !other(path)) {
        let names = names.value().into_iter().flatten();
        let names = names.filter(|name| !other(Path::new(name))).cloned().collect();
        files.names.insert(at(path), Reading::Read(names));
    }
    for (path, content) in all.contents.iter().filter(|(path, _)| !other(path)) {
        let content = content.value().cloned().map_or(Reading::Absent, Reading::Read);
        files.contents.insert(at(path), content);
    }
    for (path, target) in all.targets.iter().filter(|(path, _)| !other(path)) {
        let target = target.value().cloned().map_or(Reading::Absent, Reading::Read);
        files.targets.insert(at(path), target);
    }
    Ok(files)
}

/// In the order of [`host::TEXT_FILES`].
fn tree(seeds: &Seeds) -> Result<()> {
    let files = [
        "00000000-00000fff : Reserved\n00001000-7fffffff : System RAM\n  \
         01000000-01ffffff : Kernel code\n7a2d9000-7a2d9fff : ACPI Tables\n",
        "0x000000007a2d9000 0x000000007a2d9fff direct\n",
        "1022  AMD\n\t14e9  Bridge\nC 02  Network controller\n\t00  Ethernet controller\n",
        "quiet iommu=pt amd_iommu_dump\n",
        "6.1.0-18-amd64\n",
        "none [integrity] confidentiality\n",
        "0x020000\n",
        "DRIVER=vfio-pci\nPCI_CLASS=20000\n",
        "X870\n",
        "identity\n",
    ];
    let between = char::from(host::NEXT_FILE).to_string();
    seeds.write("every-file", files.join(&between).as_bytes())
}

/// The two structs of which much depends, with all that types are made of.
fn btf(seeds: &Seeds) -> Result<()> {
    let mut strings = vec![0];
    let mut types: Vec<u32> = Vec::new();
    let mut name = |text: &str| -> Result<u32> {
        let at = strings.len();
        strings.extend(text.bytes().chain([0]));
        Ok(u32::try_from(at)?)
    };
    let kind = |kind: u32, members: u32| kind << 24 | members;
    // 1: an integer; 2: kobject; 3: a name for it; 4: const; 5: a union without a name.
    types.extend([name("int")?, kind(1, 0), 4, 32]);
    types.extend([name("kobject")?, kind(4, 1), 16, name("name")?, 1, 0]);
    types.extend([name("kobject_t")?, kind(8, 0), 2]);
    types.extend([0, kind(10, 0), 3]);
    types.extend([0, kind(5, 2), 16, name("kobj")?, 4, 0, name("other")?, 1, 0]);
    // 6: device, 7: dev_iommu with a bit field, 8: a prototype, 9: a function.
    let device = [name("device")?, kind(4, 3), 64, 0, 5, 64];
    types.extend(device);
    types.extend([name("bus")?, 1, 192, name("iommu")?, 1, 256]);
    types.extend([name("dev_iommu")?, 1 << 31 | kind(4, 2), 72]);
    types.extend([name("iommu_dev")?, 1, 384, name("require_direct")?, 1, 1 << 24 | 0x222]);
    types.extend([0, kind(13, 1), 1, 0, 1]);
    types.extend([name("iommu_group_claim_dma_owner")?, kind(12, 0), 8]);
    // An array, an enum, a variable and a section of it.
    types.extend([0, kind(3, 0), 0, 1, 1, 4]);
    types.extend([name("colour")?, kind(6, 1), 4, name("red")?, 0]);
    types.extend([name("v")?, kind(14, 0), 1, 1]);
    types.extend([name(".data")?, kind(15, 1), 4, 12, 0, 4]);
    let length = u32::try_from(types.len() * 4)?;
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, length, length, u32::try_from(strings.len())?] {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(types.iter().flat_map(|word| word.to_le_bytes()));
    blob.extend(strings);
    seeds.write("device-and-dev_iommu", &blob)
}
