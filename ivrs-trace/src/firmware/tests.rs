//! Tables in, the kernel's regions out: what was seen in virtual machines, what must hold for any
//! table, and real tables where a folder of them is at hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proptest::prelude::*;

use super::{
    acpi::{TableError, Truncation},
    amd::{
        builder::{BuildError, IvhdSpec, IvmdSpec, IvrsBuilder, ParseIvmdSpecError},
        device_entry::{AcpiUid, Content, DeviceEntry, SpecialKind, Uid},
        findings,
        ivrs::{IvhdKind, IvmdFlags, IvmdKind, Ivrs},
        kernel::{Fatal, KernelView, UnityEntry, is_effective},
    },
};
use crate::pci::{Bdf, Devid, Segment};

/// One IOMMU that serves buses 0x00 to 0x22, as the virtual machines have.
fn machine() -> IvrsBuilder {
    IvrsBuilder::new().ivhd(IvhdSpec {
        entries: vec![DeviceEntry::Range { first: Devid(0), last: Devid(0x22ff), settings: 0 }],
        ..IvhdSpec::default()
    })
}

fn ivmd(text: &str) -> IvmdSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn parse(builder: &IvrsBuilder) -> Ivrs {
    Ivrs::parse(&builder.build().unwrap()).unwrap()
}

fn view(builder: &IvrsBuilder) -> KernelView {
    KernelView::new(&parse(builder))
}

/// The regions of a device as `reserved_regions` shows them: start and inclusive end.
fn regions(view: &KernelView, bdf: &str) -> Vec<(u64, u64)> {
    let bdf = bdf.parse().unwrap();
    view.regions_of(bdf).map(|entry| (entry.start, entry.end_inclusive())).collect()
}

#[test]
fn what_virtual_machines_showed() {
    struct Row {
        ivmd: &'static str,
        hit: &'static [&'static str],
        free: &'static [&'static str],
        region: (u64, u64),
    }
    let usual = (0x7ffe_0000, 0x7fff_ffff);
    let rows = [
        Row {
            ivmd: "type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7ffe0000,length=0x20000",
            hit: &["00:00.0", "00:03.0", "0f:1f.7"],
            free: &["10:00.0", "21:00.0", "0001:00:03.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7ffe0000,length=0x20000",
            hit: &["00:00.0", "00:03.0", "0f:1f.7"],
            free: &["10:00.0", "21:00.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x22,flags=0x06,devid=0,aux=0x0fff,start=0x7ffe0000,length=0x20000",
            hit: &[],
            free: &["00:00.0", "00:03.0", "0f:1f.7", "21:00.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x20,flags=0x07,devid=0,aux=0,start=0x7ffe0000,length=0x20000",
            hit: &["00:00.0", "21:00.0", "22:1f.7"],
            free: &["23:00.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x21,flags=0x07,devid=0x0039,aux=0,start=0x7ffe0000,length=0x20000",
            hit: &["00:07.1"],
            free: &["00:07.0", "00:07.2"],
            region: usual,
        },
        Row {
            ivmd: "type=0x21,flags=0x07,devid=0x0310,aux=0,start=0x7ffe0000,length=0x20000",
            hit: &["03:02.0"],
            free: &["02:00.0", "03:01.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x22,flags=0x07,devid=0x0200,aux=0x03ff,start=0x7ffe0000,length=0x20000",
            hit: &["02:00.0", "03:01.0", "03:02.0"],
            free: &["01:00.0", "04:00.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x21,flags=0x07,devid=0x0300,aux=0,start=0x7ffe0000,length=0x20000",
            hit: &["03:00.0"],
            free: &["02:00.0", "03:01.0", "03:02.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7ffe0800,length=0x800",
            hit: &["00:03.0"],
            free: &[],
            region: (0x7ffe_1000, 0x7ffe_1fff),
        },
        Row {
            ivmd: "type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7ffe0000,length=0",
            hit: &["00:03.0"],
            free: &[],
            region: (0x7ffe_0000, 0x7ffd_ffff),
        },
        Row {
            ivmd: "type=0x22,flags=0x07,devid=0x0fff,aux=0,start=0x7ffe0000,length=0x20000",
            hit: &[],
            free: &["00:00.0", "00:03.0", "0f:1f.7"],
            region: usual,
        },
        Row {
            ivmd: "type=0x22,flags=0x0f,devid=0,aux=0x0fff,start=0x7ffe0000,length=0x20000",
            hit: &["00:03.0"],
            free: &["21:00.0"],
            region: usual,
        },
        Row {
            ivmd: "type=0x22,flags=0x03,devid=0,aux=0x0fff,start=0x7ffe0000,length=0x20000",
            hit: &["00:03.0"],
            free: &["21:00.0"],
            region: usual,
        },
    ];
    for row in rows {
        let view = view(&machine().ivmd(ivmd(row.ivmd)));
        assert_eq!(view.fatal, [], "{}", row.ivmd);
        assert_eq!(view.reads_beyond, None, "{}", row.ivmd);
        for bdf in row.hit {
            assert_eq!(regions(&view, bdf), [row.region], "{bdf} with {}", row.ivmd);
        }
        for bdf in row.free {
            assert_eq!(regions(&view, bdf), [], "{bdf} with {}", row.ivmd);
        }
        assert!(!view.entries.iter().any(UnityEntry::fails_iommu), "{}", row.ivmd);
    }
}

#[test]
fn access_is_as_flagged_and_read_write_for_an_exclusion() {
    for (flags, read, write, fails) in [
        (0x07, true, true, false),
        (0x03, true, false, false),
        (0x05, false, true, false),
        (0x08, true, true, false),
        (0x09, true, true, false),
        (0x0f, true, true, false),
        (0x01, false, false, true),
        (0xf1, false, false, true),
    ] {
        let spec = IvmdSpec {
            flags: IvmdFlags(flags),
            ..ivmd("type=0x21,flags=0,devid=8,aux=0,start=0x1000,length=0x1000")
        };
        let view = view(&machine().ivmd(spec));
        let entry = view.entry_of(0).unwrap();
        assert_eq!((entry.prot.read(), entry.prot.write()), (read, write), "flags {flags:#04x}");
        assert_eq!(entry.fails_iommu(), fails, "flags {flags:#04x}");
    }
    let empty = ivmd("type=0x21,flags=1,devid=8,aux=0,start=0x1000,length=0");
    assert!(!view(&machine().ivmd(empty)).entries[0].fails_iommu(), "nothing to map");
}

#[test]
fn indices_count_all_ivmds_and_ordinals_only_the_effective_ones_of_a_segment() {
    let block = |flags: u8, segment: u16| IvmdSpec {
        flags: IvmdFlags(flags),
        segment: Segment(segment),
        ..ivmd("type=0x22,flags=0,devid=0,aux=0xffff,start=0x1000,length=0x1000")
    };
    let reserved = vec![0x51, 0x07, 8, 0, 0, 0, 0, 0];
    let view = view(
        &machine()
            .ivmd(block(7, 0))
            .raw(reserved)
            .ivmd(block(6, 0))
            .ivmd(block(7, 1))
            .ivmd(block(8, 0)),
    );
    let order: Vec<_> =
        view.entries.iter().map(|e| (e.ivmd_index, e.segment.0, e.ordinal)).collect();
    assert_eq!(order, [(0, 0, 0), (2, 1, 0), (3, 0, 1)]);
    assert!(view.entry_of(1).is_none());
}

#[test]
fn an_alias_is_the_last_that_a_block_in_use_gives() {
    let alias = |devid, source| DeviceEntry::Alias {
        devid: Devid(devid),
        source: Devid(source),
        settings: 0,
    };
    let range = |first, last, source| DeviceEntry::AliasRange {
        first: Devid(first),
        last: Devid(last),
        source: Devid(source),
        settings: 0,
    };
    let ivhd = |kind, entries| IvhdSpec { kind, entries, ..IvhdSpec::default() };
    let view = view(
        &IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type11, vec![alias(0x0400, 0x0099)])).ivhd(ivhd(
            IvhdKind::Type40,
            vec![range(0x0300, 0x03ff, 0x0300), alias(0x0310, 0x00a4), range(9, 8, 1)],
        )),
    );
    let of = |bdf: &str| view.alias_of(bdf.parse().unwrap()).map(|devid| devid.to_string());
    assert_eq!(of("03:01.0").as_deref(), Some("03:00.0"));
    assert_eq!(of("03:02.0").as_deref(), Some("00:14.4"), "a later entry overwrites");
    assert_eq!(of("03:00.0"), None, "its own address is no alias");
    assert_eq!(of("04:00.0"), None, "the block is ignored");
    assert_eq!(of("0001:03:01.0"), None, "another segment");
}

#[test]
fn an_all_entry_ends_at_the_last_devid_of_the_ivhds_in_use() {
    let all = ivmd("type=0x20,flags=7,devid=0,aux=0,start=0x1000,length=0x1000");
    let ivhd = |kind, entries| IvhdSpec { kind, entries, ..IvhdSpec::default() };
    let select = |devid| DeviceEntry::Select { devid: Devid(devid), settings: 0 };
    let end = |builder: IvrsBuilder| view(&builder.ivmd(all)).entries[0].devid_end.0;

    // Of 0x10, 0x11 and 0x40 for one IOMMU only 0x40 counts.
    let stacked = IvrsBuilder::new()
        .ivhd(ivhd(IvhdKind::Type10, vec![select(0x3000)]))
        .ivhd(ivhd(IvhdKind::Type11, vec![select(0x2000)]))
        .ivhd(ivhd(IvhdKind::Type40, vec![select(0x1000)]));
    assert_eq!(view(&stacked).target_ivhd_type, Some(0x40));
    assert_eq!(end(stacked), 0x1000);

    // Everything that does not count has a higher devid than what does.
    let every = vec![
        DeviceEntry::ExtSelect { devid: Devid(0x0100), settings: 0, extended: 0 },
        DeviceEntry::Alias { devid: Devid(0x0108), source: Devid(0xff00), settings: 0 },
        DeviceEntry::Special {
            handle: 1,
            devid: Devid(0xff00),
            kind: SpecialKind::IoApic,
            settings: 0,
        },
        DeviceEntry::AcpiHid {
            devid: Devid(0xff00),
            settings: 0,
            hid: *b"MSFT0201",
            cid: [0; 8],
            uid: AcpiUid::Text("\\_SB.X".to_owned()),
        },
        DeviceEntry::Raw(vec![0x03, 0, 0xff, 0]),
        DeviceEntry::Raw(vec![0x43, 0, 0xff, 0, 0, 0, 0, 0]),
        DeviceEntry::Raw(vec![0x47, 0, 0xff, 0, 0, 0, 0, 0]),
    ];
    assert_eq!(end(IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type40, every))), 0x0108);

    let everything = vec![DeviceEntry::All { settings: 0 }];
    assert_eq!(end(IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type10, everything))), 0xffff);

    // A segment that no IVHD serves ends at 0.
    let elsewhere = IvmdSpec { segment: Segment(7), ..all };
    assert_eq!(view(&machine().ivmd(elsewhere)).entries[0].devid_end.0, 0);
}

#[test]
fn arithmetic_wraps_as_in_the_kernel() {
    let wrapped = |text| {
        let entry = view(&machine().ivmd(ivmd(text))).entries[0];
        (entry.start, entry.end_exclusive, entry.length())
    };
    let top = "type=0x21,flags=7,devid=8,aux=0,start=0xfffffffffffff001,length=0x1000";
    assert_eq!(wrapped(top), (0, 0x1000, 0x1000));
    let long = "type=0x21,flags=7,devid=8,aux=0,start=0x1000,length=0xffffffffffffffff";
    assert_eq!(wrapped(long), (0x1000, 0x1000, 0));
    let over = "type=0x21,flags=7,devid=8,aux=0,start=0xfffffffffffff000,length=0x2000";
    assert_eq!(wrapped(over), (0xffff_ffff_ffff_f000, 0x1000, 0x2000));
}

#[test]
fn a_table_that_the_kernel_gives_up_on_has_no_regions() {
    let entry = ivmd("type=0x20,flags=7,devid=0,aux=0,start=0x1000,length=0x1000");
    let good = machine().ivmd(entry);
    assert_eq!(regions(&view(&good), "00:03.0").len(), 1);

    let right = parse(&good).header.checksum;
    let bad = good.clone().checksum(right.wrapping_add(1));
    assert!(!parse(&bad).header.checksum_ok);
    assert_eq!(view(&bad).fatal, [Fatal::BadChecksum]);
    assert_eq!(regions(&view(&bad), "00:03.0"), []);
    assert!(!view(&bad).uses(&parse(&bad).ivhd[0]));

    let looping = good.clone().last_block_length(0);
    let offset = parse(&good).ivmd[0].offset;
    assert_eq!(parse(&looping).truncation, Some(Truncation::ZeroLength { offset, kind: 0x20 }));
    assert_eq!(view(&looping).fatal, [Fatal::ZeroLengthBlock { offset, kind: 0x20 }]);
    assert_eq!(regions(&view(&looping), "00:03.0"), []);

    assert_eq!(view(&IvrsBuilder::new()).fatal, [Fatal::NoIvhd]);
    let no_entries = IvrsBuilder::new().ivhd(IvhdSpec::default());
    assert_eq!(view(&no_entries).fatal, [Fatal::NoDevices { offset: 48 }]);
    let stuck = IvrsBuilder::new().ivhd(IvhdSpec {
        entries: vec![DeviceEntry::Raw(vec![0x80, 0, 0, 0])],
        ..IvhdSpec::default()
    });
    assert_eq!(view(&stuck).fatal, [Fatal::ZeroLengthEntry { offset: 72, kind: 0x80 }]);

    // An IVMD with the IOMMU's own devid passes for the IVHD type.
    let taken = ivmd("type=0x21,flags=7,devid=0x0002,aux=0,start=0x1000,length=0x1000");
    assert_eq!(view(&machine().ivmd(taken)).fatal, [Fatal::UnsupportedIvhdType { kind: 0x21 }]);
    // Not behind a reserved block of a high type, where the kernel's search ends.
    let hidden = machine().raw(vec![0x51, 0, 4, 0]).ivmd(taken);
    assert_eq!(view(&hidden).fatal, []);
}

#[test]
fn what_precedes_a_malformed_block_is_kept() {
    let good = ivmd("type=0x21,flags=7,devid=8,aux=0,start=0x1000,length=0x1000");
    let base = machine().ivmd(good);
    let after = base.build().unwrap().len();

    // The kernel does not check the end: the block counts, and so does that it runs over.
    let over = parse(&base.clone().ivmd(good).last_block_length(40));
    assert_eq!(over.ivmd.len(), 2);
    let beyond = Truncation::BeyondEnd { offset: after, kind: 0x21, length: 40, available: 32 };
    assert_eq!(over.truncation, Some(beyond));
    assert_eq!(KernelView::new(&over).reads_beyond, Some(beyond));
    assert_eq!(KernelView::new(&over).entries.len(), 2);

    let cut = parse(&base.clone().raw(vec![0x21, 7, 32, 0, 8, 0]));
    assert_eq!(cut.ivmd.len(), 1);
    assert_eq!(
        cut.truncation,
        Some(Truncation::FieldsBeyondEnd { offset: after, kind: 0x21, needed: 32, available: 6 })
    );

    let stub = parse(&base.clone().raw(vec![0x21, 7, 32]));
    assert_eq!(stub.truncation, Some(Truncation::HeaderCut { offset: after, available: 3 }));
    assert_eq!(stub.truncation.unwrap().offset(), after);

    // A short block is read in full and the next one starts inside it, as the kernel has it.
    let short = parse(&base.ivmd(good).last_block_length(16).ivmd(good));
    assert_eq!(short.ivmd[1].offset + 16, short.blocks[3].offset);
    assert_eq!(short.ivmd[1].length, 0x1000);
}

#[test]
fn what_is_not_a_table_is_refused_with_the_reason() {
    let table = machine().build().unwrap();
    assert_eq!(
        Ivrs::parse(&[]),
        Err(TableError::TooShort { signature: *b"IVRS", length: 0, needed: 48 })
    );
    assert_eq!(
        Ivrs::parse(&table[..47]),
        Err(TableError::TooShort { signature: *b"IVRS", length: 47, needed: 48 })
    );
    assert_eq!(
        Ivrs::parse(&table[..table.len() - 1]),
        Err(TableError::LengthBeyondData { length: 80, available: 79 })
    );
    let small = machine().table_length(47).build().unwrap();
    assert_eq!(Ivrs::parse(&small), Err(TableError::LengthTooSmall { length: 47, needed: 48 }));
    let mut other = table.clone();
    other[..4].copy_from_slice(b"\x1b[2J");
    let error = Ivrs::parse(&other).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"not an IVRS table: it starts with "\x1b[2J", not with "IVRS""#
    );
    let mut padded = table.clone();
    padded.extend([0xff; 10]);
    let padded = Ivrs::parse(&padded).unwrap();
    assert_eq!((padded.trailing, padded.bytes()), (10, table.as_slice()));
    assert!(padded.header.checksum_ok);
}

#[test]
fn an_ivmd_is_read_from_text_in_any_order() {
    let spec = ivmd("length=4096,segment=0x1,start=0x7ffe0000,aux=4095,devid=0x8,flags=8,type=34");
    assert_eq!(
        spec,
        IvmdSpec {
            kind: IvmdKind::Range,
            flags: IvmdFlags(8),
            devid: Devid(8),
            aux: 0xfff,
            segment: Segment(1),
            start: 0x7ffe_0000,
            length: 4096,
        }
    );
}

#[test]
fn an_ivmd_text_needs_no_field_that_its_type_does_not_use() {
    let rest = "flags=7,start=0x1000,length=0x1000";
    assert_eq!(ivmd(&format!("type=0x21,devid=0x8,{rest}")).aux, 0);
    assert_eq!(ivmd(&format!("type=0x20,{rest}")).devid, Devid(0));
    let error: ParseIvmdSpecError = format!("type=0x21,{rest}").parse::<IvmdSpec>().unwrap_err();
    assert_eq!(error.to_string(), "devid is missing");
}

#[test]
fn a_wrong_ivmd_text_says_what_is_wrong() {
    let good = "type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7ffe0000,length=0x20000";
    for (text, message) in [
        (String::new(), r#""" is not KEY=NUMBER"#),
        (format!("{good},"), r#""" is not KEY=NUMBER"#),
        (format!("{good},type=0x20"), "type is given twice"),
        (
            format!("{good},colour=1"),
            "unknown key \"colour\": the keys are type, flags, devid, aux, start, length, segment",
        ),
        (good.replace(",aux=0x0fff", ""), "aux is missing"),
        (
            good.replace("flags=0x07", "flags=0x107"),
            "flags=\"0x107\" is not a number of at most 8 bits (hex with 0x, or decimal)",
        ),
        (
            good.replace("devid=0", "devid=-1"),
            "devid=\"-1\" is not a number of at most 16 bits (hex with 0x, or decimal)",
        ),
        (
            good.replace("devid=0", "devid=0x+1"),
            "devid=\"0x+1\" is not a number of at most 16 bits (hex with 0x, or decimal)",
        ),
        (
            good.replace("0x22", "0x23"),
            "type=0x23 is not an IVMD type: they are 0x20 (all), 0x21 (one device), 0x22 (range)",
        ),
    ] {
        let error: ParseIvmdSpecError = text.parse::<IvmdSpec>().unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn a_table_that_cannot_be_written_down_is_not_built() {
    let ivhd =
        |entry| IvrsBuilder::new().ivhd(IvhdSpec { entries: vec![entry], ..IvhdSpec::default() });
    assert_eq!(
        ivhd(DeviceEntry::Raw(vec![0; 65_536])).build(),
        Err(BuildError::BlockTooLong { block: 0, length: 65_560 })
    );
    let uid = DeviceEntry::AcpiHid {
        devid: Devid(0),
        settings: 0,
        hid: *b"AMDI0020",
        cid: [0; 8],
        uid: AcpiUid::Text("x".repeat(256)),
    };
    let error = ivhd(uid).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "block 0: an ACPI unique id of 256 bytes does not fit: an entry holds at most 255"
    );
}

#[test]
fn entries_can_be_put_behind_the_ivhds_of_another_table() {
    let own = machine().ivinfo(0x0020_3043).raw(vec![0x51, 0, 4, 0]).oem_revision(7);
    let own = parse(&own.ivmd(ivmd("type=0x20,flags=7,devid=0,aux=0,start=0,length=0")));
    let spec = ivmd("type=0x22,flags=8,devid=0,aux=0xfff,start=0x1000,length=0x1000");
    let made = parse(
        &IvrsBuilder::like(&own)
            .oem_revision(own.header.oem_revision + 1)
            .ivhd_blocks_of(&own)
            .ivmd(spec),
    );
    assert_eq!(made.ivhd, own.ivhd);
    assert_eq!(made.ivmd.iter().map(IvmdSpec::from).collect::<Vec<_>>(), [spec]);
    assert_eq!(made.unknown, []);
    assert_eq!(made.ivinfo, own.ivinfo);
    assert_eq!((made.header.oem_revision, made.header.oem_id), (8, own.header.oem_id));
    assert!(made.header.checksum_ok);
}

// What must hold for any table.

fn any_devid() -> impl Strategy<Value = Devid> {
    // Few values, so that ranges meet devices.
    prop_oneof![(0_u16..16).prop_map(Devid), any::<u16>().prop_map(Devid)]
}

fn any_entry() -> impl Strategy<Value = DeviceEntry> {
    let settings = any::<u8>();
    prop_oneof![
        settings.prop_map(|settings| DeviceEntry::All { settings }),
        (any_devid(), settings)
            .prop_map(|(devid, settings)| DeviceEntry::Select { devid, settings }),
        (any_devid(), any_devid(), settings)
            .prop_map(|(first, last, settings)| DeviceEntry::Range { first, last, settings }),
        (any_devid(), any_devid(), settings)
            .prop_map(|(devid, source, settings)| DeviceEntry::Alias { devid, source, settings }),
        (any_devid(), any_devid(), any_devid(), settings).prop_map(
            |(first, last, source, settings)| DeviceEntry::AliasRange {
                first,
                last,
                source,
                settings
            }
        ),
        (any_devid(), settings, any::<u32>()).prop_map(|(devid, settings, extended)| {
            DeviceEntry::ExtSelect { devid, settings, extended }
        }),
        (any_devid(), any_devid(), settings, any::<u32>()).prop_map(
            |(first, last, settings, extended)| DeviceEntry::ExtRange {
                first,
                last,
                settings,
                extended
            }
        ),
        (any::<u8>(), any_devid(), any::<bool>(), settings).prop_map(
            |(handle, devid, hpet, settings)| DeviceEntry::Special {
                handle,
                devid,
                kind: if hpet { SpecialKind::Hpet } else { SpecialKind::IoApic },
                settings,
            }
        ),
        (any_devid(), settings, any::<u64>()).prop_map(|(devid, settings, uid)| {
            DeviceEntry::AcpiHid {
                devid,
                settings,
                hid: *b"AMDI0020",
                cid: [0; 8],
                uid: AcpiUid::Integer(uid),
            }
        }),
    ]
}

fn any_ivhd() -> impl Strategy<Value = IvhdSpec> {
    (
        prop_oneof![Just(IvhdKind::Type10), Just(IvhdKind::Type11), Just(IvhdKind::Type40)],
        any::<(u8, u16, u64, u16, u32, u64, u64)>(),
        any_devid(),
        0_u16..3,
        prop::collection::vec(any_entry(), 0..6),
    )
        .prop_map(|(kind, numbers, devid, segment, entries)| {
            let (flags, cap_offset, mmio, info, feature_info, efr, efr2) = numbers;
            IvhdSpec {
                kind,
                flags,
                devid,
                cap_offset,
                mmio,
                segment: Segment(segment),
                info,
                feature_info,
                efr,
                efr2,
                entries,
            }
        })
}

fn any_ivmd() -> impl Strategy<Value = IvmdSpec> {
    (
        prop_oneof![Just(IvmdKind::All), Just(IvmdKind::Device), Just(IvmdKind::Range)],
        any::<u8>(),
        any_devid(),
        any_devid(),
        0_u16..3,
        any::<u64>(),
        prop_oneof![Just(0), 1_u64..0x10_0000, any::<u64>()],
    )
        .prop_map(|(kind, flags, devid, aux, segment, start, length)| IvmdSpec {
            kind,
            flags: IvmdFlags(flags),
            devid,
            aux: aux.0,
            segment: Segment(segment),
            start,
            length,
        })
}

#[derive(Clone, Debug)]
enum AnyBlock {
    Ivhd(IvhdSpec),
    Ivmd(IvmdSpec),
    Unknown(Vec<u8>),
}

fn any_block() -> impl Strategy<Value = AnyBlock> {
    prop_oneof![
        2 => any_ivhd().prop_map(AnyBlock::Ivhd),
        3 => any_ivmd().prop_map(AnyBlock::Ivmd),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|content| {
            let length = u8::try_from(content.len() + 4).unwrap();
            let mut bytes = vec![0x51, 0, length, 0];
            bytes.extend(content);
            AnyBlock::Unknown(bytes)
        }),
    ]
}

fn build(blocks: &[AnyBlock]) -> IvrsBuilder {
    blocks.iter().cloned().fold(IvrsBuilder::new(), |builder, block| match block {
        AnyBlock::Ivhd(spec) => builder.ivhd(spec),
        AnyBlock::Ivmd(spec) => builder.ivmd(spec),
        AnyBlock::Unknown(bytes) => builder.raw(bytes),
    })
}

/// The rules said a second time, over what went into the table and in wide arithmetic: (block
/// index, start, end) of the regions of `bdf`, where the kernel uses IVHDs of type `target`.
fn naive_regions(blocks: &[AnyBlock], target: IvhdKind, bdf: Bdf) -> Vec<(usize, u64, u64)> {
    let mut last = 0;
    for block in blocks {
        let AnyBlock::Ivhd(spec) = block else { continue };
        if spec.kind != target || spec.segment != bdf.segment {
            continue;
        }
        for entry in &spec.entries {
            last = last.max(match entry {
                DeviceEntry::All { .. } => 0xffff,
                DeviceEntry::Select { devid, .. }
                | DeviceEntry::Alias { devid, .. }
                | DeviceEntry::ExtSelect { devid, .. } => devid.0,
                DeviceEntry::Range { last, .. }
                | DeviceEntry::AliasRange { last, .. }
                | DeviceEntry::ExtRange { last, .. } => last.0,
                _ => 0,
            });
        }
    }
    let up = |value: u128| value.div_ceil(4096) * 4096;
    let low = |value: u128| u64::try_from(value % (1 << 64)).unwrap();
    let ivmds = blocks.iter().filter_map(|block| match block {
        AnyBlock::Ivmd(spec) => Some(spec),
        _ => None,
    });
    ivmds
        .enumerate()
        .filter(|(_, spec)| spec.flags.0 & 9 != 0 && spec.segment == bdf.segment)
        .filter(|(_, spec)| match spec.kind {
            IvmdKind::All => bdf.devid.0 <= last,
            IvmdKind::Device => bdf.devid == spec.devid,
            IvmdKind::Range => (spec.devid.0..=spec.aux).contains(&bdf.devid.0),
        })
        .map(|(index, spec)| {
            let start = up(spec.start.into());
            (index, low(start), low(start + up(spec.length.into())))
        })
        .collect()
}

/// Whatever was parsed, it hangs together and nothing that follows from it panics.
fn check_any(data: &[u8]) -> Result<(), TestCaseError> {
    let Ok(table) = Ivrs::parse(data) else { return Ok(()) };
    prop_assert!(table.blocks.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    prop_assert!(table.blocks.iter().all(|block| block.offset < table.bytes().len()));
    let kept = table.ivhd.len() + table.ivmd.len() + table.unknown.len();
    prop_assert!(kept == table.blocks.len() || table.truncation.is_some());
    prop_assert!(table.ivmd.iter().enumerate().all(|(number, ivmd)| ivmd.index == number));
    for ivhd in &table.ivhd {
        for entry in ivhd.raw_entries(&table) {
            prop_assert!(entry.offset < table.bytes().len());
        }
    }
    let view = KernelView::new(&table);
    prop_assert_eq!(
        view.entries.iter().map(|entry| entry.ivmd_index).collect::<Vec<_>>(),
        table.ivmd.iter().filter(|i| is_effective(i)).map(|i| i.index).collect::<Vec<_>>()
    );
    let mut ordinals = BTreeMap::new();
    for entry in &view.entries {
        let next = ordinals.entry(entry.segment).or_insert(0);
        prop_assert_eq!(entry.ordinal, *next);
        *next += 1;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_built_table_parses_to_what_went_in(blocks in prop::collection::vec(any_block(), 0..12)) {
        let bytes = build(&blocks).build().unwrap();
        let table = Ivrs::parse(&bytes).unwrap();
        prop_assert!(table.header.checksum_ok);
        prop_assert_eq!(table.truncation, None);
        prop_assert_eq!(table.bytes(), bytes.as_slice());
        prop_assert_eq!(table.blocks.len(), blocks.len());
        let (mut ivhds, mut ivmds) = (table.ivhd.iter(), table.ivmd.iter());
        let mut unknown = table.unknown.iter();
        for block in &blocks {
            match block {
                AnyBlock::Ivhd(spec) => {
                    let got = ivhds.next().unwrap();
                    prop_assert_eq!(got.kind, spec.kind);
                    prop_assert_eq!(
                        (got.flags, got.devid, got.cap_offset, got.mmio, got.segment),
                        (spec.flags, spec.devid, spec.cap_offset, spec.mmio, spec.segment)
                    );
                    prop_assert_eq!((got.info, got.feature_info), (spec.info, spec.feature_info));
                    let extended = spec.kind != IvhdKind::Type10;
                    prop_assert_eq!(got.efr, extended.then_some(spec.efr));
                    prop_assert_eq!(got.efr2, extended.then_some(spec.efr2));
                    let mut entries = Vec::new();
                    for entry in &spec.entries {
                        entry.encode(&mut entries).unwrap();
                    }
                    prop_assert_eq!(&got.bytes[got.kind.header_length()..], &entries);
                    let walked: Vec<u8> =
                        got.raw_entries(&table).flat_map(|e| e.bytes.to_vec()).collect();
                    prop_assert_eq!(walked, entries);
                }
                AnyBlock::Ivmd(spec) => {
                    let got = ivmds.next().unwrap();
                    prop_assert_eq!(IvmdSpec::from(got), *spec);
                    prop_assert_eq!(&got.bytes[..], &table.bytes()[got.offset..][..32]);
                }
                AnyBlock::Unknown(bytes) => {
                    prop_assert_eq!(&unknown.next().unwrap().bytes, bytes);
                }
            }
        }
    }

    #[test]
    fn regions_are_those_of_a_second_reading_of_the_rules(
        first in any_ivhd(),
        blocks in prop::collection::vec(any_block(), 1..12),
        devids in prop::collection::vec(any_devid(), 1..8),
    ) {
        // Without an IVHD that names devices first, most tables would be refused as a whole.
        let mut blocks = blocks;
        blocks.insert(0, AnyBlock::Ivhd(first));
        for block in &mut blocks {
            if let AnyBlock::Ivhd(spec) = block {
                spec.entries.push(DeviceEntry::Select { devid: Devid(3), settings: 0 });
            }
        }
        let view = view(&build(&blocks));
        let target = view.target_ivhd_type.and_then(IvhdKind::from_code);
        for (segment, devid) in (0..3).flat_map(|s| devids.iter().map(move |d| (s, *d))) {
            let bdf = Bdf::new(Segment(segment), devid);
            let got: Vec<_> = view
                .regions_of(bdf)
                .map(|entry| (entry.ivmd_index, entry.start, entry.end_exclusive))
                .collect();
            let expected = match target {
                Some(target) if view.initialises() => naive_regions(&blocks, target, bdf),
                _ => Vec::new(),
            };
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn any_bytes_are_an_answer_not_a_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        check_any(&data)?;
        let mut signed = b"IVRS".to_vec();
        signed.extend(u32::try_from(data.len() + 8).unwrap().to_le_bytes());
        signed.extend(data);
        check_any(&signed)?;
    }

    #[test]
    fn any_change_to_a_table_is_an_answer_not_a_panic(
        blocks in prop::collection::vec(any_block(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = build(&blocks).build().unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_any(&bytes)?;
    }

    #[test]
    fn any_text_for_an_ivmd_is_an_answer_not_a_panic(text in "[a-z0-9x=,+-]{0,80}") {
        let _ = text.parse::<IvmdSpec>();
    }
}

/// Where a folder of tables read from machines, with a manifest, is to be found.
const TABLES_DIR: &str = "IVRS_TABLES_DIR";

#[test]
fn real_tables_decode_to_what_their_manifest_says() {
    let Some(folder) = std::env::var_os(TABLES_DIR) else {
        eprintln!("skipped: {TABLES_DIR} does not name a folder of tables with a MANIFEST.tsv");
        return;
    };
    let folder = Path::new(&folder);
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut lines = manifest.lines();
    let columns: Vec<_> = lines.next().unwrap().split('\t').collect();
    let mut compared = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        let row: BTreeMap<_, _> = columns.iter().copied().zip(line.split('\t')).collect();
        let name = row["name"];
        let bytes = fs::read(folder.join(format!("{name}.bin"))).unwrap();
        let table = Ivrs::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(table.header.checksum_ok, "{name}");
        assert_eq!((table.trailing, table.truncation), (0, None), "{name}");
        assert_eq!(table.header.length.to_string(), row["length"], "{name}");
        let oem = [&table.header.oem_id[..], &table.header.oem_table_id[..]]
            .map(|id| String::from_utf8_lossy(id).trim_end_matches(['\0', ' ']).to_owned());
        assert_eq!(oem.join("/"), row["oem_id/table_id"], "{name}");
        assert_eq!(format!("{:08x}", table.ivinfo.0), row["ivinfo"], "{name}");
        let bit = u8::from(table.ivinfo.dma_remap()).to_string();
        assert_eq!(bit, row["ivinfo_dma_remap_bit"], "{name}");
        let join = |kinds: Vec<u8>| {
            kinds.iter().map(|kind| format!("{kind:02x}")).collect::<Vec<_>>().join("+")
        };
        let kinds = join(table.ivhd.iter().map(|ivhd| ivhd.kind.code()).collect());
        assert_eq!(kinds, row["ivhd_types"], "{name}");
        let reserved =
            join(table.unknown.iter().map(|block| block.kind.try_into().unwrap()).collect());
        assert_eq!(reserved, row["reserved_block_types"], "{name}");
        let ivmds: Vec<_> = table.ivmd.iter().map(manifest_ivmd).collect();
        let expected = row["ivmd(type flags devid[-aux] start+length)"];
        let expected = if expected == "-" { "" } else { expected };
        assert_eq!(ivmds.join("; "), expected, "{name}");

        let mut hids = BTreeSet::new();
        for entry in table.ivhd.iter().flat_map(|ivhd| ivhd.entries(&table)) {
            match entry.content {
                Content::Acpi(device) => {
                    assert!(!matches!(device.uid, Uid::Unknown { .. }), "{name}: {device:?}");
                    hids.insert(device.hid);
                }
                Content::Cut
                | Content::NoLength
                | Content::Reserved
                | Content::StartWithoutEnd(_)
                | Content::EndWithoutStart { .. } => panic!("{name}: {entry:?}"),
                _ => {}
            }
        }
        let hids = hids.into_iter().collect::<Vec<_>>().join(",");
        assert_eq!(if hids.is_empty() { "-" } else { &hids }, row["acpi_hids"], "{name}");

        let view = KernelView::new(&table);
        assert!(view.initialises(), "{name}: {:?}", view.fatal);
        let errors: Vec<_> = findings::of_table(&table, &view)
            .into_iter()
            .filter(|finding| finding.severity == crate::codes::Severity::Error)
            .collect();
        assert_eq!(errors, [], "{name}");
        let used = table.ivhd.iter().filter(|ivhd| view.uses(ivhd)).count();
        assert_eq!(used.to_string(), row["iommu_units"], "{name}");
        assert_eq!(view.entries.len(), table.ivmd.len(), "{name}: all of these are effective");
        compared += 1;
    }
    assert!(compared > 0, "no table in {}", folder.display());
    eprintln!("{compared} real tables compared");
}

fn manifest_ivmd(ivmd: &super::Ivmd) -> String {
    let devices = match ivmd.kind {
        IvmdKind::All => "all".to_owned(),
        IvmdKind::Device => ivmd.devid.to_string(),
        IvmdKind::Range => format!("{}-{}", ivmd.devid, Devid(ivmd.aux)),
    };
    let (kind, flags) = (ivmd.kind.code(), ivmd.flags.0);
    format!("{kind:02x} fl={flags:02x} {devices} {:#x}+{:#x}", ivmd.start, ivmd.length)
}
