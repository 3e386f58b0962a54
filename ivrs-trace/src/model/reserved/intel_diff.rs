//! What differs between two DMAR tables.

use crate::{
    firmware::{
        Dmar, Drhd, Rmrr,
        acpi::ACPI_HEADER,
        intel::dmar::{HEADER_LENGTH, Scope},
    },
    fmt::{hex_bytes, size},
    model::diff_blocks::{Block, Named, bytes_of, header_fields, numbered, unknown},
};

/// The header, and what the table is as a whole. With the structures these are all of its bytes.
pub(super) fn header(dmar: &Dmar) -> Vec<Named> {
    let cut = dmar.truncation.map(|stop| stop.offset());
    let rest = cut.and_then(|offset| dmar.bytes().get(offset..)).map(hex_bytes);
    let mut fields = header_fields(&dmar.header);
    fields.extend([
        ("width", Some((u16::from(dmar.width) + 1).to_string())),
        ("flags", Some(format!("{:#04x}", dmar.flags))),
        ("reserved", dmar.bytes().get(ACPI_HEADER + 2..HEADER_LENGTH).map(hex_bytes)),
        ("stops", dmar.truncation.map(|stop| stop.to_string())),
        ("rest", rest),
        ("fatal", dmar.fatal().map(|fatal| fatal.to_string())),
    ]);
    fields
}

/// The structures of a table: DRHD, RMRR and the others.
pub(super) fn sections(dmar: &Dmar) -> [Vec<Block>; 3] {
    [
        numbered(&dmar.drhd, |index, drhd| of_drhd(dmar, index, drhd)),
        numbered(&dmar.rmrr, |_, rmrr| of_rmrr(rmrr)),
        numbered(&dmar.others, unknown),
    ]
}

fn scopes(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(|scope| format!("{scope} ({})", hex_bytes(&scope.bytes))).collect()
}

fn of_drhd(dmar: &Dmar, index: usize, drhd: &Drhd) -> Block {
    let registers = format!("{:#x}", drhd.address);
    Block {
        index,
        offset: format!("{:#x}", drhd.offset),
        bytes: hex_bytes(bytes_of(dmar.bytes(), drhd.offset, usize::from(drhd.length))),
        title: format!("the IOMMU with registers at {registers}, segment {}", drhd.segment),
        fields: vec![
            ("block_length", drhd.length.to_string()),
            ("flags", format!("{:#04x}", drhd.flags)),
            ("segment", String::from(drhd.segment)),
            ("mmio", registers.clone()),
        ],
        entries: scopes(&drhd.scopes),
        keys: [registers, drhd.segment.to_string()],
    }
}

fn of_rmrr(rmrr: &Rmrr) -> Block {
    let memory = format!("{:#x} to {:#x}", rmrr.base, rmrr.limit);
    let names: Vec<String> = rmrr.scopes.iter().map(ToString::to_string).collect();
    Block {
        index: rmrr.index,
        offset: format!("{:#x}", rmrr.offset),
        bytes: hex_bytes(&rmrr.bytes),
        title: format!(
            "memory {memory} ({}) of segment {} for {}",
            size(rmrr.memory_length()),
            rmrr.segment,
            names.join(", ")
        ),
        fields: vec![
            ("block_length", rmrr.length.to_string()),
            ("segment", String::from(rmrr.segment)),
            ("base", format!("{:#x}", rmrr.base)),
            ("limit", format!("{:#x}", rmrr.limit)),
        ],
        entries: scopes(&rmrr.scopes),
        keys: [memory, names.join(", ")],
    }
}
