//! Tables of the builders as `iasl -d` lists their fields, without the raw data.

use super::{super::*, bad, prefixed, quoted_printable, read_table, table};
use crate::{
    firmware::{
        Dmar, Ivrs,
        intel::builder::{DmarBuilder, ScopeSpec},
    },
    pci::{Devid, Segment},
};

/// Names and lengths of the fields, in order.
type Names = &'static [(&'static str, usize)];

const HEADER: Names = &[
    ("Signature", 4),
    ("Table Length", 4),
    ("Revision", 1),
    ("Checksum", 1),
    ("Oem ID", 6),
    ("Oem Table ID", 8),
    ("Oem Revision", 4),
    ("Asl Compiler ID", 4),
    ("Asl Compiler Revision", 4),
];
const IVRS: Names = &[("Virtualization Info", 4), ("Reserved", 8)];
const IVHD: Names = &[
    ("Subtable Type", 1),
    ("Flags (decoded below)", 1),
    ("Length", 2),
    ("DeviceId", 2),
    ("Capability Offset", 2),
    ("Base Address", 8),
    ("PCI Segment Group", 2),
    ("Virtualization Info", 2),
    ("Feature Reporting", 4),
];
const ENTRY: Names = &[("Subtable Type", 1), ("Device ID", 2), ("Data Setting (decoded below)", 1)];
const IVMD: Names = &[
    ("Subtable Type", 1),
    ("Flags (decoded below)", 1),
    ("Length", 2),
    ("DeviceId", 2),
    ("Auxiliary Data", 2),
    ("Reserved", 8),
    ("Start Address", 8),
    ("Memory Length", 8),
];
const DMAR: Names = &[("Host Address Width", 1), ("Flags", 1), ("Reserved", 10)];
const DRHD: Names = &[
    ("Subtable Type", 2),
    ("Length", 2),
    ("Flags", 1),
    ("Reserved", 1),
    ("PCI Segment Number", 2),
    ("Register Base Address", 8),
];
const RMRR: Names = &[
    ("Subtable Type", 2),
    ("Length", 2),
    ("Reserved", 2),
    ("PCI Segment Number", 2),
    ("Base Address", 8),
    ("End Address (limit)", 8),
];
const SCOPE: Names = &[
    ("Device Scope Type", 1),
    ("Entry Length", 1),
    ("Reserved", 2),
    ("Enumeration ID", 1),
    ("PCI Bus Number", 1),
    ("PCI Path", 2),
];

/// How the place of a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Old,
    New,
    None,
}

/// Lists the fields of `bytes` from `at` on.
fn listed(bytes: &[u8], mut at: usize, parts: &[Names], place: Place) -> String {
    let mut out = String::new();
    for (name, length) in parts.iter().copied().flatten() {
        let field = &bytes[at..at + length];
        let value = match *name {
            "Signature" | "Oem ID" | "Oem Table ID" | "Asl Compiler ID" => {
                format!("\"{}\"    [text]", String::from_utf8_lossy(field).trim_end_matches('\0'))
            }
            "PCI Path" => format!("{:02X},{:02X}", field[0], field[1]),
            _ if *length > 8 => {
                field.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(" ")
            }
            "Subtable Type" => format!("{} [what it is]", number(field)),
            _ => number(field),
        };
        let place = match place {
            Place::Old => format!("[{at:03X}h {at:04} {length:3}] "),
            Place::New => format!("[{at:03X}h {at:04} {length:03X}h] "),
            Place::None => String::new(),
        };
        out += &prefixed("", &format!("{place}{name:>28} : {value}"));
        if name.contains("decoded") {
            out += &prefixed("", &format!("{:>40} : 1", "Some Bit"));
        }
        at += length;
    }
    out
}

fn number(field: &[u8]) -> String {
    field.iter().rev().map(|b| format!("{b:02X}")).collect::<Vec<_>>().concat()
}

/// One IVHD with a range, and an IVMD a line.
fn ivrs() -> (Vec<u8>, Vec<Names>) {
    let bytes = table();
    // The block of an unknown type is left out.
    let mut bytes = bytes[..bytes.len() - 24].to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[4..8].copy_from_slice(&length);
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[9] = bytes[9].wrapping_sub(sum);
    (bytes, vec![HEADER, IVRS, IVHD, ENTRY, ENTRY, IVMD, IVMD])
}

fn dmar() -> (Vec<u8>, Vec<Names>) {
    let scope = ScopeSpec::function(Devid(0x00a0));
    let bytes = DmarBuilder::new()
        .drhd(0, Segment(0), 0xfed9_0000, &[ScopeSpec::function(Devid(0x0010))])
        .drhd(1, Segment(0), 0xfed9_1000, &[])
        .rmrr(Segment(0), 0x8a78_5000, 0x8a7a_4fff, &[scope])
        .build()
        .unwrap();
    (bytes, vec![HEADER, DMAR, DRHD, SCOPE, DRHD, RMRR, SCOPE])
}

#[test]
fn a_listing_of_all_fields_is_the_table() {
    for (bytes, parts) in [ivrs(), dmar()] {
        for place in [Place::Old, Place::New, Place::None] {
            let text = listed(&bytes, 0, &parts, place);
            for text in [
                text.clone(),
                prefixed("> ", &text),
                quoted_printable(&text),
                format!("@@ -0,0 +1,9 @@\n{}", prefixed("+", &text)),
            ] {
                let found = read_table(&text);
                assert_eq!((found.form, found.headless), (Form::Fields, false), "{text}");
                assert_eq!(found.table, bytes, "{place:?}\n{text}");
            }
            // The end is missing, or a line between.
            let lines: Vec<_> = text.lines().collect();
            let (form, _, problem) = bad(&lines[..lines.len() - 2].join("\n"));
            assert!(form == Form::Fields && matches!(problem, Problem::Cut { .. }), "{problem}");
            if place != Place::None {
                let (form, line, problem) = bad(&super::without_line(&text, 5));
                assert_eq!((form, line), (Form::Fields, Some(5)), "{problem}");
                assert!(matches!(problem, Problem::Jump { .. }), "{problem}");
            }
        }
    }
}

#[test]
fn blocks_alone_are_read() {
    for place in [Place::Old, Place::New, Place::None] {
        let (bytes, _) = ivrs();
        let whole = Ivrs::parse(&bytes).unwrap();
        let text = listed(&bytes, 0x30, &[IVHD, ENTRY, ENTRY, IVMD, IVMD], place);
        let found = read_table(&text);
        let part = Ivrs::parse(&found.table).unwrap();
        assert!(found.headless && part.ivhd == whole.ivhd && part.ivmd == whole.ivmd, "{text}");
        // The last one alone.
        let found = read_table(&listed(&bytes, 0x70, &[IVMD], place));
        let part = Ivrs::parse(&found.table).unwrap();
        assert_eq!(
            part.ivmd.iter().map(|one| one.bytes).collect::<Vec<_>>(),
            [whole.ivmd[1].bytes]
        );

        let (bytes, _) = dmar();
        let whole = Dmar::parse(&bytes).unwrap();
        let at = whole.rmrr[0].offset;
        let found = read_table(&listed(&bytes, at, &[RMRR, SCOPE], place));
        let part = Dmar::parse(&found.table).unwrap();
        assert!(found.headless);
        assert_eq!(part.rmrr[0].bytes, whole.rmrr[0].bytes);
        // A block that is cut is no block.
        let (form, _, problem) = bad(&listed(&bytes, at, &[RMRR], place));
        assert!(form == Form::Fields && matches!(problem, Problem::Cut { .. }), "{problem}");
    }
}

#[test]
fn device_entries_may_be_left_out_of_a_listing() {
    let (bytes, _) = ivrs();
    let whole = Ivrs::parse(&bytes).unwrap();
    let first = listed(&bytes, 0x30, &[IVHD, ENTRY], Place::None);
    let text = format!("{first}\n{}", listed(&bytes, 0x50, &[IVMD, IVMD], Place::None));
    let found = read_table(&text);
    let part = Ivrs::parse(&found.table).unwrap();
    let ivmds = |table: &Ivrs| table.ivmd.iter().map(|one| one.bytes).collect::<Vec<_>>();
    assert_eq!(ivmds(&part), ivmds(&whole));
    assert_eq!(found.notes, ["the listing leaves out 4 bytes of device entries"]);
}

#[test]
fn a_listing_of_another_table_is_named() {
    let text = "[000h 0000   4]                    Signature : \"IORT\"    [IO Remapping Table]\n\
                [004h 0004   4]                 Table Length : 00000100\n";
    let error = read(text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("IORT") && error.contains("docs/intel-and-arm.md"), "{error}");
}
