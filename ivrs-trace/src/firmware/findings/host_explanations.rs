//! What the codes mean that need a host: what `check` adds to the findings about the table.

use super::{
    Severity,
    explanations::{Explanation, NONE},
};

pub(super) const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        code: "IVMD-ABSENT-DEVICE",
        severity: Severity::Warning,
        title: "an entry for a device that this host does not have",
        meaning: "No PCI function of the host is among the devices of the entry, and the table \
                  names no ACPI device, IO-APIC or timer there either. The kernel keeps the entry \
                  all the same: a device that appears there later, by hotplug or after a change \
                  of slots, is refused to VFIO.",
        advice: "It blocks nothing now. Bus numbers follow from what is plugged in, so firmware \
                 that wrote the entry for another set of cards can miss its device: if one \
                 misbehaves, report the entry to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "IVMD-NOT-RESERVED",
        severity: Severity::Warning,
        title: "an entry for memory that is not reserved",
        meaning: "Memory that a device is to use at all times has to be kept from the operating \
                  system, and the specification wants such memory reserved in the firmware's \
                  memory map. Here the map lists it as ordinary memory, or not at all: the \
                  kernel may give the same bytes to programs, while the entry lets every device \
                  that it covers write to them. Linux does not check this; Xen does, and gives up \
                  the IOMMU.",
        advice: "Report it to the board's vendor with the line of the map. The class is as \
                 /proc/iomem has it (read as root), or /sys/firmware/memmap where that cannot be \
                 read; where neither can, nothing is said.",
        switches: NONE,
    },
    Explanation {
        code: "no-iommu-groups",
        severity: Severity::Error,
        title: "the host has no IOMMU groups",
        meaning: "VFIO takes devices by their IOMMU group. Without an IOMMU that works, or with \
                  one that is switched off, the kernel makes no groups, and there is nothing to \
                  take or to judge.",
        advice: "Switch the IOMMU on in the BIOS (IOMMU, AMD-Vi, SVM, VT-d), and take amd_iommu=off, \
                 iommu=off or the like from the kernel command line. On Intel intel_iommu=on may \
                 be needed. If it is on, the kernel log says why the kernel gave it up; \
                 `ivrs-trace decode` shows whether the table is the reason.",
        switches: NONE,
    },
    Explanation {
        code: "groups-unreadable",
        severity: Severity::Error,
        title: "the IOMMU groups could not be read",
        meaning: "/sys/kernel/iommu_groups is where the kernel shows its groups, their devices \
                  and reserved regions. Without it no device can be judged.",
        advice: "Everybody may read it on a running host, so sysfs may not be mounted, or a \
                 container hides it. Of a copied tree: copy it anew, with its links.",
        switches: NONE,
    },
    Explanation {
        code: "no-iommu-shown",
        severity: Severity::Warning,
        title: "there are groups, but no IOMMU is shown",
        meaning: "/sys/class/iommu lists the IOMMUs, and each device has a link to the one that \
                  serves it. Without those it is not known which devices AMD's IOMMU serves, and \
                  so not which entries of the table are meant for them. Groups without an IOMMU \
                  also come from VFIO's own no-IOMMU mode.",
        advice: "Of a copied tree: copy sys/class/iommu and the links of the devices as well.",
        switches: NONE,
    },
    Explanation {
        code: "not-amd",
        severity: Severity::Warning,
        title: "the host's IOMMU is neither AMD's nor Intel's",
        meaning: "The same refusal exists with every vendor, but the wish for a 1:1 map comes \
                  from another table than the two that are read here. Which devices are blocked \
                  is told from the regions that the kernel shows.",
        advice: "See the documentation of the platform for how its firmware reserves memory for \
                 devices.",
        switches: NONE,
    },
    Explanation {
        code: "arm-regions",
        severity: Severity::Warning,
        title: "an ARM host, whose table of reserved memory is not read here",
        meaning: "On ARM direct regions come from RMR nodes of the ACPI table IORT (revision E.b \
                  and later; iort_iommu_get_resv_regions, drivers/acpi/arm64/iort.c, since 6.0), \
                  or, on a system described by a device tree, from a reserved-memory node with \
                  iommu-addresses that a device refers to by memory-region \
                  (of_iommu_get_resv_regions, drivers/iommu/of_iommu.c, since 6.3). The refusal \
                  is the same as on AMD and Intel, from 6.6 on. Which groups are blocked, and by \
                  which memory, is told from the regions that the kernel shows; the node behind a \
                  region is not named.",
        advice: "With ACPI, decode the IORT (`acpidump -n IORT -b`, then `iasl -d iort.dat`) and \
                 look for the node \"RMR\" with the address of the region: its id mapping leads to \
                 the device, and its flags say whether the region may be remapped (then it is \
                 direct-relaxable, and no reason to refuse). With a device tree, look for the \
                 address below /proc/device-tree/reserved-memory. The board's vendor needs \
                 that node.",
        switches: NONE,
    },
    Explanation {
        code: "dmar-absent",
        severity: Severity::Warning,
        title: "an Intel IOMMU without a DMAR table to read",
        meaning: "The kernel has found an Intel IOMMU, so there was a table when it started; but \
                  /sys/firmware/acpi/tables has none. Verdicts are made from the regions that the \
                  kernel shows, without the RMRR structures behind them.",
        advice: "If this is a copied tree, copy the file as root and put it in its place.",
        switches: NONE,
    },
    Explanation {
        code: "dmar-unreadable",
        severity: Severity::Warning,
        title: "the DMAR table may not be read",
        meaning: "/sys/firmware/acpi/tables/DMAR is for root only. The regions of each group, \
                  which everybody may read, tell whether a group is blocked; which RMRR does it, \
                  and which member of a group, they do not tell.",
        advice: "Run it as root (sudo).",
        switches: NONE,
    },
    Explanation {
        code: "dmar-malformed",
        severity: Severity::Warning,
        title: "what should be the DMAR table is none",
        meaning: "The bytes in /sys/firmware/acpi/tables/DMAR do not begin as such a table does, \
                  or are too few. Verdicts are made without it.",
        advice: "Take the copy anew. `ivrs-trace decode` says where it stops making sense.",
        switches: NONE,
    },
    Explanation {
        code: "dmar-refused",
        severity: Severity::Warning,
        title: "the kernel cannot use this DMAR table",
        meaning: "The host has a table but no Intel IOMMU in use, and the table has a defect for \
                  which the kernel gives the IOMMU up. That is likely the reason; the kernel log \
                  has the last word, because the IOMMU may as well be switched off.",
        advice: "`ivrs-trace decode` shows the defect with its offset. Report it to the board's \
                 vendor.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-ABSENT-DEVICE",
        severity: Severity::Warning,
        title: "an RMRR for a device that this host does not have",
        meaning: "None of the RMRR's device scopes leads to a PCI function of this host. A scope \
                  begins on a bus and goes over bridges; a card that is not plugged in leaves it \
                  without an end. A device that appears there later is refused to VFIO.",
        advice: "It blocks nothing now.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-NOT-RESERVED",
        severity: Severity::Warning,
        title: "an RMRR for memory that is not reserved",
        meaning: "Memory that a device is to use at all times has to be kept from the operating \
                  system. Here the memory map lists it as ordinary memory, or not at all. Linux \
                  complains (\"No firmware reserved region can cover this RMRR\", \
                  arch_rmrr_sanity_check) and uses the RMRR all the same.",
        advice: "Report it to the board's vendor with the line of the map. The class is as \
                 /proc/iomem has it (read as root), or /sys/firmware/memmap where that cannot be \
                 read; where neither can, nothing is said.",
        switches: NONE,
    },
    Explanation {
        code: "RMRR-SCOPE-MISMATCH",
        severity: Severity::Error,
        title: "a device scope of the wrong kind",
        meaning: "An RMRR names a bridge as a plain function, or a plain function as a bridge. \
                  The kernel takes that for an error (dmar_insert_dev_scope: \"Device scope type \
                  does not match\") and, at boot, gives up the IOMMU for it.",
        advice: "Report it to the board's vendor. What kind a function is, is told here by its \
                 class.",
        switches: NONE,
    },
    Explanation {
        code: "rmrr-relaxable",
        severity: Severity::Note,
        title: "an RMRR that does not keep VFIO away",
        meaning: "For USB controllers and display devices the kernel takes an RMRR as a wish for \
                  the time until a driver has the device: it maps the memory, shows it as \
                  direct-relaxable, and lets VFIO take the map away \
                  (device_rmrr_is_relaxable, drivers/iommu/intel/iommu.c, since 5.3). The class \
                  of the device itself counts, not that of a bridge that the RMRR names.",
        advice: "Nothing: such a device is not refused for it.",
        switches: NONE,
    },
    Explanation {
        code: "ivrs-absent",
        severity: Severity::Warning,
        title: "an AMD IOMMU without an IVRS table to read",
        meaning: "The kernel has found an AMD IOMMU, so there was a table when it started; but \
                  /sys/firmware/acpi/tables has none. Verdicts are made from the regions that the \
                  kernel shows, without the entries behind them.",
        advice: "If this is a copied tree, copy the file as root and put it in its place.",
        switches: NONE,
    },
    Explanation {
        code: "ivrs-unreadable",
        severity: Severity::Warning,
        title: "the IVRS table may not be read",
        meaning: "/sys/firmware/acpi/tables/IVRS is for root only. The regions of each group, \
                  which everybody may read, tell whether a group is blocked; which entry does it, \
                  and which member of a group, they do not tell.",
        advice: "Run it as root (sudo).",
        switches: NONE,
    },
    Explanation {
        code: "ivrs-malformed",
        severity: Severity::Warning,
        title: "what should be the IVRS table is none",
        meaning: "The bytes in /sys/firmware/acpi/tables/IVRS do not begin as such a table does, \
                  or are too few. Verdicts are made without it.",
        advice: "Take the copy anew. `ivrs-trace decode` says where it stops making sense.",
        switches: NONE,
    },
    Explanation {
        code: "ivrs-refused",
        severity: Severity::Warning,
        title: "the kernel cannot use this IVRS table",
        meaning: "The host has a table but no AMD IOMMU in use, and the table has a defect for \
                  which the kernel gives the IOMMU up. That is likely the reason; the kernel log \
                  has the last word, because the IOMMU may as well be switched off.",
        advice: "`ivrs-trace decode` shows the defect with its offset. Report it to the board's \
                 vendor.",
        switches: NONE,
    },
    Explanation {
        code: "ivmd-without-access",
        severity: Severity::Warning,
        title: "an entry without access cost the host its IOMMU",
        meaning: "The host has a table but no AMD IOMMU in use, and an entry of the table asks \
                  for a unity map that allows neither reading nor writing. The kernel cannot make \
                  one and gives up the IOMMU if a device matches (see IVMD-NO-ACCESS).",
        advice: "Look for \"not able to establish FW requested direct mapping\" in the kernel log, \
                 and report the entry to the board's vendor.",
        switches: NONE,
    },
    Explanation {
        code: "no-btf",
        severity: Severity::Warning,
        title: "the kernel does not describe its types",
        meaning: "Whether a kernel refuses devices with direct regions shows in its BTF \
                  (/sys/kernel/btf/vmlinux), by the member dev_iommu.require_direct. Its version \
                  does not tell below 6.6, because distributions have taken the change to older \
                  kernels.",
        advice: "Use a kernel built with CONFIG_DEBUG_INFO_BTF, as those of all large \
                 distributions are. A verdict \"unknown\" means here: blocked, if the kernel is \
                 6.6 or newer.",
        switches: NONE,
    },
    Explanation {
        code: "require-direct",
        severity: Severity::Note,
        title: "how it is known whether a copied kernel refuses",
        meaning: "Of a host that was copied, the kernel cannot be asked. Its BTF in the tree is \
                  the proof; else a version from 6.6 on is, as mainline refuses since and has not \
                  stopped. Older ones may or may not: distributions have backported it.",
        advice: "To be sure, copy sys/kernel/btf/vmlinux with the tree.",
        switches: NONE,
    },
    Explanation {
        code: "refused-from-6.6",
        severity: Severity::Warning,
        title: "a newer kernel would refuse devices that this one hands out",
        meaning: "This kernel has no dev_iommu.require_direct, so it gives devices with direct \
                  regions to VFIO. They lose their 1:1 map then: what firmware meant by it does \
                  not work while a guest has the device. From 6.6 on Linux refuses that, and an \
                  upgrade stops the virtual machine with \"Invalid argument\".",
        advice: "Before the upgrade, look for firmware that does not ask for it: see \
                 IVRS-DMA-PROTECTION.",
        switches: NONE,
    },
    Explanation {
        code: "relax-unity",
        severity: Severity::Warning,
        title: "the command line asks for relaxed unity maps",
        meaning: "amd_iommu=relax_unity comes from a patch that was posted in 2026 and not taken. \
                  A kernel with it reports the regions of IVMD entries as direct-relaxable, which \
                  block nothing; a kernel without it does not know the option and blocks as \
                  ever. Which of the two runs shows in the regions that it lists, and the verdicts \
                  follow those.",
        advice: "What was asked of the patch holds for its users: nobody has shown that the \
                 memory is no longer used. A device that a guest drives can then overwrite what \
                 firmware left there, or miss its own buffer.",
        switches: NONE,
    },
    Explanation {
        code: "flag-cleared",
        severity: Severity::Warning,
        title: "regions are direct, but the kernel's flag is not set",
        meaning: "The kernel sets dev_iommu.require_direct for every device with a direct region \
                  and never clears it. Here the region is listed and the flag is not set, so \
                  something else changed the kernel, such as a module that clears the flag.",
        advice: "The device is handed out while firmware may still use its memory. See which \
                 modules from outside the kernel are loaded (a taint in the kernel log).",
        switches: NONE,
    },
    Explanation {
        code: "kernel-differs",
        severity: Severity::Warning,
        title: "the kernel lists other regions than the table leads to",
        meaning: "The regions that the kernel lists for a device are not those that its rules \
                  make of the table that was read. The kernel is believed, and entries are named \
                  only where both agree.",
        advice: "The table in use may be another one (an override in the initrd), or the kernel \
                 may be patched. A bug of this program is possible as well: please report it with \
                 the table.",
        switches: NONE,
    },
    Explanation {
        code: "kernel-relaxes",
        severity: Severity::Warning,
        title: "this kernel carries an out-of-tree relaxation of unity maps",
        meaning: "AMD's driver lists every entry of the IVRS as a direct region in all released \
                  kernels. This one lists direct-relaxable ones, so it was changed: such regions \
                  are given up when VFIO takes the device, and nothing is refused. IOMMU \
                  maintainers asked for more before they would take such a change. It ignores a \
                  directive of the platform for whatever device is named, where Intel's driver \
                  does so only for kinds of devices that are known not to need it. Nobody has \
                  shown that the memory is out of use, so DMA may go on behind the firmware's \
                  back; and what then breaks is unsafe and hard to debug.",
        advice: "The verdicts are right for this kernel only: a released one refuses these \
                 devices. The board's vendor is the one who can say whether the entries are \
                 needed.",
        switches: NONE,
    },
    Explanation {
        code: "unity-differs",
        severity: Severity::Warning,
        title: "an entry of the kernel's unity map is not what the table says",
        meaning: "The kernel makes its unity map of the IVRS table when it starts and does not \
                  change it. An entry stands in the kernel at the place of one that the table \
                  gives, and is another one: the table in use at boot was not the one that is \
                  shown now, or the kernel is patched. The kernel is believed.",
        advice: "See whether an initrd overrides the table (\"ACPI: Table Upgrade\" in the kernel \
                 log). A bug of this program is possible as well: please report it with the table.",
        switches: NONE,
    },
    Explanation {
        code: "unity-only-in-kernel",
        severity: Severity::Warning,
        title: "the kernel's unity map has an entry that the table does not give",
        meaning: "As with unity-differs, table and kernel disagree; here the kernel has an entry \
                  more. It counts like any other, and what it blocks is named without an entry of \
                  the table.",
        advice: "See whether an initrd overrides the table, and whether the kernel is patched.",
        switches: NONE,
    },
    Explanation {
        code: "unity-only-in-table",
        severity: Severity::Warning,
        title: "the kernel's unity map lacks an entry that the table gives",
        meaning: "As with unity-differs, table and kernel disagree; here the kernel has an entry \
                  less. It blocks nothing while this kernel runs.",
        advice: "See whether an initrd overrides the table, and whether the kernel is patched.",
        switches: NONE,
    },
    Explanation {
        code: "unity-last-devid",
        severity: Severity::Warning,
        title: "a segment ends elsewhere in the kernel than in the table",
        meaning: "An entry for all devices (IVMD type 0x20) ends at the last device that the IVHD \
                  blocks of its segment name. The kernel has another last device than the table \
                  that is shown leads to.",
        advice: "See unity-differs.",
        switches: NONE,
    },
    Explanation {
        code: "skipped",
        severity: Severity::Note,
        title: "something was found and has no place in the picture",
        meaning: "A file or a link of the host was not what it should be, or a device was named \
                  in a group and was not to be found. It is left out of the verdicts.",
        advice: "On a running host a device may have come or gone meanwhile: try again. A copied \
                 tree may lack its links.",
        switches: NONE,
    },
];
