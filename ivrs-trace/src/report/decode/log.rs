//! What `decode` says of a kernel log written with `amd_iommu_dump`: the IVMD blocks that the kernel
//! heeded, as it logged them. Their offsets, the blocks it ignored and the IVHDs are not in a log.

use serde::Serialize;

use super::{
    amd_json::{FlagsDocument, access_letters},
    amd_text::{access, count, devices, named_flags},
    page::Page,
};
use crate::{
    firmware::{
        amd::kernel::Prot,
        dump::{IvmdLine, IvmdLog},
    },
    pci::{Devid, Segment},
    report::{Style, size},
};

/// What `decode --json` prints of a kernel log: the IVMD blocks that the kernel heeded.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecodeLog {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/decode-log/1")))]
    pub schema: &'static str,
    /// The IVMD blocks that the kernel heeded, in its order.
    pub ivmd: Vec<LoggedIvmd>,
}

/// An IVMD block as the kernel logged it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoggedIvmd {
    /// The line of the input, from 1.
    pub line: usize,
    /// Type byte.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// Its flags.
    pub flags: FlagsDocument,
    /// PCI segment.
    pub segment: Segment,
    /// First device.
    pub devid_start: Devid,
    /// Last device, inclusive.
    pub devid_end: Devid,
    /// The region that the kernel made of it.
    pub kernel: LoggedRegion,
}

/// A region as the kernel logged it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoggedRegion {
    /// First byte.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub start: String,
    /// Last byte; one below `start` where the region has no length.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub end: String,
    /// Access: `rw`, `r`, `w` or empty.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["rw", "r", "w", ""])))]
    pub prot: &'static str,
    /// Type of the reserved region: always `direct`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(extend("const" = "direct")))]
    pub kind: &'static str,
}

/// The document of a kernel log.
#[must_use]
pub fn decode_log(log: &IvmdLog) -> DecodeLog {
    DecodeLog {
        schema: "ivrs-trace/decode-log/1",
        ivmd: log
            .entries
            .iter()
            .map(|entry| LoggedIvmd {
                line: entry.line,
                kind: format!("{:#04x}", entry.kind.code()),
                flags: FlagsDocument::of(entry.flags),
                segment: entry.segment,
                devid_start: entry.devid_start,
                devid_end: entry.devid_end,
                kernel: LoggedRegion {
                    start: format!("{:#x}", entry.start),
                    end: format!("{:#x}", entry.end_exclusive.wrapping_sub(1)),
                    prot: access_letters(Prot::of(entry.flags)),
                    kind: "direct",
                },
            })
            .collect(),
    }
}

/// The text of a kernel log.
#[must_use]
pub fn log_text(log: &IvmdLog, style: Style) -> String {
    let mut page = Page::new(style);
    let number = count(log.entries.len(), "IVMD block");
    page.text(
        0,
        &format!(
            "Kernel log with {number} that the kernel heeded. What else is in the table is not in \
             the log; decode /sys/firmware/acpi/tables/IVRS to see it."
        ),
    );
    for entry in &log.entries {
        page.blank();
        let title = format!(
            "IVMD type {:#04x}, flags {} (line {})",
            entry.kind.code(),
            named_flags(entry.flags),
            entry.line
        );
        page.text(0, &style.bold(&title));
        let range = devices(entry.segment, entry.devid_start, entry.devid_end);
        page.labelled(2, "devices", 11, &range);
        page.labelled(2, "kernel", 11, &region(entry));
    }
    page.finish()
}

fn region(entry: &IvmdLine) -> String {
    let length = entry.end_exclusive.wrapping_sub(entry.start);
    let access = access(Prot::of(entry.flags));
    if length == 0 {
        return format!("direct region at {:#x} of no length, {access}", entry.start);
    }
    let last = entry.end_exclusive.wrapping_sub(1);
    format!("direct region {:#x} to {last:#x} ({}), {access}", entry.start, size(length))
}
