//! The lines of the kernel's log that bear on tables, the IOMMU and lockdown.
//!
//! Only those are kept: the rest of the log is nobody's business.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// What a line has that is kept: the messages of drivers/iommu/amd, drivers/iommu/intel (before 4.2
/// in small letters), drivers/vfio, and of BARs that somebody else has. The first line of a boot is
/// among them, by which a log that has lost its beginning can be told. docs/copy-a-host.sh keeps the
/// same.
const KEPT: [&str; 24] = [
    "Linux version ",
    "ACPI table found in initrd",
    "Table Upgrade: ",
    "ACPI OVERRIDE: ",
    "ignoring table override",
    "table override, new table",
    "nterrupt remapping",
    "IRQ remapping",
    "irq remapping",
    "has no mapping iommu",
    "chipset that contains an erratum",
    "IOAPIC",
    "x2apic",
    "AMD-Vi: ",
    "DMAR",
    "dmar: ",
    "IOMMU disabled",
    "ivrs_",
    "Firmware has requested this device",
    "platform RMRR requirement",
    "vfio",
    "can't reserve",
    "MSI interrupts are not secure",
    "Kernel is locked down",
];
/// What a line has that is not kept nevertheless: what fills a log, and the kernel's command line,
/// which may hold secrets.
const DROPPED: [&str; 8] = [
    "ommand line: ",
    "Event logged",
    "[DMA ",
    "DEV_SELECT",
    "DEV_ALIAS",
    "DEV_RANGE_END",
    "DEV_EXT",
    "relaying device request",
];
/// Lines that are kept at most.
const MAX_LINES: usize = 2048;
/// Characters of a line that are kept at most.
const MAX_LINE: usize = 400;
/// Records that are read at most: more than any log buffer holds.
const MAX_RECORDS: usize = 1 << 20;
/// `O_NONBLOCK` (include/uapi/asm-generic/fcntl.h): the log has no end at which a reader stops.
const NONBLOCK: i32 = 0o4000;

/// The lines worth keeping of a log in text: `dmesg`'s, or records of `/dev/kmsg`.
pub(super) fn kept(text: &str) -> String {
    let mut lines = String::new();
    let has = |line: &str, parts: &[&str]| parts.iter().any(|part| line.contains(part));
    let worth = text.lines().filter(|line| has(line, &KEPT) && !has(line, &DROPPED));
    for line in worth.take(MAX_LINES) {
        lines.extend(message(line).chars().take(MAX_LINE));
        lines.push('\n');
    }
    lines
}

/// The message of a line, without `6,12,345,-;` or `[    1.234567] ` in front.
fn message(line: &str) -> &str {
    let prefix = |c: char| c.is_ascii_digit() || ",-c".contains(c);
    match line.split_once(';') {
        Some((before, message)) if before.chars().all(prefix) => return message,
        _ => {}
    }
    // Seconds, and before the message perhaps the caller ([T1], [C0]); or with `dmesg -T` a date. A
    // message may begin with a bracket of its own: `[Firmware Bug]: `.
    let is_time = |text: &str| {
        text.chars().all(|c| c.is_ascii_digit() || " .TC][".contains(c))
            || ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "]
                .iter()
                .any(|day| text.starts_with(day))
    };
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((time, message)) if is_time(time) => message,
        _ => line,
    }
}

/// The lines worth keeping of the running kernel's log. It takes `CAP_SYSLOG` where
/// `kernel.dmesg_restrict` is set.
pub(super) fn of_kernel(path: &Path) -> io::Result<String> {
    let mut log = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let mut lines = String::new();
    // A record is never longer (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h), and each read gives
    // one.
    let mut record = [0; 8192];
    for _ in 0..MAX_RECORDS {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                lines.push_str(&kept(text.lines().next().unwrap_or_default()));
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => break,
                // Older records were overwritten meanwhile.
                io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(kept(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_out_of_both_forms_and_the_rest_is_left() {
        let text = "\
            [    0.000000] Linux version 6.12.0 (a@b)\n\
            6,3,0,-;ACPI: IVRS ACPI table found in initrd [kernel/firmware/acpi/ivrs.aml][0x118]\n\
            [    0.000000] Command line: secret=1\n\
            [    2.656922] AMD-Vi: Interrupt remapping enabled\n";
        assert_eq!(
            kept(text),
            "Linux version 6.12.0 (a@b)\n\
             ACPI: IVRS ACPI table found in initrd [kernel/firmware/acpi/ivrs.aml][0x118]\n\
             AMD-Vi: Interrupt remapping enabled\n"
        );
        assert_eq!(kept(&kept(text)), kept(text));
    }

    #[test]
    fn every_message_about_remapping_and_binding_is_kept() {
        for time in ["[    0.297481] ", "[    0.1][    T1] ", "[Sat Nov 29 10:02:03 2014] ", ""] {
            let line = format!("{time}[Firmware Bug]: AMD-Vi: IOAPIC[8] not in IVRS table");
            assert_eq!(kept(&line), "[Firmware Bug]: AMD-Vi: IOAPIC[8] not in IVRS table\n");
        }
        for line in [
            "[Firmware Bug]: AMD-Vi: IOAPIC[7] not in IVRS table",
            "AMD-Vi: [Firmware Bug]: : No southbridge IOAPIC found",
            "AMD-Vi: Disabling interrupt remapping due to BIOS Bug(s)",
            "AMD-Vi: Command-line override present for IOAPIC id 7 - ignoring",
            "AMD-Vi:   DEV_SPECIAL(IOAPIC[0])\t\tdevid: 00:14.0",
            "DMAR-IR: [Firmware Bug]: ioapic 2 has no mapping iommu, interrupt remapping will be \
             disabled",
            "DMAR-IR: Not enabling interrupt remapping",
            "Not enabling interrupt remapping",
            "on a chipset that contains an erratum making that",
            "DMAR: IOMMU enabled",
            "vfio-pci 0000:c3:00.0: BAR 0: can't reserve [mem 0x2800000000-0x2fffffffff]",
            "vfio-pci: probe of 0000:01:00.0 failed with error -22",
            "vfio_iommu_type1_attach_group: No interrupt remapping support.",
        ] {
            assert_eq!(kept(line), format!("{line}\n"));
        }
        for line in [
            "Kernel command line: vfio-pci.ids=10de:2684 secret=1",
            "AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000d]",
            "DMAR: [DMA Read] Request device [00:02.0] fault addr 0",
            "AMD-Vi:   DEV_SELECT\t\t\t devid: 00:02.0 flags: 00",
        ] {
            assert_eq!(kept(line), "");
        }
    }

    /// The script asks grep for what is kept here and nothing else.
    #[test]
    fn the_script_that_copies_a_host_keeps_the_same_lines() {
        let script = include_str!("../../../docs/copy-a-host.sh");
        let list = |name: &str| {
            let (_, rest) = script.split_once(&format!("{name}='")).unwrap();
            rest.split('\'').next().unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        // It has no way to write this one in quotes.
        let written = |part: &&str| part.replace("can't", "can.t");
        let kept: Vec<String> = KEPT.iter().map(written).collect();
        assert_eq!(list("kept"), kept);
        assert_eq!(list("dropped"), DROPPED.map(|part| part.replace('[', ".")));
    }
}
