//! Which driver has a function, which one was asked for, and who else holds its memory.

use crate::{
    host::{Conditions, PciFunction, Reading},
    model::{Known, attempt::manages_dma},
    pci::Bdf,
};

/// What is in the way of vfio-pci and a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFact {
    /// It is not bound to a driver of VFIO.
    NotBound {
        /// The driver that has it, if one has.
        driver: Option<String>,
        /// What asks for vfio-pci: file and line.
        asked: Vec<(String, String)>,
        /// A line of modprobe's files that loads vfio-pci before that driver.
        softdep: Option<(String, String)>,
        /// The driver that `driver_override` names.
        overridden: Option<String>,
        /// Another function of its group is bound to a driver of VFIO.
        sibling: Option<Bdf>,
    },
    /// A framebuffer of the host has claimed memory of one of its BARs.
    HeldBar {
        /// Its first address.
        start: u64,
        /// Its last address.
        end: u64,
        /// By the names that `/proc/iomem` has for them.
        holders: Vec<String>,
        /// A driver of the host has the function itself: it may know of it.
        in_use: bool,
    },
    /// The kernel's log has errors of its binding or of its BARs.
    Errors(Vec<String>),
}

/// Drivers that draw into the framebuffer that firmware set up, as `/proc/iomem` names them, and
/// what reserves it for them (`sysfb_create_simplefb`, `drivers/firmware/sysfb_simplefb.c`).
const FRAMEBUFFERS: [&str; 12] = [
    "BOOTFB",
    "simpledrm",
    "simple-framebuffer",
    "simplefb",
    "efifb",
    "efidrm",
    "vesafb",
    "vesadrm",
    "ofdrm",
    "offb",
    "vga16fb",
    "corebootdrm",
];
/// Lines of the log that are told at most: the last ones.
const LINES: usize = 4;
/// The BARs of a function.
const BARS: usize = 6;

/// `named`: the user asked for this function.
pub(super) fn facts(
    model: &Known,
    conditions: &Conditions,
    function: &PciFunction,
    named: bool,
) -> Vec<DeviceFact> {
    let mut facts = Vec::new();
    facts.extend(not_bound(model, conditions, function, named));
    facts.extend(held_bars(model, function));
    let address = function.bdf.to_string();
    let log = conditions.kernel_log.value().into_iter().flatten();
    let mut errors: Vec<String> =
        log.filter(|line| line.contains(&address) && is_error(line)).cloned().collect();
    if !errors.is_empty() {
        errors.drain(..errors.len().saturating_sub(LINES));
        facts.push(DeviceFact::Errors(errors));
    }
    facts
}

/// `__pci_request_region` (drivers/pci/pci.c), `call_driver_probe` (drivers/base/dd.c; up to 6.7
/// `probe of ... failed with error`), and of vfio-pci what it says of a device that does not answer.
fn is_error(line: &str) -> bool {
    let of_vfio = line.contains("vfio");
    let words: &[&str] =
        &["failed with error", "inaccessible", "not ready", "giving up", "cannot reset", "error"];
    line.contains("can't reserve") || of_vfio && words.iter().any(|word| line.contains(word))
}

fn not_bound(
    model: &Known,
    conditions: &Conditions,
    function: &PciFunction,
    named: bool,
) -> Option<DeviceFact> {
    // A driver that was not read is not known.
    let driver = match &function.driver {
        Reading::Read(driver) if is_vfio(driver) => return None,
        Reading::Read(driver) => Some(driver.clone()),
        Reading::Absent => None,
        Reading::Unreadable(_) => return None,
    };
    let asked = asked(model, conditions, function);
    let overridden = conditions.overrides.get(&function.bdf).cloned();
    let bound = |other: &Bdf| {
        let driver = model.function(*other).and_then(|other| other.driver.value());
        driver.is_some_and(|name| is_vfio(name))
    };
    let sibling = super::device::others(model, function.bdf).into_iter().find(bound);
    let wanted = !asked.is_empty() || overridden.as_deref().is_some_and(is_vfio);
    if function.is_bridge() == Some(true)
        || !(named && driver.is_some() || wanted || sibling.is_some())
    {
        return None;
    }
    let before = |line: &str, driver: &str| {
        let mut words = line.split_whitespace();
        let plain = |name: &str| name.replace('-', "_");
        words.next() == Some("softdep")
            && words.next().is_some_and(|name| plain(name) == plain(driver))
            && words
                .skip_while(|word| *word != "pre:")
                .take_while(|word| *word != "post:")
                .any(|word| plain(word) == "vfio_pci")
    };
    let softdep = driver.as_ref().and_then(|driver| {
        conditions.modprobe.iter().find(|(_, line)| before(line, driver)).map(of_file)
    });
    Some(DeviceFact::NotBound { driver, asked, softdep, overridden, sibling })
}

/// vfio-pci and the variants of it that vendors have.
fn is_vfio(driver: &str) -> bool {
    driver.contains("vfio")
}

fn of_file((file, line): &(String, String)) -> (String, String) {
    (format!("/{file}"), line.clone())
}

/// Options of vfio-pci whose IDs name the function.
fn asked(model: &Known, conditions: &Conditions, function: &PciFunction) -> Vec<(String, String)> {
    let plain = |name: &str| name.replace('-', "_") == "vfio_pci";
    let line = model.host().command_line.value().map_or("", String::as_str);
    let options = line.split_whitespace().filter(|option| {
        let ids = option.split_once(".ids=").filter(|(module, _)| plain(module));
        ids.is_some_and(|(_, ids)| names(ids, function))
    });
    let lines = conditions.modprobe.iter().filter(|(_, line)| {
        let mut words = line.split_whitespace();
        words.next() == Some("options")
            && words.next().is_some_and(plain)
            && words.any(|word| word.strip_prefix("ids=").is_some_and(|ids| names(ids, function)))
    });
    let options = options.map(|option| ("/proc/cmdline".to_owned(), option.to_owned()));
    options.chain(lines.map(of_file)).collect()
}

/// Whether `vendor:device[:subvendor[:subdevice[:class[:mask]]]]` of a list is the function's
/// (`vfio_pci_fill_ids`, `drivers/vfio/pci/vfio_pci.c`); `ffffffff` stands for any.
fn names(ids: &str, function: &PciFunction) -> bool {
    ids.trim_matches('"').split(',').any(|id| {
        let mut parts = id.split(':').map(|part| u32::from_str_radix(part.trim(), 16).ok());
        let own = [
            function.vendor.value(),
            function.device.value(),
            function.subsystem_vendor.value(),
            function.subsystem_device.value(),
        ];
        let same = own.into_iter().enumerate().all(|(at, own)| match parts.next() {
            Some(Some(u32::MAX)) => true,
            Some(Some(part)) => own.is_some_and(|own| u32::from(*own) == part),
            Some(None) => false,
            None => at >= 2,
        });
        let class = parts.next().flatten();
        let mask = parts.next().flatten().unwrap_or(u32::MAX);
        let of_class = |class: u32| {
            function.class.value().is_none_or(|own| (own ^ class) & mask == 0 || class == 0)
        };
        same && class.is_none_or(of_class)
    })
}

fn held_bars(model: &Known, function: &PciFunction) -> Vec<DeviceFact> {
    let Reading::Read(map) = &model.host().iomem else { return Vec::new() };
    let address = function.bdf.to_string();
    let in_use = function.driver.value().is_some_and(|driver| !manages_dma(driver));
    let mut facts = Vec::new();
    for (at, bar) in map.ranges.iter().enumerate().filter(|(_, range)| range.name == address) {
        let below = map.ranges.iter().skip(at + 1).take_while(|range| range.depth > bar.depth);
        let holders: Vec<String> = below
            .map(|range| &range.name)
            .filter(|name| FRAMEBUFFERS.iter().any(|known| name.starts_with(known)))
            .cloned()
            .collect();
        if !holders.is_empty() && facts.len() < BARS {
            let (start, end) = (bar.start, bar.end_inclusive);
            facts.push(DeviceFact::HeldBar { start, end, holders, in_use });
        }
    }
    facts
}
