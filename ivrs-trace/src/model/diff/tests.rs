//! Two tables or hosts in, differences out.

use proptest::prelude::*;

use super::*;
use crate::{
    firmware::amd::builder::IvrsBuilder,
    host::HexBytes,
    model::{
        Model, Verdict,
        fixture::{AM5, GROUPS, SINGLE, host, model, table},
        what_if::tests::any_ivmd,
    },
};

fn tables(before: &IvrsBuilder, after: &IvrsBuilder) -> Diff {
    let of = |table: &IvrsBuilder| model(&host("", table), &[]);
    compare(&of(before), &of(after), Scope::Table)
}

fn hosts(before: &Snapshot, after: &Snapshot) -> Diff {
    compare(&model(before, &[]), &model(after, &[]), Scope::Host)
}

/// What became of which block: kind, index before, index after.
fn kinds(changes: &[BlockChange]) -> Vec<(Kind, Option<usize>, Option<usize>)> {
    let index = |side: &Option<Block>| side.as_ref().map(|block| block.index);
    changes.iter().map(|one| (one.change, index(&one.before), index(&one.after))).collect()
}

fn names(fields: &[Field]) -> Vec<&str> {
    fields.iter().map(|field| field.name).collect()
}

/// The same differences, seen from the other side.
fn mirrored(diff: &Diff) -> Diff {
    let kind = |kind| match kind {
        Kind::Went => Kind::Came,
        Kind::Came => Kind::Went,
        other => other,
    };
    let fields = |fields: &[Field]| -> Vec<Field> {
        let turn = |field: &Field| Field {
            name: field.name,
            before: field.after.clone(),
            after: field.before.clone(),
        };
        fields.iter().map(turn).collect()
    };
    let blocks = |changes: &[BlockChange]| -> Vec<BlockChange> {
        let turn = |one: &BlockChange| BlockChange {
            change: kind(one.change),
            before: one.after.clone(),
            after: one.before.clone(),
            fields: fields(&one.fields),
        };
        changes.iter().map(turn).collect()
    };
    let groups = diff.groups.iter().map(|one| GroupChange {
        change: kind(one.change),
        before: one.after.clone(),
        after: one.before.clone(),
    });
    let devices = diff.devices.iter().map(|one| DeviceChange {
        bdf: one.bdf,
        change: kind(one.change),
        before: one.after.clone(),
        after: one.before.clone(),
    });
    sorted(Diff {
        compared: diff.compared,
        host: fields(&diff.host),
        table: fields(&diff.table),
        ivhd: blocks(&diff.ivhd),
        ivmd: blocks(&diff.ivmd),
        drhd: blocks(&diff.drhd),
        rmrr: blocks(&diff.rmrr),
        unknown: blocks(&diff.unknown),
        groups: groups.collect(),
        devices: devices.collect(),
        notices: diff.notices.clone(),
    })
}

/// Without the order that places in the second give.
fn sorted(mut diff: Diff) -> Diff {
    for changes in
        [&mut diff.ivhd, &mut diff.ivmd, &mut diff.rmrr, &mut diff.drhd, &mut diff.unknown]
    {
        for change in changes.iter_mut() {
            change.fields.sort();
        }
        changes.sort();
    }
    diff.groups.sort();
    diff
}

#[test]
fn structures_of_a_dmar_are_compared_as_blocks_of_an_ivrs() {
    use crate::firmware::intel::builder::{DmarBuilder, ScopeSpec};
    let scope = |devid| ScopeSpec::function(crate::pci::Devid(devid));
    let table = |rmrrs: &[(u64, u16)]| {
        let dmar = DmarBuilder::new().drhd(1, crate::pci::Segment(0), 0xfed9_0000, &[]);
        let dmar = rmrrs.iter().fold(dmar, |dmar, (page, devid)| {
            dmar.rmrr(crate::pci::Segment(0), *page, *page + 0xfff, &[scope(*devid)])
        });
        let dmar = Reading::Read(HexBytes(dmar.build().unwrap()));
        model(&Snapshot { dmar, ..Snapshot::default() }, &[])
    };
    let of = |before: &[(u64, u16)], after: &[(u64, u16)]| {
        let diff = compare(&table(before), &table(after), Scope::Table);
        assert_eq!((diff.ivmd.len(), diff.drhd.len(), diff.unknown.len()), (0, 0, 0));
        diff.rmrr.iter().map(|one| one.change).collect::<Vec<_>>()
    };
    let (usb, gpu) = ((0x1000_0000, 0x00a0), (0x2000_0000, 0x0100));
    assert_eq!(of(&[usb, gpu], &[usb, gpu]), []);
    assert_eq!(of(&[usb, gpu], &[gpu]), [Kind::Went, Kind::Moved]);
    assert_eq!(of(&[usb], &[usb, gpu]), [Kind::Came]);
    // The same memory for another device.
    let diff = compare(&table(&[usb]), &table(&[(usb.0, 0x00a1)]), Scope::Table);
    let names: Vec<&str> = diff.rmrr[0].fields.iter().map(|field| field.name).collect();
    assert_eq!((diff.rmrr[0].change, &names[..]), (Kind::Changed, &["device_entry"; 2][..]));
    let lost = compare(&table(&[usb]), &of_bytes(&[0; 40]), Scope::Table);
    assert!(lost.table.iter().any(|field| field.before.as_deref() == Some("readable")));
}

#[test]
fn ivmd_blocks_are_known_by_what_is_in_them() {
    use Kind::{Came, Changed, Moved, Went};
    let other_flags = "type=0x22,flags=0x07,devid=0,aux=0x0fff,start=0x7a2d9000,length=0x1000";
    let elsewhere = "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7a000000,length=0x1000";
    for (before, after, expected) in [
        (vec![AM5[0]], vec![AM5[0]], vec![]),
        (vec![AM5[0]], vec![], vec![(Went, Some(0), None)]),
        (vec![], vec![AM5[0]], vec![(Came, None, Some(0))]),
        (
            AM5.to_vec(),
            AM5[1..].to_vec(),
            vec![(Went, Some(0), None), (Moved, Some(1), Some(0)), (Moved, Some(2), Some(1))],
        ),
        (
            vec![AM5[0], AM5[1]],
            vec![AM5[1], AM5[0]],
            vec![(Moved, Some(1), Some(0)), (Moved, Some(0), Some(1))],
        ),
        // By its memory, then by its devices.
        (vec![AM5[0]], vec![other_flags], vec![(Changed, Some(0), Some(0))]),
        (vec![AM5[0]], vec![elsewhere], vec![(Changed, Some(0), Some(0))]),
        (vec![AM5[0]], vec![SINGLE], vec![(Changed, Some(0), Some(0))]),
        (vec![AM5[1]], vec![SINGLE], vec![(Went, Some(0), None), (Came, None, Some(0))]),
        // Two alike: one of them went.
        (vec![AM5[0], AM5[0]], vec![AM5[0]], vec![(Went, Some(1), None)]),
    ] {
        let diff = tables(&table(&before), &table(&after));
        let mut found = kinds(&diff.ivmd);
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{before:?} {after:?}");
    }
    let diff = tables(&table(&[AM5[0]]), &table(&[other_flags]));
    let only = |name, before: &str, after: &str| Field {
        name,
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
    };
    assert_eq!(diff.ivmd[0].fields, [only("flags", "0x08", "0x07")]);
    assert_eq!(names(&diff.table), ["checksum"]);
}

#[test]
fn a_header_differs_field_by_field() {
    let base = table(&[]);
    for (other, expected) in [
        (base.clone().oem_revision(2), &["oem_revision", "checksum"][..]),
        (base.clone().ivinfo(2), &["checksum", "ivinfo"]),
        (base.clone().oem_id(*b"OTHER "), &["oem_id", "checksum"]),
        (base.clone().checksum(0), &["checksum", "checksum_ok", "fatal"]),
        (base.clone().revision(1), &["checksum", "revision"]),
    ] {
        let diff = tables(&base, &other);
        let mut found = names(&diff.table);
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn device_entries_of_an_ivhd_differ_one_by_one() {
    use crate::firmware::amd::{builder::IvhdSpec, device_entry::DeviceEntry};
    let select = |devid| DeviceEntry::Select { devid: crate::pci::Devid(devid), settings: 0 };
    let of = |entries| IvrsBuilder::new().ivhd(IvhdSpec { entries, ..IvhdSpec::default() });
    let two = of(vec![select(8), select(16)]);
    let fields = |after| tables(&two, &after).ivhd.remove(0).fields;
    let found = fields(of(vec![select(8), select(24)]));
    let told: Vec<_> = found.iter().map(|one| (&one.before, &one.after)).collect();
    let hex = |text: &str| Some(text.to_owned());
    assert_eq!(told, [(&hex("02 10 00 00"), &None), (&None, &hex("02 18 00 00"))]);
    let found = fields(of(vec![select(16), select(8)]));
    assert_eq!(names(&found), ["device_entries"]);
    let found = fields(of(vec![select(8)]));
    assert_eq!(names(&found), ["block_length", "device_entry"]);
}

#[test]
fn a_bios_update_shows_whole() {
    let mut before = host(GROUPS, &table(&AM5));
    before.dmi.bios_version = Reading::Read("1.A30".to_owned());
    let mut after = host(
        "2: 00:03.0; 5: 00:07.0; 6: 00:07.1; 11: 02:00.0* 03:01.0; 15: 22:00.0",
        &table(&[SINGLE]),
    );
    after.dmi.bios_version = Reading::Read("1.A40".to_owned());
    after.kernel_release = Reading::Read("6.18.2".to_owned());
    let diff = hosts(&before, &after);
    assert_eq!(names(&diff.host), ["bios_version", "kernel_release"]);
    let verdicts: Vec<_> = diff
        .devices
        .iter()
        .map(|device| {
            let verdict = |side: &Option<DeviceSide>| side.as_ref().map(|s| s.judgement.verdict);
            (device.bdf.devid.to_string(), verdict(&device.before), verdict(&device.after))
        })
        .collect();
    let (blocked, clear) = (Some(Verdict::Blocked), Some(Verdict::Clear));
    let expected = [
        ("00:03.0", blocked, clear),
        ("00:07.0", blocked, clear),
        // For another reason now.
        ("00:07.1", blocked, blocked),
        ("02:00.0", blocked, clear),
        ("03:01.0", blocked, clear),
        ("21:00.0", clear, None),
        ("22:00.0", None, clear),
    ];
    assert_eq!(verdicts, expected.map(|(bdf, old, new)| (bdf.to_owned(), old, new)));
    let mut groups: Vec<_> = diff
        .groups
        .iter()
        .map(|one| {
            (one.change, one.before.as_ref().map(|g| g.id), one.after.as_ref().map(|g| g.id))
        })
        .collect();
    groups.sort_unstable();
    assert_eq!(
        groups,
        [
            (Kind::Went, Some(14), None),
            (Kind::Came, None, Some(6)),
            (Kind::Came, None, Some(15)),
            (Kind::Changed, Some(1), Some(2)),
            (Kind::Changed, Some(5), Some(5)),
            (Kind::Changed, Some(11), Some(11)),
        ]
    );
}

#[test]
fn a_group_with_another_number_is_the_same_group() {
    let (before, after) = (host("1: 00:03.0", &table(&[])), host("7: 00:03.0", &table(&[])));
    let diff = hosts(&before, &after);
    assert_eq!(diff.groups.len(), 1);
    assert_eq!(diff.groups[0].change, Kind::Moved);
    assert_eq!(diff.devices, []);
}

#[test]
fn what_cannot_be_read_is_a_difference_with_a_reason() {
    let before = host(GROUPS, &table(&AM5));
    let mut after = before.clone();
    after.ivrs = Reading::Unreadable("IVRS: Permission denied".to_owned());
    let diff = hosts(&before, &after);
    assert_eq!(names(&diff.table), ["table"]);
    assert!(diff.notices[0].contains("second") && diff.notices[0].contains("denied"));
}

#[test]
fn a_table_alone_is_compared_with_the_table_of_a_host() {
    let whole = host(GROUPS, &table(&AM5));
    let alone = Snapshot { ivrs: whole.ivrs.clone(), ..Snapshot::default() };
    let diff = compare(&model(&whole, &[]), &model(&alone, &[]), Scope::Table);
    assert!(diff.is_empty(), "{diff:?}");
}

fn any_table() -> impl Strategy<Value = (Vec<String>, u32, bool)> {
    (prop::collection::vec(any_ivmd(), 0..5), 0_u32..3, any::<bool>())
}

fn built((ivmds, oem_revision, bad): &(Vec<String>, u32, bool)) -> IvrsBuilder {
    let ivmds: Vec<&str> = ivmds.iter().map(String::as_str).collect();
    let table = table(&ivmds).oem_revision(*oem_revision);
    if *bad { table.raw(vec![0x51, 0, 6, 0, 1, 2]) } else { table }
}

/// A model of any bytes after the signature and a right length.
fn of_bytes(bytes: &[u8]) -> Model {
    let mut table = b"IVRS".to_vec();
    let length = u32::try_from(bytes.len() + 8).unwrap();
    table.extend(length.to_le_bytes());
    table.extend(bytes);
    let ivrs = Reading::Read(HexBytes(table));
    model(&Snapshot { ivrs, ..Snapshot::default() }, &[])
}

proptest! {
    #[test]
    fn nothing_differs_from_itself(one in any_table()) {
        let host = host(GROUPS, &built(&one));
        prop_assert!(hosts(&host, &host).is_empty());
    }

    #[test]
    fn backwards_it_is_the_mirror_image(one in any_table(), other in any_table()) {
        let (a, b) = (host(GROUPS, &built(&one)), host("1: 00:03.0 00:07.1; 3: 21:00.0", &built(&other)));
        prop_assert_eq!(mirrored(&hosts(&a, &b)), sorted(hosts(&b, &a)));
    }

    /// Whatever the table is, broken ones too.
    #[test]
    fn only_equal_bytes_are_equal(
        bytes in prop::collection::vec(any::<u8>(), 40..160),
        at in any::<prop::sample::Index>(),
        kinds in prop::collection::vec(prop::sample::select(vec![0x10_u8, 0x11, 0x21, 0x22, 0x51]), 1..4),
        flip in 1_u8..,
    ) {
        let mut bytes = bytes;
        // Blocks of sane lengths, so that not all of it is one that is cut.
        let mut offset = 40;
        for kind in kinds {
            let length = if kind == 0x51 { 6 } else if kind == 0x10 { 28 } else { 40 };
            if let Some([code, _, low, high]) = bytes.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
                (*code, *low, *high) = (kind, length, 0);
            }
            offset += usize::from(length);
        }
        let mut other = bytes.clone();
        let place = at.index(other.len());
        other[place] ^= flip;
        let (one, other) = (of_bytes(&bytes), of_bytes(&other));
        prop_assert!(compare(&one, &one, Scope::Table).is_empty());
        let diff = compare(&one, &other, Scope::Table);
        prop_assert!(!diff.is_empty());
        prop_assert_eq!(mirrored(&diff), sorted(compare(&other, &one, Scope::Table)));
    }
}
