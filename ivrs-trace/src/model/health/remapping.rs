//! Whether interrupts are remapped, why not, and what VFIO does without.

use super::State;
use crate::{
    host::{Conditions, Reading},
    model::{Known, options},
    pci::{Bdf, Devid},
};

/// Whether interrupts are remapped. Without it VFIO attaches no device (`VFIO_SET_IOMMU` fails with
/// EPERM in `vfio_iommu_type1_attach_group`), unless it is told to do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remapping {
    /// Whether they are, and where that shows.
    pub remapped: Remapped,
    /// Why they are not, as far as that shows.
    pub causes: Vec<NotRemapped>,
    /// Lines of the kernel's log.
    pub log: Vec<String>,
    /// What tells VFIO to do without: file and line.
    pub allowed: Vec<(String, String)>,
    /// Flags of a DMAR that keep x2APIC off (`dmar_x2apic_optout`,
    /// `drivers/iommu/intel/irq_remapping.c`): interrupts are then remapped in xapic mode.
    pub x2apic_opt_out: Option<u8>,
}

/// Where it shows whether interrupts are remapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remapped {
    /// A line of `/proc/interrupts`.
    Yes(String),
    /// They are not.
    No {
        /// `/proc/interrupts` has no such line; else only the log says so.
        counted: bool,
    },
    /// That file does not show it for this IOMMU.
    NotShown,
    /// Nothing that would show it could be read.
    Unread(String),
}

/// Why interrupts are not remapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRemapped {
    /// An option of the kernel's command line.
    Option(String),
    /// IO-APICs that the IVRS does not name (`check_ioapic_information`, drivers/iommu/amd/init.c):
    /// their IDs and where they are, as far as that can be told.
    IoApics {
        /// ID and requester ID.
        missing: Vec<(u32, Option<Devid>)>,
        /// Overrides on the command line.
        given: Vec<String>,
    },
    /// `INTR_REMAP` of the DMAR's flags is not set (`dmar_ir_support`, drivers/iommu/intel/dmar.c).
    NotOffered {
        /// All of them.
        flags: u8,
    },
    /// No unit of the DMAR has these IO-APICs in its scope (`parse_ioapics_under_ir`,
    /// `drivers/iommu/intel/irq_remapping.c`).
    NoUnit(Vec<u32>),
    /// The chipset's remapping is broken (`set_irq_remapping_broken`, `intel_remapping_check` in
    /// arch/x86/kernel/early-quirks.c).
    Erratum,
}

/// The southbridge's IO-APIC, without which the AMD driver switches remapping off
/// (`IOAPIC_SB_DEVID`, drivers/iommu/amd/init.c).
const SOUTHBRIDGE: Devid = Devid(0x00a0);
/// Lines of the log that are told at most.
const LINES: usize = 8;

impl Remapping {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        match self.remapped {
            Remapped::Yes(_) => State::Ok,
            Remapped::No { .. } if self.allowed.is_empty() => State::No,
            Remapped::No { .. } => State::Warning,
            Remapped::NotShown | Remapped::Unread(_) => State::Unknown,
        }
    }
}

/// `None` where there are no groups, which remapping could isolate.
#[must_use]
pub fn remapping(model: &Known, conditions: &Conditions) -> Option<Remapping> {
    model.groups().next()?;
    let log: Vec<&str> =
        conditions.kernel_log.value().into_iter().flatten().map(String::as_str).collect();
    let told = log.iter().any(|line| says_off(line));
    let remapped = match &conditions.remapped {
        Reading::Read(line) => Remapped::Yes(line.clone()),
        Reading::Absent if is_x86(model, conditions) => Remapped::No { counted: true },
        _ if told => Remapped::No { counted: false },
        Reading::Absent => Remapped::NotShown,
        Reading::Unreadable(why) => Remapped::Unread(why.clone()),
    };
    let mut found = Remapping {
        remapped,
        causes: Vec::new(),
        log: Vec::new(),
        allowed: allowed(model, conditions),
        x2apic_opt_out: (dmar_flags(model).filter(|flags| flags & 2 != 0))
            .filter(|_| !options::ignores_x2apic_opt_out(model.host())),
    };
    if matches!(found.remapped, Remapped::No { .. }) {
        found.causes = causes(model, &log);
        let bears = |line: &&str| says_off(line) || is_of_io_apic(line);
        found.log = log.into_iter().filter(bears).take(LINES).map(str::to_owned).collect();
    }
    Some(found)
}

fn is_x86(model: &Known, conditions: &Conditions) -> bool {
    let of_maker = conditions.processor.value().is_some_and(|maker| {
        ["AuthenticAMD", "GenuineIntel", "HygonGenuine"].contains(&maker.as_str())
    });
    of_maker || model.host().has_unit("ivhd") || model.host().has_unit("dmar")
}

/// Whether a line of the log says that interrupts are not remapped: `Disabling interrupt remapping`,
/// `Not enabling interrupt remapping`, `Failed to enable irq remapping`, and VFIO's own.
fn says_off(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let of_it = line.contains("interrupt remapping") || line.contains("irq remapping");
    let off = ["disabl", "not enabling", "failed", "no interrupt", "broken"];
    of_it && off.iter().any(|word| line.contains(word))
}

fn is_of_io_apic(line: &str) -> bool {
    let words =
        ["not in IVRS table", "No southbridge IOAPIC", "has no mapping iommu", "ivrs_ioapic"];
    words.iter().any(|word| line.contains(word))
}

fn causes(model: &Known, log: &[&str]) -> Vec<NotRemapped> {
    let mut causes: Vec<_> =
        options::no_remapping(model.host()).map(str::to_owned).map(NotRemapped::Option).collect();
    let mut places: Vec<Devid> = model.io_apics().into_iter().map(|(_, devid)| devid).collect();
    places.extend(log.iter().filter_map(|line| place_of(line)));
    let given = options::of(model.host()).filter(|option| option.starts_with("ivrs_ioapic"));
    causes.extend(logged_causes(log, places, given.map(str::to_owned).collect()));
    let not_offered = dmar_flags(model).filter(|flags| flags & 1 == 0);
    causes.extend(not_offered.map(|flags| NotRemapped::NotOffered { flags }));
    causes
}

/// What the lines of a log give as causes. `places` are where the IVRS has IO-APICs, and `given` are
/// overrides on the command line.
#[must_use]
pub fn logged_causes(log: &[&str], places: Vec<Devid>, given: Vec<String>) -> Vec<NotRemapped> {
    let mut causes = Vec::new();
    let numbers = |before: &str, after: &str| -> Vec<u32> {
        let of_line = |line: &&str| number(line, before, after);
        let mut numbers: Vec<u32> = log.iter().filter_map(of_line).collect();
        let mut seen = std::collections::BTreeSet::new();
        numbers.retain(|number| seen.insert(*number));
        numbers
    };
    let missing = numbers("IOAPIC[", "] not in IVRS table");
    let southbridge = log.iter().any(|line| line.contains("No southbridge IOAPIC"));
    if !missing.is_empty() {
        let places = free_places(places, missing.len(), southbridge);
        let missing = missing.into_iter().zip(places).collect();
        causes.push(NotRemapped::IoApics { missing, given });
    }
    let homeless = numbers("ioapic ", " has no mapping iommu");
    if !homeless.is_empty() {
        causes.push(NotRemapped::NoUnit(homeless));
    }
    if log.iter().any(|line| line.contains("chipset that contains an erratum")) {
        causes.push(NotRemapped::Erratum);
    }
    causes
}

fn dmar_flags(model: &Known) -> Option<u8> {
    model.dmar().dmar().filter(|_| model.is_intel_host()).map(|dmar| dmar.flags)
}

/// Where a line of the log says that an IO-APIC is.
fn place_of(line: &str) -> Option<Devid> {
    let (_, rest) = line.split_once("DEV_SPECIAL(IOAPIC[")?;
    // Kernels from 6.0 on print the segment before it.
    let place = rest.split_once("devid: ")?.1.split_whitespace().next()?;
    Some(place.trim_end_matches(',').parse::<Bdf>().ok()?.devid)
}

/// Where the IO-APICs are that the table does not name: at the places that it gives to IDs of its
/// own. The first of a system is the southbridge's, whose place is fixed.
fn free_places(mut others: Vec<Devid>, count: usize, southbridge: bool) -> Vec<Option<Devid>> {
    let mut seen = std::collections::BTreeSet::from([SOUTHBRIDGE]);
    others.retain(|devid| seen.insert(*devid));
    let mut others = others.into_iter();
    let place = |at: usize| if at == 0 && southbridge { Some(SOUTHBRIDGE) } else { others.next() };
    (0..count).map(place).collect()
}

/// The number in a line between two texts.
fn number(line: &str, before: &str, after: &str) -> Option<u32> {
    let (head, _) = line.split_once(after)?;
    head.rsplit_once(before)?.1.parse().ok()
}

/// Where VFIO is told to do without, now or when it is loaded.
fn allowed(model: &Known, conditions: &Conditions) -> Vec<(String, String)> {
    let yes = |text: &str| {
        let value = text.split_once("allow_unsafe_interrupts=").map(|(_, value)| value);
        value.is_some_and(|value| value.starts_with(['1', 'y', 'Y']))
    };
    let parameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
    let now = conditions.unsafe_interrupts.value().filter(|text| *text == "Y");
    let module = |name: &str| matches!(name, "vfio_iommu_type1" | "vfio-iommu-type1");
    let option = options::of(model.host())
        .find(|option| yes(option) && option.split_once('.').is_some_and(|(name, _)| module(name)));
    let line = conditions.modprobe.iter().find(|(_, line)| {
        let mut words = line.split_whitespace();
        yes(line) && words.next() == Some("options") && words.next().is_some_and(module)
    });
    now.map(|text| (parameter.to_owned(), text.clone()))
        .into_iter()
        .chain(option.map(|option| ("/proc/cmdline".to_owned(), option.to_owned())))
        .chain(line.map(|(file, line)| (format!("/{file}"), line.clone())))
        .collect()
}
