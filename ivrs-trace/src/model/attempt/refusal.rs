//! The refusal of a device for its 1:1 map, and on what it is known: the call that refused, the
//! kernel's warning, the line that it logs, or what is left of the claim.

use ivrs_trace_common::MAX_UNITY;
use serde::Serialize;

use crate::{
    event::{Body, Device},
    pci::Bdf,
};

/// On what a reason rests, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// What the kernel's own functions returned and read.
    Call,
    /// The kernel's warning, caught as it was made.
    Warning,
    /// The line that the kernel logged.
    Log,
    /// The error, and what is known of the group beside it.
    Inference,
}

/// A device that the kernel refused.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The device that blocks: not always the one that was asked for.
    pub device: Device,
    /// The driver that holds it; empty if none does or that is not known. The kernel's own message
    /// begins with it.
    pub driver: String,
    /// On what the refusal is known.
    pub evidence: Evidence,
    /// Number of the event that shows it.
    pub event: u64,
    /// The entries of the kernel's unity map that cover it, in order.
    pub matches: Vec<Match>,
    /// Whether all of the unity map was seen.
    pub complete: bool,
}

/// An entry of the kernel's unity map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Number of the event.
    pub event: u64,
    /// Position in the segment's list, from 0.
    pub ordinal: u32,
    /// PCI segment.
    pub segment: u16,
    /// First devid, inclusive.
    pub devid_start: u16,
    /// Last devid, inclusive.
    pub devid_end: u16,
    /// First address.
    pub start: u64,
    /// End address, exclusive.
    pub end: u64,
    /// 1 read, 2 write.
    pub prot: u32,
}

/// A walk over the kernel's unity map for one device, as far as it came.
#[derive(Default)]
pub(super) struct Walk {
    device: u64,
    matches: Vec<Match>,
}

impl Walk {
    /// Takes in an entry. The warning and the call each make a walk: what does not come after the
    /// entry before it begins another one.
    pub(super) fn add(&mut self, number: u64, body: &Body) {
        let Body::UnityMatch { device, ordinal, segment, devid_start, devid_end, start, end, prot } =
            body
        else {
            return;
        };
        let behind = self.matches.last().is_some_and(|last| *ordinal <= last.ordinal);
        if behind || self.device != device.ptr {
            self.matches.clear();
        }
        self.device = device.ptr;
        // The programs walk no more entries, so no device has more.
        if u32::try_from(self.matches.len()).is_ok_and(|count| count < MAX_UNITY) {
            self.matches.push(Match {
                event: number,
                ordinal: *ordinal,
                segment: *segment,
                devid_start: *devid_start,
                devid_end: *devid_end,
                start: *start,
                end: *end,
                prot: *prot,
            });
        }
    }
}

impl Rejection {
    /// The refusal that an event shows, with the entries that were walked before it.
    pub(super) fn of_event(number: u64, body: &Body, walk: Walk) -> Option<Self> {
        let (device, driver, evidence, entries, count, incomplete) = match body {
            // The kernel refuses on exactly this. Up to 6.18 it then puts the same device back on
            // its old domain by the same function, which is not a refusal.
            Body::SetDomain {
                device,
                driver,
                require_direct: true,
                blocking: true,
                ret,
                unity_entries,
                unity_matches,
                incomplete,
                ..
            } if *ret < 0 => {
                (device, driver, Evidence::Call, unity_entries, unity_matches, incomplete)
            }
            Body::Warning { device, driver, unity_entries, unity_matches, incomplete } => {
                (device, driver, Evidence::Warning, unity_entries, unity_matches, incomplete)
            }
            Body::KernelMessage { text, .. } => return Self::of_message(number, text),
            _ => return None,
        };
        let matches = if walk.device == device.ptr { walk.matches } else { Vec::new() };
        let seen = usize::try_from(*count).is_ok_and(|count| count == matches.len());
        // The programs do not know the devid of a device that is no PCI function.
        let known = device.bdf.is_some();
        Some(Self {
            device: device.clone(),
            driver: driver.clone(),
            evidence,
            event: number,
            complete: known && entries.is_some() && !incomplete && seen,
            matches: if known { matches } else { Vec::new() },
        })
    }

    /// The refusal in a line of the kernel's log: `DRIVER DEVICE: Firmware has requested …`, where
    /// a device without a driver has the name of its bus (`dev_warn`).
    fn of_message(number: u64, text: &str) -> Option<Self> {
        let (head, _) = text.split_once(": Firmware has requested this device have a 1:1")?;
        let (driver, name) = head.rsplit_once(' ')?;
        let driver = driver.rsplit(' ').next().unwrap_or(driver);
        if name.is_empty() || driver.is_empty() {
            return None;
        }
        let bdf: Option<Bdf> = name.parse().ok();
        let driver = if driver == "pci" { String::new() } else { driver.to_owned() };
        Some(Self {
            device: Device { ptr: 0, name: name.to_owned(), bdf, group: None },
            driver,
            evidence: Evidence::Log,
            event: number,
            matches: Vec::new(),
            complete: false,
        })
    }

    /// What is known of the refusal on another evidence, where that saw more of the unity map.
    pub(super) fn completed(mut self, other: Option<&Self>) -> Self {
        let other = other.filter(|other| other.device.ptr == self.device.ptr && other.complete);
        if let Some(other) = other.filter(|_| !self.complete) {
            self.matches.clone_from(&other.matches);
            self.complete = true;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_without_end_are_not_kept() {
        let mut walk = Walk::default();
        for ordinal in 0..1000 {
            let device = Device { ptr: 7, name: "0000:00:03.0".to_owned(), bdf: None, group: None };
            walk.add(
                ordinal.into(),
                &Body::UnityMatch {
                    device,
                    ordinal,
                    segment: 0,
                    devid_start: 0,
                    devid_end: 0,
                    start: 0,
                    end: 0,
                    prot: 3,
                },
            );
        }
        assert_eq!(walk.matches.len(), 128);
    }

    #[test]
    fn lines_of_the_log() {
        const REST: &str = ": Firmware has requested this device have a 1:1 IOMMU mapping, rejecting \
                            configuring the device without a 1:1 mapping.";
        let read = |head: &str| {
            let found = Rejection::of_message(3, &format!("{head}{REST}"))?;
            assert_eq!((found.evidence, found.event, found.complete), (Evidence::Log, 3, false));
            Some((found.driver, found.device.name, found.device.bdf.is_some()))
        };
        let some = |driver: &str, name: &str, pci| Some((driver.to_owned(), name.to_owned(), pci));
        assert_eq!(read("vfio-pci 0000:00:03.0"), some("vfio-pci", "0000:00:03.0", true));
        assert_eq!(read("pci 0000:02:00.0"), some("", "0000:02:00.0", true));
        assert_eq!(read("platform MSFT0201:00"), some("platform", "MSFT0201:00", false));
        assert_eq!(read("[   12.3] a 0000:02:00.0"), some("a", "0000:02:00.0", true));
        assert_eq!(read("0000:02:00.0"), None);
        assert_eq!(read("a "), None);
        assert_eq!(read(""), None);
        assert!(Rejection::of_message(0, "vfio-pci 0000:00:03.0: reset done").is_none());
    }
}
