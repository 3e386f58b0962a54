//! What each code means and what to do, as data.

use super::{Severity, dmar_explanations, host_explanations};

/// The long text of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code, which stays.
    pub code: &'static str,
    /// How much a finding of the code matters.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What it means, paragraphs separated by a blank line.
    pub meaning: &'static str,
    /// What to do, paragraphs separated by a blank line.
    pub advice: &'static str,
    /// BIOS settings that users reported to have removed what it is about.
    pub switches: &'static [ReportedSwitch],
}

/// A BIOS setting that somebody reported to have removed entries from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedSwitch {
    /// The board it was reported for.
    pub board: &'static str,
    /// The setting and its value.
    pub setting: &'static str,
    /// What kind of source says so.
    pub source: &'static str,
}

pub(super) const NONE: &[ReportedSwitch] = &[];

/// The settings reported so far. A report is no promise: another board or BIOS may not have the
/// setting, or keep the entries whatever it says.
const SWITCHES: &[ReportedSwitch] = &[
    ReportedSwitch {
        board: "Gigabyte B650 AORUS ELITE AX rev. 1.2, BIOS FC3",
        setting: "Kernel DMA Protection Indicator = Off",
        source: "one user's published notes; a BIOS update alone had changed nothing",
    },
    ReportedSwitch {
        board: "Gigabyte B850 GAMING WIFI6",
        setting: "Kernel DMA Protection Indicator and Pre-boot DMA Protection = Disabled",
        source: "one user's published notes",
    },
    ReportedSwitch {
        board: "board not named",
        setting: "Pre-boot DMA Protection = Disabled, hidden until IOMMU is set from Auto to \
                  Enabled",
        source: "README of a public project",
    },
];

/// The explanation of a code, in upper or lower case.
#[must_use]
pub fn explain(code: &str) -> Option<&'static Explanation> {
    all_codes().find(|known| known.code.eq_ignore_ascii_case(code))
}

/// Every code, in the order in which they are best read.
pub fn all_codes() -> impl Iterator<Item = &'static Explanation> {
    let of_tables = EXPLANATIONS.iter().chain(dmar_explanations::EXPLANATIONS);
    of_tables.chain(host_explanations::EXPLANATIONS)
}

const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "IVRS-CHECKSUM",
        severity: Severity::Error,
        title: "the table's checksum is wrong",
        meaning: "All bytes of an ACPI table must add up to 0. The AMD IOMMU driver checks that \
                  before anything else (early_amd_iommu_init) and, where it does not hold, does \
                  not initialise the IOMMU at all: no IOMMU groups, no passthrough, and nothing \
                  of this table takes effect.",
        advice: "If the table was copied by hand, typed or edited, copy it anew: a lost or \
                 changed byte looks the same. If it comes from the machine as it is \
                 (/sys/firmware/acpi/tables/IVRS), the firmware is broken: update the BIOS, or \
                 report it to the board's vendor. The kernel log then says \"IVRS invalid \
                 checksum\".",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-TRAILING",
        severity: Severity::Note,
        title: "there is more data than the header says",
        meaning: "The header gives the table's length, and the kernel looks at no byte behind it. \
                  Some dumps are padded to a whole page; then this means nothing. But it is also \
                  what a header with too small a length looks like, whose last blocks the kernel \
                  never sees.",
        advice: "Compare with a fresh copy of /sys/firmware/acpi/tables/IVRS, which ends where \
                 the header says.",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-NO-IVHD",
        severity: Severity::Error,
        title: "the table names no IOMMU",
        meaning: "An IVRS without an IVHD block describes no IOMMU. The kernel has none then, and \
                  so no groups and no passthrough.",
        advice: "See whether the IOMMU is switched off in the BIOS (it may be called IOMMU or AMD-Vi), \
                 and whether the dump is whole.",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-IVHD-TYPE",
        severity: Severity::Error,
        title: "the kernel takes the wrong block type for the IOMMU's",
        meaning: "Firmware describes each IOMMU up to three times, in IVHD blocks of type 0x10, \
                  0x11 and 0x40. The kernel uses one type only: that of the last block whose devid \
                  is the same as the first block's (get_highest_supported_ivhd_type). The search \
                  does not skip IVMD blocks, so an IVMD for the IOMMU's own devid, or a first \
                  block that is none, leads it astray; then no IOMMU is initialised.",
        advice: "This is a defect of the firmware together with a weakness of the kernel. Report \
                 it to the board's vendor, with the offsets.",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-BLOCK-ZERO",
        severity: Severity::Error,
        title: "a block has length 0",
        meaning: "The blocks of the table are chained by their lengths. The kernel does not check \
                  for 0 and would stay on such a block for ever: the machine hangs early while it \
                  boots. What follows the block cannot be found.",
        advice: "A machine that runs did not boot with this table. Look for a damaged copy; if it \
                 was edited for an override, mend the length.",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-BLOCK-END",
        severity: Severity::Error,
        title: "a block reaches past the end of the table",
        meaning: "The length of the last block leads past the end that the header gives. The \
                  kernel does not check and reads whatever lies in memory behind the table, so \
                  what it makes of the block cannot be told from here.",
        advice: "Most often the copy is cut: take the table anew. If the length in the machine's \
                 own table is wrong, report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-BLOCK-UNKNOWN",
        severity: Severity::Note,
        title: "a block of a type that the kernel does not know",
        meaning: "The kernel steps over such a block by its length. Type 0x51 is seen on laptops: \
                  a byte for byte copy of a 0x21 block but for the type, meant for other software \
                  than Linux. It is not counted as an IVMD block, and it blocks nothing.",
        advice: "Nothing is to be done.",
        switches: NONE,
    },
    Explanation {
        code: "IVRS-DMA-PROTECTION",
        severity: Severity::Note,
        title: "this looks like pre-boot DMA protection",
        meaning: "IVinfo bit 1 says that the firmware used the IOMMU to protect memory from DMA \
                  before the system was up. A firmware that does so has to let some of its own \
                  buffers through, and asks for that in exclusion ranges, which it then leaves in \
                  the table. In a collection of 152 different tables from real machines all 18 \
                  with IVMD blocks had the bit set, and none of the 104 with the bit clear had \
                  one. So the entries are consistent with this protection; that it is their \
                  cause is not proven.",
        advice: "Look in the BIOS for a setting about DMA protection (below: what users \
                 reported). Afterwards decode the table again: only the table tells whether the \
                 entries are gone.\n\nWhat it costs: without it a device can read and write \
                 memory by DMA until the operating system takes over; fwupd rates the machine \
                 lower; and some laptops need it, or a Pluton device in the table, to suspend. \
                 Whether that matters is yours to decide.\n\nWhere there is no such setting, or \
                 it changes nothing, the board's vendor is the one to ask.",
        switches: SWITCHES,
    },
    Explanation {
        code: "IVHD-NO-DEVICES",
        severity: Severity::Error,
        title: "an IVHD block names no device",
        meaning: "The kernel looks for the highest devid in every IVHD block that it uses. Where \
                  a block has none, it gives up on the AMD IOMMU as a whole.",
        advice: "Report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVHD-ENTRY-LOOP",
        severity: Severity::Error,
        title: "a device entry has no length",
        meaning: "The length of a device entry follows from its type. For types from 0x80 on, \
                  other than 0xf0, the kernel computes 0 and would stay on the entry for ever.",
        advice: "A machine that runs did not boot with this table: look for a damaged copy.",
        switches: NONE,
    },
    Explanation {
        code: "IVHD-ENTRY-CUT",
        severity: Severity::Error,
        title: "the table ends inside a device entry",
        meaning: "An entry is longer than what is left of the table. The kernel does not check \
                  and reads on in whatever lies behind.",
        advice: "Take the table anew; the copy may be cut.",
        switches: NONE,
    },
    Explanation {
        code: "IVHD-ENTRY-UNKNOWN",
        severity: Severity::Note,
        title: "a device entry of a type that the kernel does not know",
        meaning: "The kernel steps over it. Devices that are named only there have no IOMMU.",
        advice: "Nothing is to be done, unless a device lacks an IOMMU group.",
        switches: NONE,
    },
    Explanation {
        code: "IVHD-RANGE",
        severity: Severity::Warning,
        title: "a range of device entries is not whole",
        meaning: "A range takes two entries, its first and its last device. A start without an \
                  end, or a range whose last device comes before its first, hands no device to \
                  the IOMMU; for an end without a start the kernel goes on from the last start \
                  of the block, or from devid 0. Devices that no entry names have no IOMMU and no \
                  group.",
        advice: "If a device lacks its IOMMU group, report this to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVHD-ACPI-BLOCK",
        severity: Severity::Warning,
        title: "an ACPI device is named where the kernel does not heed it",
        meaning: "Entries of type 0xf0 name devices by their ACPI id. The kernel takes them in \
                  blocks of type 0x40 only and logs \"Invalid IVHD device type\" elsewhere.",
        advice: "Report it to the board's vendor if that device misbehaves.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-EXCLUSION",
        severity: Severity::Note,
        title: "an exclusion range, which Linux turns into a 1:1 map",
        meaning: "With flag 0x08 the firmware asks that the IOMMU leave accesses to this memory \
                  alone. The hardware has registers for one such range, and firmware has often \
                  asked for several; so Linux makes a unity map for reading and writing of every \
                  one (init_unity_map_range). For the kernel's core that is a region of type \
                  \"direct\", and from Linux 6.6 on no device with such a region may be handed to \
                  VFIO. The refusal therefore says \"1:1 IOMMU mapping\" although the firmware \
                  never asked for a unity map.",
        advice: "See IVRS-DMA-PROTECTION for the most usual origin. Kernel parameters such as \
                 iommu=pt do not help, for the refusal comes before they matter.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-WIDE",
        severity: Severity::Warning,
        title: "an entry covers whole buses",
        meaning: "The entry is for every device of one or more buses, whatever is plugged in. \
                  Hardly ever do all of them need the memory; but the kernel has to believe it, \
                  and refuses each of them to VFIO: graphics card, network, storage, bridges. \
                  Another card in the same slot meets the same entry.",
        advice: "A device on a bus outside the range is not covered, so another slot may do where \
                 its bus number is higher. Otherwise only firmware without the entry helps: a \
                 BIOS setting or update. The board's vendor needs the entry's offset and bytes.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-BEYOND-LAST",
        severity: Severity::Warning,
        title: "an entry names devices behind the last one of its segment",
        meaning: "The IVHD blocks say up to which devid there may be devices. The entry goes \
                  beyond; what lies there has no IOMMU, and no 1:1 map either.",
        advice: "It blocks nothing by itself. It is a sign that the entry was not written for \
                 this board: worth a line to its vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-NO-IOMMU",
        severity: Severity::Warning,
        title: "an entry names a device without an IOMMU",
        meaning: "No IVHD block in use names the entry's device, so the device has no IOMMU, no \
                  group and no map. The entry has no effect.",
        advice: "Nothing is to be done for passthrough of other devices.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-ORDER",
        severity: Severity::Warning,
        title: "the last device comes before the first",
        meaning: "The kernel compares a device with both ends of the range and finds none that \
                  lies between them. The entry has no effect.",
        advice: "Nothing blocks because of it; report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-SEGMENT",
        severity: Severity::Warning,
        title: "an entry is for a PCI segment without an IOMMU",
        meaning: "No IVHD block in use is for the entry's segment. The kernel makes a list for \
                  that segment which no device ever reads. Tools after the older specification \
                  call bytes 8 and 9 reserved and do not show the segment.",
        advice: "Nothing blocks because of it; report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-PAGE0",
        severity: Severity::Warning,
        title: "an entry is for memory at address 0",
        meaning: "The first page of memory is hardly what a device needs; it looks like an \
                  address that was never filled in. Linux maps it all the same and refuses the \
                  device to VFIO. Xen refuses the IOMMU as a whole where the memory is not \
                  reserved.",
        advice: "Report it to the board's vendor. It may differ from boot to boot: decode the \
                 table again after the next.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-UNALIGNED",
        severity: Severity::Warning,
        title: "an entry starts inside a page",
        meaning: "The kernel rounds the start up to the next page (4 KiB), so what lies before it \
                  is not mapped, although the firmware asked for it; and the end moves up as \
                  well.",
        advice: "It blocks passthrough like any other entry. If a device reports IO page faults \
                 just below the mapped range, this is why; report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-SUBPAGE",
        severity: Severity::Note,
        title: "an entry's length is no whole number of pages",
        meaning: "The kernel rounds the length up to whole pages of 4 KiB. Lengths of 1 byte are \
                  seen in real tables: an end that was written as if it were a length.",
        advice: "It blocks passthrough like any other entry, and needs nothing else.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-EMPTY",
        severity: Severity::Warning,
        title: "an entry for no memory",
        meaning: "The length is 0, so nothing is to be mapped. Yet the kernel makes a region of \
                  it, of no length, and a device that has any region of type \"direct\" is refused \
                  to VFIO.",
        advice: "Report it to the board's vendor: the entry protects nothing and blocks all that \
                 it covers.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-WRAP",
        severity: Severity::Warning,
        title: "an entry's memory goes past the last address",
        meaning: "Start and length, rounded to pages, add up to more than 64 bits hold. The \
                  kernel's sum wraps and its region is not what the firmware wrote.",
        advice: "Look for a damaged copy; else report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-IGNORED",
        severity: Severity::Note,
        title: "an entry that the kernel ignores",
        meaning: "Neither the unity bit (0x01) nor the exclusion bit (0x08) is set. The kernel \
                  makes nothing of such a block and it blocks nothing. Some published workarounds \
                  clear exactly these bits in an override of the table.",
        advice: "Nothing is to be done. If the table is an override, remember that the firmware's \
                 own asks for more, and may have reasons.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-EXCL-UNITY",
        severity: Severity::Warning,
        title: "unity map and exclusion at once",
        meaning: "The two bits ask for different things. The kernel makes one map for reading and \
                  writing of them, whatever the read and write bits say.",
        advice: "It blocks passthrough like any other entry; report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-NO-ACCESS",
        severity: Severity::Error,
        title: "a unity map without read and write",
        meaning: "The kernel tries to map the memory with no access at all, which fails; with it \
                  fails the set-up of the IOMMU, and no device on the machine has an IOMMU group. \
                  The kernel log says \"IOMMU driver was not able to establish FW requested \
                  direct mapping\". It takes a device that the entry matches.",
        advice: "Report it to the board's vendor: the firmware takes the IOMMU from Linux.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-BLOCK-LENGTH",
        severity: Severity::Warning,
        title: "an IVMD block of an unusual length",
        meaning: "An IVMD block has 32 bytes. The kernel reads the 32 whatever the length says, \
                  and finds the next block by the length; if that is shorter, the next block \
                  begins inside this one.",
        advice: "Look for a damaged copy; else report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-DUPLICATE",
        severity: Severity::Warning,
        title: "the same entry twice",
        meaning: "Two entries ask for the same memory and the same devices. The kernel makes two \
                  regions; the second changes nothing.",
        advice: "To free a device, both would have to go. Report it to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-OVERLAP",
        severity: Severity::Warning,
        title: "two entries share memory and devices",
        meaning: "The kernel neither merges nor checks: it makes a region of each. Mapping the \
                  shared part twice is harmless where both allow the same.",
        advice: "To free a device, both would have to go.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-ACPI-OWNER",
        severity: Severity::Note,
        title: "an entry covers a device that ACPI names",
        meaning: "An IVHD block of type 0x40 gives an ACPI device (a security processor, a \
                  camera, a serial port) a devid, mostly one that no PCI function has. Where an \
                  entry is for that devid alone, that device is most likely the one for which the \
                  firmware asked for the memory. In a range it is one that may have been meant; \
                  other devices of the range are then merely caught.",
        advice: "An entry for such a device alone blocks no PCI function, unless one has the \
                 same devid. Where it is a range, ask the board's vendor whether it is meant for \
                 this device.",
        switches: NONE,
    },
];
