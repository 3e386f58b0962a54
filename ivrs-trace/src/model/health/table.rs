//! Is the IVRS table the firmware's own, or one that the kernel took from its initrd; and was such a
//! one dropped.
//!
//! `acpi_table_upgrade` (drivers/acpi/tables.c) takes tables from the initrd, logging each as found,
//! and drops all of them without another word if none fits: a table replaces another only with the
//! same signature, OEM id and OEM table id and a greater OEM revision
//! (`acpi_table_initrd_override`). One that replaces none is installed beside
//! (`acpi_table_initrd_scan`); of two IVRS tables the AMD driver takes the first
//! (`acpi_get_table("IVRS", 0, ...)`), the firmware's. The log is the only witness: such a table
//! does not taint the kernel.

use super::{Line, State, unread};
use crate::{
    escape::printable_bytes,
    host::{Conditions, Reading},
    model::{Known, Service, Table},
};

/// `TAINT_OVERRIDDEN_ACPI_TABLE` (include/linux/panic.h), by a table from elsewhere than the initrd.
const TAINT_OVERRIDDEN: u64 = 1 << 8;

pub(super) fn lines(model: &Known, conditions: &Conditions) -> Vec<Line> {
    let mut lines = Vec::new();
    let table = "/sys/firmware/acpi/tables/IVRS";
    match model.table() {
        Table::Absent => {
            if !found(conditions) {
                return lines;
            }
        }
        Table::Unreadable(_) if matches!(model.maker(), Service::Intel | Service::Other) => {
            return lines;
        }
        Table::Unreadable(why) => {
            lines.push(unread(
                Line::new("table", State::Warning, "the IVRS table cannot be read"),
                why,
                "CAP_DAC_READ_SEARCH",
            ));
            // Whether there is one at all does not show.
            if model.maker() == Service::NotKnown {
                return lines;
            }
        }
        Table::Malformed(error) => lines.push(
            Line::new("table", State::No, "the IVRS table cannot be decoded")
                .from(format!("{table}: {error}")),
        ),
        Table::Read(read) => {
            let header = &read.0.header;
            lines.push(
                Line::new(
                    "table",
                    State::Ok,
                    format!(
                        "the IVRS table has {} IVMD block{}",
                        read.0.ivmd.len(),
                        if read.0.ivmd.len() == 1 { "" } else { "s" }
                    ),
                )
                .from(format!(
                    "{table}: OEM {:?}, table {:?}, OEM revision {:#x}, {} bytes",
                    printable_bytes(&header.oem_id).trim_end(),
                    printable_bytes(&header.oem_table_id).trim_end(),
                    header.oem_revision,
                    read.0.bytes().len()
                )),
            );
        }
    }
    lines.push(origin(conditions));
    lines
}

/// Whether the log tells of an IVRS in the initrd.
fn found(conditions: &Conditions) -> bool {
    conditions
        .kernel_log
        .value()
        .into_iter()
        .flatten()
        .any(|line| line.contains("IVRS ACPI table found"))
}

fn origin(conditions: &Conditions) -> Line {
    let log = match &conditions.kernel_log {
        Reading::Read(log) => log,
        Reading::Absent => {
            return Line::new("table-origin", State::Unknown, UNKNOWN)
                .from("/dev/kmsg is not there");
        }
        Reading::Unreadable(why) => {
            let line = Line::new("table-origin", State::Unknown, UNKNOWN);
            return unread(line, why, "CAP_SYSLOG");
        }
    };
    let of = |parts: &'static [&'static str]| {
        let line = move |line: &&String| parts.iter().all(|part| line.contains(part));
        log.iter().find(line).map(|line| format!("kernel log: {line}"))
    };
    let found = of(&["IVRS ACPI table found in initrd"]);
    if let Some(replaced) = of(&["Table Upgrade: override [IVRS"]) {
        let line = Line::new(
            "table-origin",
            State::Warning,
            "the IVRS table in effect is not the firmware's own: it came from the initrd",
        );
        return found.into_iter().fold(line, Line::from).from(replaced).then(
            "a table that asks for less may free devices whose memory the firmware still uses; to \
             see the firmware's own, boot without that part of the initrd",
        );
    }
    let bad = log.iter().find(|line| {
        line.contains("ACPI OVERRIDE: ") && line.to_ascii_lowercase().contains("ivrs")
    });
    if let Some(bad) = bad {
        return dropped("the kernel could not use it")
            .from(format!("kernel log: {bad}"))
            .then("make the table whole: its length as its header says it, its checksum right");
    }
    if let Some(found) = found {
        let line = |why: &str| dropped(why).from(found.clone());
        if let Some(locked) = of(&["ignoring table override"]) {
            return line("the kernel is locked down").from(locked).then(
                "under Secure Boot or lockdown= the kernel takes no tables from its initrd; what \
                 that protects is lost with it",
            );
        }
        if let Some(beside) = of(&["Table Upgrade: install [IVRS"]) {
            return line("it does not name the firmware's table, so it was put beside that")
                .from(beside)
                .then("give it the OEM id and the OEM table id of the firmware's table");
        }
        return line("the kernel says no more of it").then(
            "give it the OEM id and OEM table id of the firmware's table, and a greater OEM \
             revision: it is dropped without a word if that is not greater",
        );
    }
    let tainted = conditions.tainted.value().is_some_and(|mask| mask & TAINT_OVERRIDDEN != 0);
    if tainted {
        return Line::new("table-origin", State::Unknown, UNKNOWN)
            .from("/proc/sys/kernel/tainted has bit 8: some ACPI table was replaced, not by the initrd")
            .then("look into the kernel's log: it says which");
    }
    // A ring: what was first in it is lost first.
    if log.iter().any(|line| line.contains("Linux version ")) {
        Line::new(
            "table-origin",
            State::Ok,
            "the IVRS table is the firmware's own, as far as the kernel knows (a boot loader that \
             replaces tables leaves no trace)",
        )
        .from("kernel log, from its first line on: no IVRS was found in the initrd")
    } else {
        Line::new("table-origin", State::Unknown, UNKNOWN)
            .from("kernel log: its beginning is lost")
            .then("look right after a start, or with journalctl -k | grep 'Table Upgrade'")
    }
}

const UNKNOWN: &str = "whether the IVRS table is the firmware's own is not known";

fn dropped(why: &str) -> Line {
    let message =
        format!("an IVRS table in the initrd was dropped, the firmware's own is in effect: {why}");
    Line::new("table-origin", State::No, message)
}
