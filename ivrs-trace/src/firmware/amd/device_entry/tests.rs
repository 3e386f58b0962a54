//! Every kind of entry: bytes in, meaning out, and back.

use proptest::prelude::*;

use super::*;

/// The entries in `bytes`, which start at table offset 0x48.
fn decoded(bytes: &[u8]) -> Vec<Entry> {
    let mut table = vec![0xee; 0x48];
    table.extend(bytes);
    let end = table.len();
    decode(RawEntries::new(&table, 0x48, end))
}

fn one(bytes: &[u8]) -> Content {
    let mut entries = decoded(bytes);
    assert_eq!(entries.len(), 1, "{bytes:02x?}");
    let entry = entries.remove(0);
    assert_eq!((entry.offset, entry.kind), (0x48, bytes[0]));
    entry.content
}

fn devices(first: u16, last: u16) -> Devices {
    Devices {
        first: Devid(first),
        last: Devid(last),
        source: None,
        settings: Settings(0),
        extended: None,
    }
}

fn hid(uid_format: u8, uid: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xf0, 0x60, 0x00, 0x40];
    bytes.extend(b"MSFT0201");
    bytes.extend([0; 8]);
    bytes.extend([uid_format, u8::try_from(uid.len()).unwrap()]);
    bytes.extend(uid);
    bytes
}

#[test]
fn every_kind_says_what_its_bytes_say() {
    assert_eq!(one(&[0x00, 0, 0, 0]), Content::Padding);
    assert_eq!(one(&[0x01, 0x34, 0x12, 0x01]), Content::All(Settings(1)));
    assert_eq!(one(&[0x02, 0x0a, 0x01, 0]), Content::Device(devices(0x010a, 0x010a)));
    let alias = Devices { source: Some(Devid(0x00a4)), ..devices(0xff00, 0xff00) };
    assert_eq!(one(&[0x42, 0x00, 0xff, 0, 0, 0xa4, 0x00, 0]), Content::Device(alias));
    let extended = Devices { extended: Some(0x8000_0000), ..devices(8, 8) };
    assert!(extended.ats_disabled());
    assert_eq!(one(&[0x46, 8, 0, 0, 0, 0, 0, 0x80]), Content::Device(extended));
    for (variety, kind) in
        [(1, SpecialKind::IoApic), (2, SpecialKind::Hpet), (9, SpecialKind::Other(9))]
    {
        assert_eq!(
            one(&[0x48, 0, 0, 0xd7, 0x21, 0xa0, 0x00, variety]),
            Content::Special { handle: 0x21, devid: Devid(0xa0), kind, settings: Settings(0xd7) }
        );
    }
    for reserved in [[0x05, 1, 2, 3].as_slice(), &[0x44, 1, 2, 3, 4, 5, 6, 7]] {
        assert_eq!(one(reserved), Content::Reserved);
        assert_eq!(decoded(reserved)[0].bytes, reserved);
    }
    assert_eq!(one(&[0x80, 0, 0, 0]), Content::NoLength);
    assert_eq!(one(&[0x42, 0, 0, 0]), Content::Cut);
    assert_eq!(one(&[0x02, 0]), Content::Cut);
    assert_eq!(one(&[0xf0, 0, 0, 0]), Content::Cut);
}

#[test]
fn a_range_is_one_entry_with_both_places() {
    let bytes = [0x03, 8, 0, 0x10, 0x04, 0xfe, 0xff, 0];
    let entries = decoded(&bytes);
    let devices = Devices { settings: Settings(0x10), ..devices(8, 0xfffe) };
    let end = RangeEnd { offset: 0x4c, bytes: bytes[4..].to_vec() };
    assert_eq!(entries[0].content, Content::Range { devices, end });
    assert_eq!((entries.len(), entries[0].bytes.as_slice()), (1, &bytes[..4]));
    assert_eq!(entries[0].devids(), Some(Devid(8)..=Devid(0xfffe)));

    let alias = decoded(&[0x43, 0, 0xff, 0, 0, 0xa5, 0, 0, 0x04, 0xff, 0xff, 0]);
    let Content::Range { devices, end } = &alias[0].content else { panic!("{alias:?}") };
    assert_eq!((devices.source, end.offset), (Some(Devid(0xa5)), 0x50));
    let extended = decoded(&[0x47, 0, 1, 0, 1, 0, 0, 0, 0x04, 0xff, 1, 0]);
    let Content::Range { devices, .. } = &extended[0].content else { panic!("{extended:?}") };
    assert_eq!((devices.extended, devices.ats_disabled()), (Some(1), false));
}

#[test]
fn half_a_range_is_told_as_such() {
    // A start, another start, a device between start and end, an end, an end too many, a start.
    let entries = decoded(&[
        0x03, 1, 0, 0, 0x03, 2, 0, 0, 0x02, 9, 0, 0, 0x04, 5, 0, 0, 0x04, 7, 0, 0, 0x03, 8, 0, 0,
    ]);
    let contents: Vec<_> = entries.into_iter().map(|entry| entry.content).collect();
    let end = RangeEnd { offset: 0x54, bytes: vec![0x04, 5, 0, 0] };
    assert_eq!(
        contents,
        [
            Content::StartWithoutEnd(devices(1, 1)),
            Content::Range { devices: devices(2, 5), end },
            Content::Device(devices(9, 9)),
            Content::EndWithoutStart { last: Devid(7) },
            Content::StartWithoutEnd(devices(8, 8)),
        ]
    );
}

#[test]
fn unique_ids_come_in_all_forms_of_real_tables() {
    let cases: [(u8, &[u8], Uid); 9] = [
        (0, &[], Uid::None),
        (0, &[1, 2], Uid::None),
        (1, &[1, 0], Uid::Integer { value: 1, length: 2 }),
        (1, &[1, 2, 3, 4, 5, 6, 7, 8], Uid::Integer { value: 0x0807_0605_0403_0201, length: 8 }),
        (1, &[], Uid::Unknown { format: 1 }),
        (1, &[0; 9], Uid::Unknown { format: 1 }),
        (2, b"\\_SB.FUR0", Uid::Text("\\_SB.FUR0".to_owned())),
        (2, b"a\x1b[2J\0\0", Uid::Text("a\\u{1b}[2J".to_owned())),
        (7, b"x", Uid::Unknown { format: 7 }),
    ];
    for (format, uid, expected) in cases {
        let Content::Acpi(device) = one(&hid(format, uid)) else { panic!("{uid:?}") };
        assert_eq!(device.uid, expected);
        assert_eq!((device.hid.as_str(), device.cid.as_str()), ("MSFT0201", ""));
        assert_eq!((device.devid, device.settings), (Devid(0x60), Settings(0x40)));
    }
    // What follows an odd length is still found.
    let mut two = hid(2, b"ID0");
    two.extend([0x02, 8, 0, 0]);
    assert_eq!(decoded(&two)[1].content, Content::Device(devices(8, 8)));
}

#[test]
fn settings_are_named() {
    let names = |settings: u8| Settings(settings).names().collect::<Vec<_>>().join(" ");
    assert_eq!(names(0xd7), "INIT EINT NMI LINT0 LINT1");
    assert_eq!((names(0x38).as_str(), Settings(0x38).sys_mgt()), ("", 3));
    assert_eq!((names(0x40).as_str(), Settings(0xd7).sys_mgt()), ("LINT0", 1));
}

/// The entry as the builder takes it.
fn spec(entry: &Entry) -> DeviceEntry {
    let pair = |devices: &Devices| {
        let Devices { first, last, source, settings, extended } = devices.clone();
        let settings = settings.0;
        match (first == last, source, extended, entry.kind) {
            (_, _, _, SELECT) => DeviceEntry::Select { devid: first, settings },
            (_, Some(source), _, ALIAS) => DeviceEntry::Alias { devid: first, source, settings },
            (_, _, Some(extended), EXT_SELECT) => {
                DeviceEntry::ExtSelect { devid: first, settings, extended }
            }
            (_, Some(source), _, _) => DeviceEntry::AliasRange { first, last, source, settings },
            (_, _, Some(extended), _) => DeviceEntry::ExtRange { first, last, settings, extended },
            _ => DeviceEntry::Range { first, last, settings },
        }
    };
    let padded = |text: &str| {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    match &entry.content {
        Content::Device(devices) | Content::Range { devices, .. } => pair(devices),
        Content::All(settings) => DeviceEntry::All { settings: settings.0 },
        Content::Special { handle, devid, kind, settings } => DeviceEntry::Special {
            handle: *handle,
            devid: *devid,
            kind: *kind,
            settings: settings.0,
        },
        Content::Acpi(device) => DeviceEntry::AcpiHid {
            devid: device.devid,
            settings: device.settings.0,
            hid: padded(&device.hid),
            cid: padded(&device.cid),
            uid: match &device.uid {
                Uid::Integer { value, length: 8 } => AcpiUid::Integer(*value),
                Uid::Text(text) => AcpiUid::Text(text.clone()),
                Uid::None => AcpiUid::None,
                other => panic!("the builder writes no {other:?}"),
            },
        },
        _ => DeviceEntry::Raw(entry.bytes.clone()),
    }
}

fn any_entry() -> impl Strategy<Value = DeviceEntry> {
    let id = "[A-Z]{3,4}[0-9A-F]{4}";
    let uid = prop_oneof![
        Just(AcpiUid::None),
        any::<u64>().prop_map(AcpiUid::Integer),
        "[\\\\_.A-Z0-9]{0,40}".prop_map(AcpiUid::Text),
    ];
    let name = |text: String| {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    let devid = || any::<u16>().prop_map(Devid);
    prop_oneof![
        any::<u8>().prop_map(|settings| DeviceEntry::All { settings }),
        (devid(), any::<u8>())
            .prop_map(|(devid, settings)| DeviceEntry::Select { devid, settings }),
        (devid(), devid(), any::<u8>()).prop_map(|(first, last, settings)| DeviceEntry::Range {
            first,
            last,
            settings
        }),
        (devid(), devid(), any::<u8>()).prop_map(|(devid, source, settings)| DeviceEntry::Alias {
            devid,
            source,
            settings
        }),
        (devid(), devid(), devid(), any::<u8>()).prop_map(|(first, last, source, settings)| {
            DeviceEntry::AliasRange { first, last, source, settings }
        }),
        (devid(), any::<u8>(), any::<u32>()).prop_map(|(devid, settings, extended)| {
            DeviceEntry::ExtSelect { devid, settings, extended }
        }),
        (devid(), devid(), any::<u8>(), any::<u32>()).prop_map(
            |(first, last, settings, extended)| {
                DeviceEntry::ExtRange { first, last, settings, extended }
            }
        ),
        (any::<u8>(), devid(), 0_u8..5, any::<u8>()).prop_map(|(handle, devid, kind, settings)| {
            let kind = match kind {
                1 => SpecialKind::IoApic,
                2 => SpecialKind::Hpet,
                other => SpecialKind::Other(other),
            };
            DeviceEntry::Special { handle, devid, kind, settings }
        }),
        (devid(), any::<u8>(), id, prop_oneof![Just(String::new()), id], uid).prop_map(
            move |(devid, settings, hid, cid, uid)| DeviceEntry::AcpiHid {
                devid,
                settings,
                hid: name(hid),
                cid: name(cid),
                uid
            }
        ),
        Just(DeviceEntry::Raw(vec![0; 4])),
        any::<[u8; 3]>().prop_map(|[a, b, c]| DeviceEntry::Raw(vec![0x05, a, b, c])),
        any::<[u8; 7]>()
            .prop_map(|[a, b, c, d, e, f, g]| DeviceEntry::Raw(vec![0x7f, a, b, c, d, e, f, g])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_encoded_is_decoded(entries in prop::collection::vec(any_entry(), 0..12)) {
        let mut bytes = Vec::new();
        for entry in &entries {
            entry.encode(&mut bytes).unwrap();
        }
        let decoded = decoded(&bytes);
        prop_assert_eq!(decoded.iter().map(spec).collect::<Vec<_>>(), entries);
        // Nothing is lost and everything is where it says.
        let places = decoded.iter().flat_map(|entry| {
            let end = match &entry.content {
                Content::Range { end, .. } => Some((end.offset, &end.bytes)),
                _ => None,
            };
            [Some((entry.offset, &entry.bytes)), end]
        });
        let mut next = 0x48;
        for (offset, part) in places.flatten() {
            prop_assert_eq!(offset, next);
            prop_assert_eq!(part.as_slice(), &bytes[offset - 0x48..][..part.len()]);
            next += part.len();
        }
        prop_assert_eq!(next - 0x48, bytes.len());
    }

    #[test]
    fn any_bytes_are_entries(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let entries = decoded(&bytes);
        prop_assert!(entries.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    }
}
