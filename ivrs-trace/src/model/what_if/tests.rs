//! Changes in, effects out.

use proptest::prelude::*;

use super::*;
use crate::model::fixture::{AM5, GROUPS, QEMU, SINGLE, bdf, host, model, model_of, table, view};

/// A block that the kernel ignores: read and write, but neither unity map nor exclusion.
const IGNORED: &str = "type=0x22,flags=0x06,devid=0,aux=0x22ff,start=0x1000,length=0x1000";

fn without(ivmd: usize) -> Change {
    Change::Without { entry: EntryId::Ivmd(ivmd) }
}

fn narrow(ivmd: usize, first: &str, last: &str) -> Change {
    Change::Narrow { ivmd, first: bdf(first), last: bdf(last) }
}

fn moved(from: &str, to: &str) -> Change {
    Change::Move { from: bdf(from), to: bdf(to) }
}

fn of(ivmds: &[&str], changes: &[Change]) -> Result<WhatIf, ChangeError> {
    model(&host(GROUPS, &table(ivmds)), &[]).what_if(changes)
}

/// The devices with an effect, short.
fn with(answer: &WhatIf, effect: Effect) -> String {
    let devices = answer.devices.iter().filter(|device| device.effect == effect);
    let names: Vec<String> = devices.map(|device| device.bdf.devid.to_string()).collect();
    names.join(" ")
}

#[test]
fn effects() {
    use Effect::{BecomesBlocked, BecomesClear, StaysBlocked, StaysClear};
    const ALL: &str = "00:03.0 00:07.0 00:07.1 02:00.0 03:01.0 21:00.0";
    const LOW: &str = "00:03.0 00:07.0 00:07.1 02:00.0 03:01.0";
    for (ivmds, changes, effect, expected) in [
        // The group goes with its member.
        (&[SINGLE][..], vec![without(0)], BecomesClear, "00:07.0 00:07.1"),
        (&[SINGLE], vec![without(0)], StaysClear, "00:03.0 02:00.0 03:01.0 21:00.0"),
        (
            &[SINGLE],
            vec![Change::Relax { entry: EntryId::Ivmd(0) }],
            BecomesClear,
            "00:07.0 00:07.1",
        ),
        // One of three blocks less changes nothing.
        (&AM5, vec![without(1)], BecomesClear, ""),
        (&AM5, vec![without(1)], StaysBlocked, LOW),
        (
            &AM5,
            vec![without(0), without(1), Change::Relax { entry: EntryId::Ivmd(2) }],
            BecomesClear,
            LOW,
        ),
        (&AM5[..1], vec![narrow(0, "00:07.0", "00:07.0")], StaysBlocked, "00:07.0 00:07.1"),
        (&AM5[..1], vec![narrow(0, "00:07.0", "00:07.0")], BecomesClear, "00:03.0 02:00.0 03:01.0"),
        // The bridge blocks what is behind it.
        (&AM5[..1], vec![narrow(0, "02:00.0", "02:00.0")], StaysBlocked, "02:00.0 03:01.0"),
        (&AM5[..1], vec![moved("00:03.0", "12:00.0")], BecomesClear, "12:00.0"),
        (&AM5[..1], vec![moved("21:00.0", "0f:1f.7")], BecomesBlocked, "0f:1f.7"),
        (&AM5[..1], vec![moved("21:00.0", "10:00.0")], StaysClear, "10:00.0"),
        (&[SINGLE], vec![moved("00:07.1", "00:08.1")], BecomesClear, "00:07.0 00:08.1"),
        // Two functions change places.
        (
            &AM5[..1],
            vec![moved("00:03.0", "21:00.0"), moved("21:00.0", "00:03.0")],
            BecomesBlocked,
            "00:03.0",
        ),
        (&AM5[..1], vec![without(0), moved("21:00.0", "00:04.0")], StaysBlocked, ""),
        (
            &["type=0x20,flags=0x07,start=0x1000,length=0x1000"],
            vec![narrow(0, "00:00.0", "00:06.7")],
            StaysBlocked,
            "00:03.0",
        ),
        (&["type=0x20,flags=0x07,start=0x1000,length=0x1000"], vec![without(0)], BecomesClear, ALL),
        (&[IGNORED], vec![without(0)], StaysClear, ALL),
    ] {
        let answer = of(ivmds, &changes).unwrap();
        assert_eq!(with(&answer, effect), expected, "{ivmds:?} {changes:?}");
        assert_eq!(answer.devices.len(), 6);
    }
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    for (ivmds, changes, expected) in [
        (&[][..], vec![without(0)], "the table has no IVMD block"),
        (&[SINGLE], vec![without(1)], "one IVMD block, ivmd:0"),
        (&AM5, vec![without(3)], "ivmd:0 to ivmd:2"),
        (
            &AM5,
            vec![without(0), Change::Relax { entry: EntryId::Ivmd(0) }],
            "ivmd:0 is changed twice",
        ),
        (&AM5, vec![narrow(0, "00:00.0", "10:00.0")], "is not a part of"),
        (&AM5, vec![narrow(0, "01:00.0", "00:00.0")], "is not a part of"),
        (&AM5, vec![narrow(0, "1:00:00.0", "1:00:00.1")], "0000:00:00.0 to 0000:0f:1f.7"),
        (&AM5, vec![moved("00:04.0", "00:05.0")], "no PCI function 0000:00:04.0"),
        (&AM5, vec![moved("00:03.0", "00:07.0")], "another PCI function is there"),
        (
            &AM5,
            vec![
                moved("00:03.0", "00:07.0"),
                moved("00:07.0", "00:08.0"),
                moved("00:07.1", "00:08.0"),
            ],
            "another PCI function is there",
        ),
        (&AM5, vec![moved("00:03.0", "00:08.0"), moved("00:03.0", "00:09.0")], "moved twice"),
    ] {
        let error = of(ivmds, &changes).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn without_a_table_or_groups_there_is_no_answer() {
    let mut host = host(GROUPS, &table(&AM5));
    host.ivrs = Reading::Unreadable("IVRS: Permission denied".to_owned());
    let error = model(&host, &[]).what_if(&[without(0)]).unwrap_err().to_string();
    assert!(error.contains("Permission denied") && error.contains("root"), "{error}");
    let none = super::super::fixture::host("", &table(&AM5));
    let error = model(&none, &[]).what_if(&[without(0)]).unwrap_err();
    assert!(matches!(error, ChangeError::NoGroups { .. }), "{error}");
}

#[test]
fn what_weakens_the_answer_is_noted() {
    let notices = |answer: WhatIf| answer.notices.join("\n");
    let ignored = notices(of(&[IGNORED], &[without(0)]).unwrap());
    assert!(ignored.contains("Linux ignores IVMD 0"), "{ignored}");
    let nobody = "type=0x21,flags=0x07,devid=0x00ff,start=0x1000,length=0x1000";
    let idle = notices(of(&[nobody], &[without(0)]).unwrap());
    assert!(idle.contains("covers no device"), "{idle}");

    let host = host(GROUPS, &table(&[SINGLE]));
    for (flag, expected) in [
        (RequireDirect::Missing, "This kernel refuses no device"),
        (RequireDirect::Unknown, "is not known"),
    ] {
        let answer = model_of(&host, flag, &[]).what_if(&[without(0)]).unwrap();
        assert_eq!(with(&answer, Effect::BecomesClear), "00:07.0 00:07.1", "as from 6.6 on");
        assert!(notices(answer).contains(expected));
    }

    let mut intel = host.clone();
    let Reading::Read(functions) = &mut intel.functions else { panic!("no functions") };
    functions[0].iommu = Reading::Read("dmar0".to_owned());
    let answer = model(&intel, &[]).what_if(&[moved("00:03.0", "00:07.3")]).unwrap();
    assert!(notices(answer).contains("No AMD IOMMU serves 0000:00:03.0"));
}

#[test]
fn a_kernel_that_does_not_follow_the_table_is_noted_and_the_table_judged() {
    let mut host = host(GROUPS, &table(&[SINGLE]));
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    for group in groups {
        let Reading::Read(regions) = &mut group.regions else { panic!("no regions") };
        for region in regions.iter_mut().filter(|region| region.kind == RegionKind::Direct) {
            region.kind = RegionKind::DirectRelaxable;
        }
    }
    let answer = model(&host, &[]).what_if(&[without(0)]).unwrap();
    assert_eq!(with(&answer, Effect::BecomesClear), "00:07.0 00:07.1");
    assert!(answer.notices.iter().any(|text| text.contains("group 5")), "{:?}", answer.notices);
}

#[test]
fn regions_that_the_table_does_not_explain_stay() {
    let mut host = host(GROUPS, &table(&[SINGLE]));
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    let Reading::Read(regions) = &mut groups[0].regions else { panic!("no regions") };
    regions.push(ReservedRegion { start: 0, end_inclusive: 0xfff, kind: RegionKind::Direct });
    let answer = model(&host, &[]).what_if(&[without(0)]).unwrap();
    assert_eq!(with(&answer, Effect::StaysBlocked), "00:03.0");
    assert_eq!(answer.devices[0].after.unnamed, 1);
}

#[test]
fn listings_of_the_kernel_do_not_count() {
    let host = host(GROUPS, &table(&AM5));
    let probed = model(&host, &QEMU.listings(&host, true));
    let changes = [without(0), without(1), without(2)];
    let answer = probed.what_if(&changes).unwrap();
    assert_eq!(answer.devices, model(&host, &[]).what_if(&changes).unwrap().devices);
    assert!(answer.devices.iter().all(|device| device.after.verdict == Verdict::Clear));
}

/// IVMD blocks of all sorts over the buses that the hosts of the tests have.
pub(in crate::model) fn any_ivmd() -> impl Strategy<Value = String> {
    (0x20_u8..=0x22, 0_u8..16, 0_u16..0x2300, 0_u16..0x2300, 0_u64..64, 0_u64..4).prop_map(
        |(kind, flags, devid, aux, start, length)| {
            // Without access the kernel gives the IOMMU up.
            let flags = if flags & 8 == 0 { flags | 2 } else { flags };
            format!(
                "type={kind:#x},flags={flags:#x},devid={devid:#x},aux={aux:#x},start={:#x},\
                 length={:#x}",
                start << 12,
                length << 12
            )
        },
    )
}

proptest! {
    #[test]
    fn without_every_block_that_counts_nothing_is_blocked(
        ivmds in prop::collection::vec(any_ivmd(), 0..6),
        relax: bool,
    ) {
        let ivmds: Vec<&str> = ivmds.iter().map(String::as_str).collect();
        let host = host(GROUPS, &table(&ivmds));
        let model = model(&host, &[]);
        let changes: Vec<Change> = view(&host)
            .entries
            .iter()
            .map(|entry| entry.ivmd_index)
            .map(|ivmd| if relax { Change::Relax { entry: EntryId::Ivmd(ivmd) } } else { without(ivmd) })
            .collect();
        let answer = model.what_if(&changes).unwrap();
        for (device, now) in answer.devices.iter().zip(model.verdicts().devices) {
            prop_assert_eq!(device.after.verdict, Verdict::Clear);
            prop_assert_eq!(device.bdf, now.bdf);
            prop_assert_eq!(device.before.verdict, now.verdict, "as check says");
        }
    }

    #[test]
    fn no_change_is_no_effect_and_fewer_blocks_block_no_more(
        ivmds in prop::collection::vec(any_ivmd(), 1..6),
        which in 0_usize..6,
    ) {
        let ivmds: Vec<&str> = ivmds.iter().map(String::as_str).collect();
        let model = model(&host(GROUPS, &table(&ivmds)), &[]);
        let same = model.what_if(&[]).unwrap();
        prop_assert!(same.devices.iter().all(|device| device.before == device.after));
        let fewer = model.what_if(&[without(which % ivmds.len())]).unwrap();
        prop_assert_eq!(with(&fewer, Effect::BecomesBlocked), "");
    }

    #[test]
    fn a_moved_function_is_judged_by_its_new_place(ivmd in any_ivmd(), to in 0_u16..0x2300) {
        let host = host(GROUPS, &table(&[&ivmd]));
        let model = model(&host, &[]);
        let to = Bdf::new(bdf("00:03.0").segment, crate::pci::Devid(to));
        prop_assume!(model.function(to).is_none());
        let answer = model.what_if(&[Change::Move { from: bdf("00:03.0"), to }]).unwrap();
        let device = answer.devices.iter().find(|device| device.bdf == to).unwrap();
        prop_assert_eq!(device.moved_from, Some(bdf("00:03.0")));
        // The only member of its group: what covers the place decides.
        let covered = view(&host).regions_of(to).next().is_some();
        prop_assert_eq!(device.after.verdict == Verdict::Blocked, covered);
    }
}
