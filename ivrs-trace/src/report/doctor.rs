//! The health of a host in words: what was looked at, how it stands, why, and what to do.

use super::{
    Document, Style,
    document::{Kind, Text, count},
};
use crate::{
    codes::Code,
    escape::printable,
    firmware::{Fact, Finding},
    model::{
        Verdict,
        health::{DeviceFact, Health, Line, Misspelt, NotRemapped, Remapped, Remapping, State},
    },
    pci::{Bdf, Devid},
};

/// Puts what is known of drivers, BARs and remapping in words, among the lines.
#[must_use]
pub fn worded(mut health: Health) -> Health {
    health.vfio.extend(health.remapping.take().as_ref().map(remapping));
    health.vfio.extend(health.misspelt.drain(..).map(|one| misspelt(&one)));
    for device in &mut health.devices {
        // After firmware and the group, before what it is in use for.
        let of_group = |line: &Line| matches!(line.code, "device-firmware" | "device-group");
        let at = device.lines.iter().take_while(|line| of_group(line)).count();
        let bdf = device.bdf;
        let lines: Vec<Line> = device.facts.drain(..).map(|fact| of_fact(bdf, fact)).collect();
        device.lines.splice(at..at, lines);
    }
    health
}

/// The price of doing without remapping, wherever that is proposed.
const UNSAFE: &str = "allow_unsafe_interrupts=1 of vfio_iommu_type1 does without remapping; a guest \
                      can then send any interrupt to the host";

/// Whether interrupts are remapped, why not, and the cure.
fn remapping(found: &Remapping) -> Line {
    let line = Line::new("interrupt-remapping", found.state(), not_remapped(found));
    let line = evidence(found).into_iter().fold(line, |line, (file, text)| {
        line.from(if text.is_empty() { file } else { format!("{file}: {text}") })
    });
    match found.remapped {
        Remapped::No { .. } => line.then(printable(&cures(found))),
        _ => line,
    }
}

/// That they are not, as a finding on the host.
#[must_use]
pub fn remapping_finding(found: &Remapping) -> Option<Finding> {
    let Remapped::No { .. } = found.remapped else { return None };
    let message = printable(&format!("{}; {}", not_remapped(found), cures(found)));
    let facts = evidence(found).into_iter().map(|(file, text)| Fact::Line { file, text });
    Some(Finding { evidence: facts.collect(), ..Finding::new(Code::NotRemapped, message) })
}

fn not_remapped(found: &Remapping) -> &'static str {
    match &found.remapped {
        Remapped::Yes(_) => "interrupts are remapped",
        Remapped::NotShown => "interrupt remapping is not judged here",
        Remapped::Unread(_) => "whether interrupts are remapped is not known",
        Remapped::No { .. } if found.allowed.is_empty() => {
            "interrupts are not remapped, so VFIO attaches no device (VFIO_SET_IOMMU fails with \
             EPERM)"
        }
        Remapped::No { .. } => {
            "interrupts are not remapped, and an option allows VFIO without remapping: a guest can \
             send any interrupt to the host"
        }
    }
}

/// Files and what is in them.
fn evidence(found: &Remapping) -> Vec<(String, String)> {
    let path = "/proc/interrupts".to_owned();
    let mut told = match &found.remapped {
        Remapped::Yes(seen) => vec![(path, seen.clone())],
        Remapped::NotShown => vec![(path, "does not show it for this IOMMU".to_owned())],
        Remapped::Unread(why) => vec![(why.clone(), String::new())],
        Remapped::No { counted: true } => vec![(path, "none begins with IR-".to_owned())],
        Remapped::No { counted: false } => Vec::new(),
    };
    if let Some(flags) = found.x2apic_opt_out {
        told.push((
            "DMAR".to_owned(),
            format!(
                "flags {flags:#04x}, X2APIC_OPT_OUT (bit 1): x2APIC stays off, unless \
                 intremap=no_x2apic_optout is given"
            ),
        ));
    }
    told.extend(found.log.iter().map(|line| ("kernel log".to_owned(), line.clone())));
    for cause in &found.causes {
        match cause {
            NotRemapped::Option(option) => told.push(("/proc/cmdline".to_owned(), option.clone())),
            NotRemapped::IoApics { given, .. } => {
                told.extend(given.iter().map(|one| ("/proc/cmdline".to_owned(), one.clone())));
            }
            NotRemapped::NotOffered { flags } => {
                told.push((
                    "DMAR".to_owned(),
                    format!("flags {flags:#04x}, no INTR_REMAP (bit 0)"),
                ));
            }
            NotRemapped::NoUnit(_) | NotRemapped::Erratum => {}
        }
    }
    told.extend(found.allowed.iter().cloned());
    told
}

fn cures(found: &Remapping) -> String {
    let mut cures: Vec<String> = found.causes.iter().map(cure).collect();
    if cures.is_empty() {
        cures.push(
            "see that interrupt remapping is on in the firmware's set-up (VT-d, x2APIC, IOMMU) and \
             that the kernel's log names no other reason"
                .to_owned(),
        );
    }
    cures.push(UNSAFE.to_owned());
    cures.join("; ")
}

/// What cures a cause, and its price.
#[must_use]
pub(super) fn cure(cause: &NotRemapped) -> String {
    match cause {
        NotRemapped::Option(option) => {
            format!("take {option} out of the kernel's command line")
        }
        NotRemapped::IoApics { missing, given } => {
            let option = |(id, place): &(u32, Option<Devid>)| match place {
                Some(place) => format!("ivrs_ioapic[{id}]={place}"),
                None => format!("ivrs_ioapic[{id}]=BUS:DEV.FN"),
            };
            let options: Vec<String> = missing.iter().map(option).collect();
            let open = missing.iter().any(|(_, place)| place.is_none());
            let open = if open {
                " (BUS:DEV.FN is the requester ID of that IO-APIC, often 00:00.1 for the \
                 northbridge's; amd_iommu_dump=1 shows those that the table has)"
            } else {
                ""
            };
            let instead = if given.is_empty() { "" } else { " in place of what is given" };
            format!(
                "the IVRS does not name the IO-APICs that the MADT has: add {}{instead}{open} to the \
                 kernel's command line, or install a BIOS with a right table; a wrong ID can keep \
                 the host from booting, so try it in the boot loader first",
                options.join(" ")
            )
        }
        NotRemapped::NotOffered { .. } => {
            "the firmware offers no interrupt remapping: switch it on in the firmware's set-up (VT-d, \
             interrupt remapping or x2APIC), or install a newer BIOS; many chipsets before 2010 have \
             none"
                .to_owned()
        }
        NotRemapped::NoUnit(ids) => {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            format!(
                "the DMAR has no unit for IO-APIC {}, and no kernel option replaces that: install a \
                 newer BIOS, or ask the board's vendor for one",
                ids.join(", ")
            )
        }
        NotRemapped::Erratum => {
            "the chipset's interrupt remapping has an erratum: no option cures it".to_owned()
        }
    }
}

fn misspelt(found: &Misspelt) -> Line {
    let message = format!("nothing knows the option {}, so it does nothing", found.text);
    let line = Line::new("vfio-option", State::Warning, printable(&message))
        .from(format!("{}: {}", found.file, found.text));
    match &found.meant {
        Some(meant) => line.then(printable(&format!("write {meant}, if that is meant"))),
        None => {
            line.then("`modinfo -p vfio-pci` and `modinfo -p vfio_iommu_type1` list the options")
        }
    }
}

fn of_fact(bdf: Bdf, fact: DeviceFact) -> Line {
    match fact {
        DeviceFact::NotBound { driver, asked, softdep, overridden, sibling } => {
            let wanted = !asked.is_empty();
            let state = if wanted { State::No } else { State::Warning };
            let has = match &driver {
                Some(driver) => format!("driver {driver} has it, not vfio-pci"),
                None => "no driver has it, not even vfio-pci".to_owned(),
            };
            let but = if wanted { ", although an option asks for vfio-pci" } else { "" };
            let mut line = Line::new("device-driver", state, printable(&format!("{has}{but}")))
                .from(match &driver {
                    Some(driver) => format!("/sys/bus/pci/devices/{bdf}/driver: {driver}"),
                    None => format!("/sys/bus/pci/devices/{bdf}/driver is not there"),
                });
            for (file, text) in asked.iter().chain(&softdep) {
                line = line.from(format!("{file}: {text}"));
            }
            if let Some(name) = &overridden {
                line = line.from(format!("/sys/bus/pci/devices/{bdf}/driver_override: {name}"));
            }
            if let Some(sibling) = sibling {
                line = line.from(format!("{sibling} of its group is bound to vfio-pci"));
            }
            line.then(printable(&bind(bdf, driver.as_deref(), wanted, softdep.is_some())))
        }
        DeviceFact::HeldBar { start, end, holders, in_use } => {
            let state = if in_use { State::Warning } else { State::No };
            let mut names: Vec<&str> = Vec::new();
            for name in &holders {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            let names = names.join(", ");
            let message = format!(
                "the host's framebuffer ({names}) holds part of its memory, so a guest cannot use it"
            );
            Line::new("device-memory", state, printable(&message))
                .from(format!("/proc/iomem: {names} in {start:#x}-{end:#x} of {bdf}"))
                .then(
                    "unbind the framebuffer first, as `echo simple-framebuffer.0 > \
                     /sys/bus/platform/drivers/simple-framebuffer/unbind` does (or efi-framebuffer), \
                     or boot with initcall_blacklist=sysfb_init, which does not help on every \
                     kernel; the host has no display there afterwards",
                )
        }
        DeviceFact::Errors(lines) => {
            let reserve = lines.iter().any(|line| line.contains("can't reserve"));
            let (state, message) = if reserve {
                (State::No, "the kernel could not reserve its memory: somebody else holds it")
            } else {
                (State::Warning, "the kernel's log has errors of vfio-pci with it")
            };
            let line = Line::new("device-errors", state, message);
            lines.iter().fold(line, |line, entry| line.from(format!("kernel log: {entry}")))
        }
    }
}

/// How vfio-pci gets a function.
fn bind(bdf: Bdf, driver: Option<&str>, wanted: bool, softdep: bool) -> String {
    let by_hand = format!(
        "libvirt's managed='yes' rebinds it at the start of the machine; plain QEMU needs `driverctl \
         set-override {bdf} vfio-pci`"
    );
    let first = match driver {
        Some(driver) if wanted && softdep => format!(
            "{driver} was first: the initramfs lacks vfio-pci or these lines; rebuild it \
             (update-initramfs -u, dracut -f or mkinitcpio -P) and restart"
        ),
        Some(driver) if wanted => format!(
            "{driver} was first: add `softdep {driver} pre: vfio-pci` to /etc/modprobe.d, rebuild the \
             initramfs and restart; where {driver} is part of the kernel, only driver_override helps"
        ),
        None if wanted => "load it: modprobe vfio-pci".to_owned(),
        _ => return by_hand,
    };
    format!("{first}; {by_hand}")
}

/// What `doctor` prints.
#[must_use]
pub fn doctor(health: &Health, style: Style) -> String {
    let mut document = Document::default();
    for (title, lines) in [
        ("Tracing", &health.tracing),
        ("IOMMU", &health.iommu),
        ("IVRS table", &health.table),
        ("VFIO", &health.vfio),
    ] {
        section(&mut document, title, lines);
    }
    for device in &health.devices {
        section(&mut document, &device.bdf.to_string(), &device.lines);
    }
    document.blank();
    if health.devices_not_shown > 0 {
        let devices = count(health.devices_not_shown, "other device");
        let are = if health.devices_not_shown == 1 { "is" } else { "are" };
        document.text(
            0,
            format!(
                "{devices} {are} stopped by nothing but, perhaps, firmware; name a device to see \
                 every check of it."
            ),
        );
    }
    document.text(0, conclusion(health));
    document.terminal(style)
}

fn conclusion(health: &Health) -> &'static str {
    match health.worst() {
        State::Ok => "All is well.",
        State::Warning => "Nothing stops it; read the warnings first.",
        State::Unknown => "Nothing that was seen stops it, but some facts could not be read.",
        State::No => "What is marked NO stops it.",
    }
}

fn section(document: &mut Document, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    document.blank();
    document.fact(0, Text::of(Kind::Strong, title));
    for line in lines {
        let (verdict, word) = match line.state {
            State::Ok => (Verdict::Clear, "ok"),
            State::Warning => (Verdict::Unknown, "warning"),
            State::Unknown => (Verdict::Unknown, "unknown"),
            State::No => (Verdict::Blocked, "NO"),
        };
        let room = " ".repeat(7_usize.saturating_sub(word.len()));
        let name = Text::of(Kind::Verdict(verdict), word).then(room);
        document.row_at(2, name, &line.message);
        document.marked(11, '-', &line.evidence);
        document.marked(11, '>', &line.todo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::valid::parsed;

    #[test]
    fn a_host_without_remapping_has_a_finding_that_quotes_the_log_and_names_the_cure() {
        let found = Remapping {
            remapped: Remapped::No { counted: true },
            causes: vec![NotRemapped::IoApics {
                missing: vec![(7, Some(Devid(0xa0))), (8, None)],
                given: vec!["ivrs_ioapic[1]=00:14.0".to_owned()],
            }],
            log: vec!["AMD-Vi: IOAPIC[7] not in IVRS table\u{202e}".to_owned()],
            allowed: Vec::new(),
            x2apic_opt_out: None,
        };
        let finding = remapping_finding(&found).unwrap();
        assert!(finding.message.contains("VFIO_SET_IOMMU fails with EPERM"));
        assert!(finding.message.contains("ivrs_ioapic[7]=00:14.0 ivrs_ioapic[8]=BUS:DEV.FN"));
        let evidence: Vec<String> = finding.evidence.iter().map(ToString::to_string).collect();
        assert_eq!(evidence[0], "/proc/interrupts: none begins with IR-");
        assert!(evidence[1].starts_with("kernel log: AMD-Vi: IOAPIC[7] not in IVRS table"));
        assert!(!evidence[1].contains('\u{202e}'));
        assert_eq!(evidence[2], "/proc/cmdline: ivrs_ioapic[1]=00:14.0");
        for fine in [Remapped::Yes("IR-IO-APIC".to_owned()), Remapped::NotShown] {
            assert_eq!(remapping_finding(&Remapping { remapped: fine, ..found.clone() }), None);
        }
    }

    #[test]
    fn every_state_is_shown_with_its_evidence() {
        let line = |state, todo: Option<&str>| Line {
            code: "lockdown",
            state,
            message: "what was looked at stands like this, in so many words that they take more \
                      than a line"
                .to_owned(),
            evidence: vec!["/sys/kernel/security/lockdown: none".to_owned()],
            todo: todo.map(str::to_owned),
        };
        let health = Health {
            schema: "ivrs-trace/doctor/1",
            tracing: vec![line(State::Ok, None), line(State::Warning, Some("do this"))],
            iommu: vec![line(State::No, None)],
            table: Vec::new(),
            vfio: vec![line(State::Unknown, None)],
            remapping: None,
            misspelt: Vec::new(),
            devices: Vec::new(),
            devices_not_shown: 3,
        };
        insta::assert_snapshot!(doctor(&health, Style::default()));
        assert_eq!(parsed(&health)["iommu"][0]["state"], "no");
        let coloured = doctor(&health, Style { colour: true, ..Style::default() });
        assert!(coloured.contains("\u{1b}[1;31mNO\u{1b}[0m       what was"), "{coloured}");
    }
}
