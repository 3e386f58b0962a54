//! What the codes about a DMAR table mean.

use super::{
    Severity,
    explanations::{Explanation, NONE},
};

pub(super) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "DMAR-CHECKSUM",
        severity: Severity::Warning,
        title: "the DMAR's checksum is wrong",
        meaning: "All bytes of an ACPI table must add up to 0. The kernel's ACPI code warns where \
                  they do not and uses the table all the same; unlike AMD's, Intel's driver does \
                  not check again.",
        advice: "If the table was copied by hand, typed or edited, copy it anew. If it comes from \
                 the machine as it is (/sys/firmware/acpi/tables/DMAR), report it to the board's \
                 vendor.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-TRAILING",
        severity: Severity::Note,
        title: "there is more data than the DMAR's header says",
        meaning: "The header gives the table's length, and the kernel looks at no byte behind it. \
                  Some dumps are padded to a whole page; then this means nothing.",
        advice: "Compare with a fresh copy of /sys/firmware/acpi/tables/DMAR, which ends where \
                 the header says.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-WIDTH",
        severity: Severity::Error,
        title: "the DMAR's addresses are too narrow",
        meaning: "The byte at offset 36 is the width of the host's addresses in bits, less one. \
                  Below a page the kernel takes it for nonsense (parse_dmar_table: \"Invalid DMAR \
                  haw\") and uses no IOMMU.",
        advice: "Look for a damaged copy. If the machine's own table says so, report it to the \
                 board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-NO-DRHD",
        severity: Severity::Error,
        title: "the DMAR names no IOMMU",
        meaning: "A DRHD structure describes an IOMMU. Without one the kernel has none, and so no \
                  groups and no passthrough.",
        advice: "See whether VT-d is switched off in the BIOS, and whether the dump is whole.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-BLOCK-UNKNOWN",
        severity: Severity::Note,
        title: "a structure of unknown type",
        meaning: "The kernel steps over structures whose type it does not know. No RMRR is among \
                  them.",
        advice: "Nothing.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-BLOCK-ZERO",
        severity: Severity::Error,
        title: "a structure of the DMAR has length 0",
        meaning: "The structures are chained by their lengths. The kernel stops at such a one \
                  without a word (dmar_walk_remapping_entries): what precedes it is used, what \
                  follows is not.",
        advice: "Look for a damaged copy. If the machine's own table says so, report it to the \
                 board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-BLOCK-END",
        severity: Severity::Error,
        title: "a structure reaches past the end of the DMAR",
        meaning: "The kernel gives up a table of which a structure claims more bytes than there \
                  are (dmar_walk_remapping_entries: \"Record passes table end\"), and with it the \
                  IOMMU.",
        advice: "Most often the copy is cut: take the table anew. If the length in the machine's \
                 own table is wrong, report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-SCOPE-ZERO",
        severity: Severity::Error,
        title: "a device scope has length 0",
        meaning: "The device scopes of a structure are chained by their lengths, and the kernel \
                  does not check for 0 (dmar_alloc_dev_scope): it would stay on such a scope for \
                  ever while it boots.",
        advice: "A machine that runs did not boot with this table. Look for a damaged copy; if it \
                 was edited for an override, mend the length.",
        switches: NONE,
    },
    Explanation {
        code: "DMAR-SCOPE-END",
        severity: Severity::Warning,
        title: "a device scope reaches past the end of its structure",
        meaning: "The kernel takes a scope for what its own length says, with bytes that belong \
                  to the next structure, and may find a device that nobody meant, or none.",
        advice: "Report it to the board's vendor, with the offset.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-END-BELOW-BASE",
        severity: Severity::Warning,
        title: "an RMRR ends before it begins",
        meaning: "The last byte of an RMRR must not be below its first. The kernel complains \
                  (rmrr_sanity_check: \"Your BIOS is broken; bad RMRR\") and keeps it: nothing is \
                  mapped, but the devices that it names count as having a direct region, and are \
                  refused to VFIO.",
        advice: "Report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-UNALIGNED",
        severity: Severity::Warning,
        title: "an RMRR is not whole pages",
        meaning: "An RMRR has to begin and end at the border of a page, and to have one page at \
                  least. The kernel complains (rmrr_sanity_check: \"Your BIOS is broken; bad \
                  RMRR\") and uses it all the same. Some BIOSes leave one of 0 to 0, which means \
                  nothing, in the table; the devices that it names are refused to VFIO all the \
                  same, unless they are USB controllers or display devices.",
        advice: "Report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-NO-SCOPE",
        severity: Severity::Warning,
        title: "an RMRR for nobody",
        meaning: "An RMRR applies to the devices that its device scopes name. Without one the \
                  kernel keeps it and uses it for no device.",
        advice: "Nothing: it blocks nothing.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-SCOPE-TYPE",
        severity: Severity::Warning,
        title: "a device scope that is no PCI function",
        meaning: "Of the device scopes of an RMRR the kernel heeds two types, PCI functions (1) and \
                  PCI bridges (2). It passes over all others (dmar_insert_dev_scope), devices of \
                  the ACPI name space among them.",
        advice: "Nothing: the scope blocks nothing.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-SCOPE-EMPTY",
        severity: Severity::Warning,
        title: "a device scope without a path",
        meaning: "A device scope names a bus and a path of one step at least. One without a step is \
                  nobody's.",
        advice: "Report it to the board's vendor: it may have been meant for a device.",
        switches: NONE,
    },
];
