//! What `decode` says of a kernel log written with `amd_iommu_dump`: the IVMD blocks that Linux
//! used, as it logged them. Their offsets, the blocks it ignored and the IVHDs are not in a log.

use super::{
    amd_json::{FlagsDocument, access_letters},
    amd_text::{devices, direct_region, named_flags},
    layout::{count, labelled, paragraph},
};
use crate::{
    firmware::{
        amd::kernel::Prot,
        dump::{IvmdLine, IvmdLog},
    },
    hex::Hex,
    object::object,
    pci::{Devid, Segment},
    report::page::{Page, Style},
};

/// The document of a kernel log.
#[must_use]
pub fn decode_log(log: &IvmdLog) -> DecodeLog {
    DecodeLog::of(log)
}

object! {
    /// What `decode --json` prints of a kernel log: the IVMD blocks that the kernel used.
    DecodeLog schema "ivrs-trace/decode-log/1" of (log: &IvmdLog) {
        /// The IVMD blocks that the kernel used, in its order.
        ivmd: Vec<LoggedIvmd> = log.entries.iter().map(LoggedIvmd::of).collect(),
    }

    /// An IVMD block as the kernel logged it.
    LoggedIvmd of (entry: &IvmdLine) {
        /// The line of the input, from 1.
        line: usize = entry.line,
        /// Type byte.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(entry.kind.code()),
        /// Its flags.
        flags: FlagsDocument = FlagsDocument::of(entry.flags),
        /// PCI segment.
        segment: Segment = entry.segment,
        /// First device.
        devid_start: Devid = entry.devid_start,
        /// Last device, inclusive.
        devid_end: Devid = entry.devid_end,
        /// The region that the kernel made of it.
        kernel: LoggedRegion = LoggedRegion::of(entry),
    }

    /// A region as the kernel logged it.
    LoggedRegion of (entry: &IvmdLine) {
        /// First byte.
        start: Hex<u64> = Hex(entry.start),
        /// Last byte; one below `start` where the region has no length.
        end: Hex<u64> = Hex(entry.end_exclusive.wrapping_sub(1)),
        /// Access: `rw`, `r`, `w` or empty.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["rw", "r", "w", ""])))]
        prot: &'static str = access_letters(Prot::of(entry.flags)),
        /// Type of the reserved region: always `direct`.
        #[serde(rename = "type")]
        #[cfg_attr(feature = "schema", schemars(extend("const" = "direct")))]
        kind: &'static str = "direct",
    }
}

/// The text of a kernel log.
#[must_use]
pub fn log_text(log: &IvmdLog, style: Style) -> String {
    let mut page = Page::new(style);
    let number = count(log.entries.len(), "IVMD block");
    let text = format!(
        "Kernel log with {number} used by Linux. The log has nothing else of the table; decode \
         /sys/firmware/acpi/tables/IVRS to see it."
    );
    paragraph(&mut page, 0, &text);
    for entry in &log.entries {
        page.blank();
        let title = format!(
            "IVMD type {:#04x}, flags {} (line {})",
            entry.kind.code(),
            named_flags(entry.flags),
            entry.line
        );
        paragraph(&mut page, 0, &style.bold(&title));
        let range = devices(entry.segment, entry.devid_start, entry.devid_end);
        labelled(&mut page, 2, "devices", 11, &range);
        let length = entry.end_exclusive.wrapping_sub(entry.start);
        let region = direct_region(entry.start, length, Prot::of(entry.flags));
        labelled(&mut page, 2, "kernel", 11, &region);
    }
    page.finish()
}
