//! An IVRS table: parser, kernel's view, and the way back through the builder. The reports on
//! it are a target of their own, as they need ten times as long.
#![no_main]

use ivrs_trace::{
    firmware::amd::{
        builder::{IvmdSpec, IvrsBuilder},
        ivrs::{HEADER_LENGTH, IVMD_LENGTH, Ivrs},
        kernel::KernelView,
    },
    pci::{Bdf, Devid},
};
use ivrs_trace_fuzz::{assert_printable, bounded};
use libfuzzer_sys::fuzz_target;

// Four bytes can be a device entry.
fuzz_target!(|data: &[u8]| bounded(data, 1024, || {
    match Ivrs::parse(data) {
        Ok(table) => parsed(&table),
        Err(error) => assert_printable(&error.to_string()),
    }
}));

fn parsed(table: &Ivrs) {
    let view = KernelView::new(table);
    for ivmd in &table.ivmd {
        if let Some(entry) = view.entry_of(ivmd.index) {
            let first = Bdf::new(entry.segment, entry.devid_start);
            let regions = view.regions_of(first).count();
            assert!(regions <= view.entries.len());
            assert_eq!(
                view.initialises() && entry.matches(first),
                view.regions_of(first).any(|region| region == entry),
            );
        }
    }
    rebuilt(table, &view);
}

/// A table that the builder can make as well comes out the same.
fn rebuilt(table: &Ivrs, view: &KernelView) {
    let mut builder = IvrsBuilder::like(table);
    for block in &table.blocks {
        let unit = table.ivhd.iter().find(|unit| unit.offset == block.offset);
        let memory = table.ivmd.iter().find(|memory| memory.offset == block.offset);
        let unknown = table.unknown.iter().find(|unknown| unknown.offset == block.offset);
        builder = match (unit, memory, unknown) {
            (Some(unit), None, None) => builder.raw(unit.bytes.clone()),
            (None, Some(memory), None) => builder.ivmd(IvmdSpec::from(memory)),
            (None, None, Some(unknown)) => builder.raw(unknown.bytes.clone()),
            // Its fixed fields are beyond the table's end.
            _ => builder,
        };
    }
    let bytes = builder.build().unwrap_or_default();
    let Ok(again) = Ivrs::parse(&bytes) else { panic_on(&bytes) };
    assert!(again.header.checksum_ok, "the builder's checksum is right");
    let plain = table.truncation.is_none()
        && table.ivmd.iter().all(|ivmd| {
            usize::from(ivmd.block_length) == IVMD_LENGTH
                && ivmd.bytes.get(10..16).is_some_and(|reserved| reserved == [0; 6])
        });
    if plain {
        assert_eq!(again.bytes().get(HEADER_LENGTH..), table.bytes().get(HEADER_LENGTH..));
        let view_again = KernelView::new(&again);
        assert_eq!(view_again.entries, view.entries);
        assert_eq!(view_again.last_bdf, view.last_bdf);
        assert_eq!(view_again.target_ivhd_type, view.target_ivhd_type);
        let all = |view: &KernelView| -> Vec<usize> {
            let bdf = Bdf::new(ivrs_trace::pci::Segment(0), Devid(0x0039));
            view.entries.iter().filter(|entry| entry.matches(bdf)).map(|e| e.ivmd_index).collect()
        };
        assert_eq!(all(&view_again), all(view));
    }
}

#[expect(clippy::panic, reason = "a panic is how a target says that it found something")]
fn panic_on(bytes: &[u8]) -> ! {
    panic!("what the builder made is no table: {}", bytes.escape_ascii())
}
