//! The lines of the kernel's log that bear on tables, the IOMMU and lockdown.
//!
//! Only those are kept: the rest of the log is nobody's business.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// What a line has that is kept. The first line of a boot is among them, by which a log that has lost
/// its beginning can be told.
const KEPT: [&str; 12] = [
    "Linux version ",
    "ACPI table found in initrd",
    "Table Upgrade: ",
    "ACPI OVERRIDE: ",
    "ignoring table override",
    "table override, new table",
    "nterrupt remapping",
    "IRQ remapping",
    "AMD-Vi: Unable",
    "AMD-Vi: Disabling",
    "IOMMU disabled",
    "Kernel is locked down",
];
/// Lines that are kept at most.
const MAX_LINES: usize = 512;
/// Characters of a line that are kept at most.
const MAX_LINE: usize = 400;
/// Records that are read at most: more than any log buffer holds.
const MAX_RECORDS: usize = 1 << 20;
/// `O_NONBLOCK` (include/uapi/asm-generic/fcntl.h): the log has no end at which a reader stops.
const NONBLOCK: i32 = 0o4000;

/// The lines worth keeping of a log in text: `dmesg`'s, or records of `/dev/kmsg`.
pub(super) fn kept(text: &str) -> String {
    let mut lines = String::new();
    let worth = text.lines().filter(|line| KEPT.iter().any(|part| line.contains(part)));
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
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, message)) => message,
        None => line,
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
}
