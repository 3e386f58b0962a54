//! What differs between two IVRS tables.

use crate::{
    firmware::{
        Ivhd, Ivmd, Ivrs, KernelView,
        amd::ivrs::{HEADER_LENGTH, IVMD_LENGTH, IvmdKind},
    },
    fmt::{hex_bytes, size},
    model::diff_blocks::{Block, Named, bytes_of, header_fields, numbered, unknown},
    pci::{Bdf, Devid},
};

/// The header, and what the table is as a whole. With the blocks these are all of its bytes.
pub(super) fn header(ivrs: &Ivrs, view: &KernelView) -> Vec<Named> {
    let fatal: Vec<String> = view.fatal.iter().map(ToString::to_string).collect();
    let cut = ivrs.truncation.map(|stop| stop.offset());
    let rest = cut.and_then(|offset| ivrs.bytes().get(offset..)).map(hex_bytes);
    let mut fields = header_fields(&ivrs.header);
    fields.extend([
        ("ivinfo", Some(format!("{:#010x}", ivrs.ivinfo.0))),
        ("reserved", ivrs.bytes().get(40..HEADER_LENGTH).map(hex_bytes)),
        ("stops", ivrs.truncation.map(|stop| stop.to_string())),
        ("rest", rest),
        ("ivhd_type", view.target_ivhd_type.map(|code| format!("{code:#04x}"))),
        ("fatal", (!fatal.is_empty()).then(|| fatal.join("; "))),
    ]);
    fields
}

/// The blocks of a table: IVHD, IVMD and the others.
pub(super) fn sections(ivrs: &Ivrs) -> [Vec<Block>; 3] {
    [
        numbered(&ivrs.ivhd, |index, block| ivhd(ivrs, index, block)),
        numbered(&ivrs.ivmd, |_, block| ivmd(ivrs, block)),
        numbered(&ivrs.unknown, unknown),
    ]
}

fn ivhd(ivrs: &Ivrs, index: usize, block: &Ivhd) -> Block {
    let kind = block.kind.code();
    let mut fields = vec![
        ("type", format!("{kind:#04x}")),
        ("flags", format!("{:#04x}", block.flags)),
        ("block_length", block.length.to_string()),
        ("devid", String::from(block.devid)),
        ("cap_offset", format!("{:#x}", block.cap_offset)),
        ("mmio", format!("{:#x}", block.mmio)),
        ("segment", String::from(block.segment)),
        ("info", format!("{:#06x}", block.info)),
        ("feature_info", format!("{:#010x}", block.feature_info)),
    ];
    fields.extend(block.efr.map(|efr| ("efr", format!("{efr:#x}"))));
    fields.extend(block.efr2.map(|efr2| ("efr2", format!("{efr2:#x}"))));
    let unit = Bdf::new(block.segment, block.devid);
    let bytes = bytes_of(ivrs.bytes(), block.offset, usize::from(block.length));
    Block {
        index,
        offset: format!("{:#x}", block.offset),
        bytes: hex_bytes(bytes),
        title: format!("type {kind:#04x}, the IOMMU {unit}, registers at {:#x}", block.mmio),
        fields,
        entries: block.raw_entries(ivrs).map(|entry| hex_bytes(entry.bytes)).collect(),
        keys: [format!("{kind} {unit}"), format!("{kind} {:#x}", block.mmio)],
    }
}

fn ivmd(ivrs: &Ivrs, block: &Ivmd) -> Block {
    let kind = block.kind.code();
    let devids = match block.kind {
        IvmdKind::All => "all devices".to_owned(),
        IvmdKind::Device => block.devid.to_string(),
        IvmdKind::Range => format!("{} to {}", block.devid, Devid(block.aux)),
    };
    let length = usize::from(block.block_length).max(IVMD_LENGTH);
    let bytes = bytes_of(ivrs.bytes(), block.offset, length);
    let memory = format!("{:#x}, {}", block.start, size(block.length));
    Block {
        index: block.index,
        offset: format!("{:#x}", block.offset),
        bytes: hex_bytes(bytes),
        title: format!(
            "type {kind:#04x}, flags {:#04x}, {devids} of segment {}, memory at {memory}",
            block.flags.0, block.segment
        ),
        fields: vec![
            ("type", format!("{kind:#04x}")),
            ("flags", format!("{:#04x}", block.flags.0)),
            ("block_length", block.block_length.to_string()),
            ("devid", String::from(block.devid)),
            ("aux", format!("{:#06x}", block.aux)),
            ("segment", String::from(block.segment)),
            ("reserved", bytes.get(10..16).map(hex_bytes).unwrap_or_default()),
            ("start", format!("{:#x}", block.start)),
            ("length", format!("{:#x}", block.length)),
            ("extra", bytes.get(IVMD_LENGTH..).map(hex_bytes).unwrap_or_default()),
        ],
        entries: Vec::new(),
        keys: [
            format!("{:#x} {:#x}", block.start, block.length),
            format!("{kind} {} {} {:#x}", block.segment, block.devid, block.aux),
        ],
    }
}
