//! Tables made to show one thing each, and what is said of them.

use super::*;
use crate::{
    codes::Severity,
    firmware::amd::{
        builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
        device_entry::{AcpiUid, DeviceEntry},
    },
};

fn select(devid: u16) -> DeviceEntry {
    DeviceEntry::Select { devid: Devid(devid), settings: 0 }
}

fn ivhd(kind: IvhdKind, entries: Vec<DeviceEntry>) -> IvhdSpec {
    IvhdSpec { kind, entries, ..IvhdSpec::default() }
}

/// One IOMMU that serves buses 0x00 to 0x22.
fn machine() -> IvrsBuilder {
    let all = DeviceEntry::Range { first: Devid(0), last: Devid(0x22ff), settings: 0 };
    IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type10, vec![all]))
}

fn with(text: &str) -> IvrsBuilder {
    machine().ivmd(ivmd(text))
}

fn ivmd(text: &str) -> IvmdSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn found(builder: &IvrsBuilder) -> Vec<Finding> {
    found_in(&builder.build().unwrap())
}

fn found_in(bytes: &[u8]) -> Vec<Finding> {
    let table = Ivrs::parse(bytes).unwrap();
    let mut findings = of_table(&table, &KernelView::new(&table));
    // These tables are too small to name IO-APICs.
    findings.retain(|finding| finding.code != Code::IvhdNoSouthbridge);
    findings
}

fn codes(builder: &IvrsBuilder) -> Vec<&'static str> {
    found(builder).iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn an_entry_of_a_table_that_linux_refuses_blocks_nothing() {
    for text in [
        "type=0x20,flags=0x08,devid=0,aux=0,start=0x7a2d9000,length=0x1000",
        "type=0x21,flags=0x09,devid=0x0008,aux=0,start=0x7a2d9000,length=0x1000",
        "type=0x21,flags=0x07,devid=0x0008,aux=0,start=0x7a2d9000,length=0",
    ] {
        let blocks = |table: &IvrsBuilder| {
            let found = found(table);
            found
                .iter()
                .any(|one| ["blocks", "makes a map"].iter().any(|it| one.message.contains(it)))
        };
        assert!(blocks(&with(text)), "{text}");
        assert!(!blocks(&with(text).checksum(0)), "{text}");
    }
}

#[test]
fn a_plain_table_has_no_findings() {
    assert_eq!(found(&machine()), []);
    let plain = "type=0x21,flags=7,devid=0x310,start=0x7ffe0000,length=0x20000";
    assert_eq!(found(&with(plain)), []);
}

#[test]
fn each_oddity_of_an_entry_has_its_code() {
    let one = |text: &str| codes(&with(text));
    let rest = "start=0x7ffe0000,length=0x1000";
    for (text, expected) in [
        (format!("type=0x21,flags=8,devid=8,{rest}"), vec!["ivmd-exclusion"]),
        (format!("type=0x21,flags=0x0f,devid=8,{rest}"), vec!["ivmd-excl-unity"]),
        (format!("type=0x21,flags=1,devid=8,{rest}"), vec!["ivmd-no-access"]),
        (format!("type=0x21,flags=6,devid=8,{rest}"), vec!["ivmd-ignored"]),
        (format!("type=0x20,flags=7,{rest}"), vec!["ivmd-wide"]),
        (format!("type=0x22,flags=7,devid=0,aux=0xfff,{rest}"), vec!["ivmd-wide"]),
        (format!("type=0x22,flags=7,devid=0x100,aux=0x1ff,{rest}"), vec!["ivmd-wide"]),
        (format!("type=0x22,flags=7,devid=0x100,aux=0x107,{rest}"), vec![]),
        (format!("type=0x22,flags=7,devid=0x20f,aux=0x200,{rest}"), vec!["ivmd-order"]),
        (format!("type=0x21,flags=7,devid=0x2300,{rest}"), vec!["ivmd-beyond-last"]),
        (
            format!("type=0x22,flags=7,devid=0x2200,aux=0x23ff,{rest}"),
            vec!["ivmd-beyond-last", "ivmd-wide"],
        ),
        (format!("type=0x21,flags=7,devid=8,segment=3,{rest}"), vec!["ivmd-segment"]),
    ] {
        assert_eq!(one(&text), expected, "{text}");
    }
    for (memory, expected) in [
        ("start=0,length=0x1000", vec!["ivmd-page0"]),
        ("start=0x800,length=0x1000", vec!["ivmd-page0", "ivmd-unaligned"]),
        ("start=0x1800,length=0x800", vec!["ivmd-unaligned", "ivmd-subpage"]),
        ("start=0x1000,length=1", vec!["ivmd-subpage"]),
        ("start=0x1000,length=0", vec!["ivmd-empty"]),
        // Nothing is mapped, so no map fails.
        ("start=0x1000,length=0,flags=1", vec!["ivmd-empty"]),
        ("start=0xfffffffffffff001,length=0x1000", vec!["ivmd-wrap"]),
        ("start=0xfffffffffffff000,length=0x1000", vec![]),
        ("start=0xfffffffffffff000,length=0x1001", vec!["ivmd-wrap"]),
        ("start=0x1000,length=0xffffffffffffffff", vec!["ivmd-wrap"]),
    ] {
        assert_eq!(
            one(&format!(
                "type=0x21,{}devid=8,{memory}",
                if memory.contains("flags") { "" } else { "flags=7," }
            )),
            expected,
            "{memory}"
        );
    }
}

#[test]
fn a_finding_says_where_and_on_what_it_rests() {
    let findings = found(&with("type=0x21,flags=7,devid=8,start=0x7ffe0000,length=1"));
    let [only] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(
        (only.place.map(|place| place.offset), only.ivmd, only.severity),
        (Some(0x50), Some(0), Severity::Note)
    );
    assert_eq!(only.evidence.len(), 1);
    assert_eq!(only.evidence[0].to_string(), "offset 0x68: 01 00 00 00 00 00 00 00");
    assert_eq!(
        only.message,
        "ivmd:0 asks for 0x1 bytes, not whole pages; Linux rounds up to 0x1000."
    );
}

#[test]
fn entries_are_held_against_each_other() {
    let first = ivmd("type=0x22,flags=7,devid=0x100,aux=0x107,start=0x10000,length=0x2000");
    let pair = |text: &str| codes(&machine().ivmd(first).ivmd(ivmd(text)));
    for (second, expected) in [
        ("devid=0x100,aux=0x107,start=0x10000,length=0x2000", vec!["ivmd-duplicate"]),
        // The same to the kernel, which rounds.
        (
            "devid=0x100,aux=0x107,start=0x10000,length=0x1001",
            vec!["ivmd-subpage", "ivmd-duplicate"],
        ),
        ("devid=0x104,aux=0x10f,start=0x11000,length=0x2000", vec!["ivmd-overlap"]),
        ("devid=0x104,aux=0x10f,start=0x12000,length=0x2000", vec![]),
        ("devid=0x108,aux=0x10f,start=0x10000,length=0x2000", vec![]),
        ("devid=0x100,aux=0x107,start=0x10000,length=0x2000,segment=1", vec!["ivmd-segment"]),
    ] {
        assert_eq!(pair(&format!("type=0x22,flags=7,{second}")), expected, "{second}");
    }
}

#[test]
fn a_table_that_costs_the_iommu_says_so_as_an_error() {
    let entry = "type=0x21,flags=7,devid=8,start=0x1000,length=0x1000";
    let errors = |builder: &IvrsBuilder| -> Vec<_> {
        let errors = found(builder).into_iter().filter(|one| one.severity == Severity::Error);
        errors.map(|one| (one.code.as_str(), one.place.map(|place| place.offset))).collect()
    };
    assert_eq!(errors(&with(entry).checksum(0)), [("ivrs-checksum", Some(9))]);
    assert_eq!(errors(&IvrsBuilder::new()), [("ivrs-no-ivhd", Some(48))]);
    assert_eq!(
        errors(&with("type=0x21,flags=7,devid=2,start=0x1000,length=0x1000")),
        [("ivrs-ivhd-type", Some(48))]
    );
    let empty = IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type10, vec![]));
    assert_eq!(errors(&empty), [("ivhd-no-devices", Some(48))]);
    let endless = ivhd(IvhdKind::Type10, vec![DeviceEntry::Raw(vec![0x90, 0, 0, 0])]);
    assert_eq!(errors(&IvrsBuilder::new().ivhd(endless)), [("ivhd-entry-loop", Some(72))]);
    assert_eq!(errors(&with(entry).last_block_length(0)), [("ivrs-block-zero", Some(80))]);
    assert_eq!(errors(&with(entry).last_block_length(33)), [("ivrs-block-end", Some(80))]);
    assert_eq!(errors(&machine().raw(vec![0x21, 0])), [("ivrs-block-end", Some(80))]);
    let cut = ivhd(IvhdKind::Type10, vec![select(8), DeviceEntry::Raw(vec![0x42, 0, 0, 0])]);
    assert_eq!(errors(&IvrsBuilder::new().ivhd(cut)), [("ivhd-entry-cut", Some(76))]);

    let sum = found(&with(entry).checksum(0)).remove(0);
    let right = Ivrs::parse(&with(entry).build().unwrap()).unwrap().header.checksum;
    assert!(sum.message.contains(&format!("where {right:#04x} would be right")), "{sum:?}");
}

#[test]
fn oddities_of_blocks_and_device_entries_are_told() {
    let copy = with("type=0x21,flags=7,devid=8,start=0x1000,length=0x1000");
    let mut bytes = Ivrs::parse(&copy.build().unwrap()).unwrap().ivmd[0].bytes.to_vec();
    bytes[0] = 0x51;
    let findings = found(&copy.raw(bytes));
    assert_eq!(findings[0].code.as_str(), "ivrs-block-unknown");
    assert!(findings[0].message.ends_with("it is a copy of ivmd:0."), "{findings:?}");

    let mut padded = machine().build().unwrap();
    padded.extend([0; 3]);
    assert_eq!(found_in(&padded)[0].code.as_str(), "ivrs-trailing");

    let odd = vec![
        select(8),
        DeviceEntry::Raw(vec![0x04, 9, 0, 0]),
        DeviceEntry::Raw(vec![0x05, 0, 0, 0]),
        DeviceEntry::Range { first: Devid(9), last: Devid(8), settings: 0 },
        DeviceEntry::AcpiHid {
            devid: Devid(0x60),
            settings: 0,
            hid: *b"MSFT0201",
            cid: [0; 8],
            uid: AcpiUid::None,
        },
        DeviceEntry::Raw(vec![0x03, 9, 0, 0]),
    ];
    assert_eq!(
        codes(&IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type11, odd))),
        ["ivhd-range", "ivhd-entry-unknown", "ivhd-range", "ivhd-acpi-block", "ivhd-range"]
    );

    let served = IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type10, vec![select(8), select(0x20)]));
    let between = ivmd("type=0x21,flags=7,devid=0x10,start=0x1000,length=0x1000");
    assert_eq!(codes(&served.ivmd(between)), ["ivmd-no-iommu"]);

    let short = with("type=0x21,flags=7,devid=8,start=0x1000,length=0x1000").last_block_length(30);
    assert!(codes(&short).contains(&"ivmd-block-length"));
}

#[test]
fn exclusions_beside_the_protection_bit_are_told_with_care() {
    let text = "type=0x22,flags=8,devid=0,aux=0xfff,start=0x1000,length=0x1000";
    assert!(!codes(&with(text)).contains(&"ivrs-dma-protection"));
    let findings = found(&with(text).ivinfo(0x0020_3043));
    let told = findings.iter().find(|one| one.code.as_str() == "ivrs-dma-protection").unwrap();
    assert_eq!((told.place.map(|place| place.offset), told.severity), (Some(36), Severity::Note));
    assert!(told.message.contains("matches pre-boot DMA protection"), "{}", told.message);
    assert_eq!(told.evidence[0].to_string(), "offset 0x24: IVinfo 0x00203043, bit 1 set");
    let unity = with("type=0x21,flags=7,devid=8,start=0x1000,length=0x1000").ivinfo(0x0020_3043);
    assert_eq!(codes(&unity), [""; 0]);
}

#[test]
fn an_acpi_device_is_named_as_the_owner() {
    let named = DeviceEntry::AcpiHid {
        devid: Devid(0x60),
        settings: 0,
        hid: *b"MSFT0201",
        cid: [0; 8],
        uid: AcpiUid::Integer(1),
    };
    let builder = |kind| IvrsBuilder::new().ivhd(ivhd(kind, vec![select(0x800), named.clone()]));
    let alone = ivmd("type=0x21,flags=7,devid=0x60,start=0x1000,length=0x1000");
    let owner = |builder: &IvrsBuilder| {
        found(builder).into_iter().find(|one| one.code.as_str() == "ivmd-acpi-owner")
    };
    let told = owner(&builder(IvhdKind::Type40).ivmd(alone)).unwrap();
    assert!(told.message.ends_with("MSFT0201 at 00:0c.0; most likely it is meant for that."));
    assert_eq!(told.ivmd, Some(0));
    assert!(owner(&builder(IvhdKind::Type11).ivmd(alone)).is_none());
    let several = ivmd("type=0x22,flags=7,devid=0,aux=0x7f,start=0x1000,length=0x1000");
    let told = owner(&builder(IvhdKind::Type40).ivmd(several)).unwrap();
    assert!(told.message.ends_with("it may be meant for that."), "{}", told.message);
    for whole in ["type=0x22,flags=7,devid=0,aux=0xff", "type=0x22,flags=7,devid=0x10,aux=0x110"] {
        let whole = ivmd(&format!("{whole},start=0x1000,length=0x1000"));
        assert!(owner(&builder(IvhdKind::Type40).ivmd(whole)).is_none());
    }
}

#[test]
fn too_much_of_the_same_is_counted() {
    let block = ivmd("type=0x21,flags=6,devid=8,start=0x1000,length=0x1000");
    let table = (0..AT_MOST + 5).fold(machine(), |builder, _| builder.ivmd(block));
    let findings = found(&table);
    assert_eq!(findings.len(), AT_MOST + 1);
    let last = findings.last().unwrap();
    assert_eq!(
        (last.code.as_str(), last.message.as_str()),
        ("ivmd-ignored", "There are 5 more of this kind.")
    );
}

/// A table of the largest size, all of it effective blocks, is judged in reasonable time.
#[test]
fn a_huge_table_is_an_answer_not_a_hang() {
    let block = ivmd("type=0x22,flags=9,devid=0,aux=0xffff,start=0x1001,length=0x1000");
    let table = (0..30_000).fold(machine(), |builder, _| builder.ivmd(block));
    let findings = found(&table);
    assert!(findings.iter().any(|one| one.code.as_str() == "ivmd-duplicate"));
}

#[test]
fn io_apics_that_cost_the_remapping_of_interrupts_are_told() {
    let io_apic = |handle, devid| DeviceEntry::Special {
        handle,
        devid: Devid(devid),
        kind: SpecialKind::IoApic,
        settings: 0,
    };
    let south = 0x00a0;
    for (entries, expected) in [
        (vec![], vec!["ivhd-no-southbridge"]),
        (vec![io_apic(7, south)], vec![]),
        (vec![io_apic(7, south), io_apic(8, 1)], vec![]),
        (vec![io_apic(7, 1)], vec!["ivhd-no-southbridge"]),
        (vec![io_apic(7, south), io_apic(7, 1)], vec!["ivhd-ioapic-twice"]),
        // The same twice is said once.
        (vec![io_apic(7, south), io_apic(7, south)], vec![]),
    ] {
        let mut all = entries;
        all.push(DeviceEntry::Range { first: Devid(0), last: Devid(0x22ff), settings: 0 });
        let bytes = IvrsBuilder::new().ivhd(ivhd(IvhdKind::Type10, all)).build().unwrap();
        let table = Ivrs::parse(&bytes).unwrap();
        let findings = of_table(&table, &KernelView::new(&table));
        let codes: Vec<&str> = findings.iter().map(|one| one.code.as_str()).collect();
        assert_eq!(codes, expected);
        if codes == ["ivhd-ioapic-twice"] {
            assert_eq!(findings[0].evidence.len(), 2);
            assert!(findings[0].message.contains("at 0000:00:14.0 and at 0000:00:00.1"));
        }
    }
}
