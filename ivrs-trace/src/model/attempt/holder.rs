//! Who holds a group: processes by what they opened and claimed, and drivers of the host.
//!
//! A holder is named only where the last change that was seen of the group is its own. Where an end
//! was missed, nobody is named.

use std::collections::BTreeMap;

use super::{
    parts::{DriverSource, HostDriver, Process},
    thread::{Facts, Seen},
};
use crate::{escape::printable, facts::OpenFile, host::Member, model::known::Known, pci::Bdf};

/// Groups and files whose holders are remembered; a host has a few hundred.
const MAX_HOLDERS: usize = 4096;

/// Who had a group when the trace began.
struct Before {
    group: u32,
    path: String,
    process: Process,
}

/// Who holds what, as far as it was seen.
#[derive(Default)]
pub(super) struct Holders {
    /// Who had what when the trace began.
    before: Vec<Before>,
    /// By group: who claimed it last.
    claimed: BTreeMap<u32, Holder>,
    /// By last part of the path: who opened it last.
    opened: BTreeMap<String, Holder>,
}

struct Holder {
    /// The owner that the kernel knows; 0 for a file.
    owner: u64,
    /// `None` where an end was missed.
    process: Option<Process>,
    /// Number of the event.
    event: u64,
}

impl Holders {
    pub(super) fn claimed(&mut self, group: u32, owner: u64, process: Process, event: u64) {
        insert(&mut self.claimed, group, Holder { owner, process: Some(process), event });
    }

    pub(super) fn opened(&mut self, path: &str, process: Process, event: u64) {
        insert(
            &mut self.opened,
            path.to_owned(),
            Holder { owner: 0, process: Some(process), event },
        );
    }

    /// Takes over who had files of groups and devices open when the trace began.
    pub(super) fn opened_before(
        &mut self,
        files: Vec<OpenFile>,
        group_of: impl Fn(Bdf) -> Option<u32>,
    ) {
        let held = files.into_iter().filter_map(|file| {
            let device = file.device.and_then(|device| device.parse().ok());
            Some(Before {
                group: file.path.parse().ok().or_else(|| group_of(device?))?,
                path: printable(&file.path),
                process: Process {
                    pid: file.pid,
                    comm: printable(&file.comm),
                    vm: file.vm.as_deref().map(printable),
                    vm_id: None,
                },
            })
        });
        self.before = held.take(MAX_HOLDERS).collect();
    }

    /// The process that had the group when the trace began, and the last part of the path of its
    /// file; `None` where somebody was seen to take the group since.
    pub(super) fn before(&self, group: u32) -> Option<(Process, &str)> {
        if self.claimed.contains_key(&group) || self.opened.contains_key(&group.to_string()) {
            return None;
        }
        let held = self.before.iter().find(|before| before.group == group)?;
        Some((held.process.clone(), &held.path))
    }

    /// The ends of calls that are given up were missed.
    pub(super) fn doubt(&mut self, facts: &Facts) {
        let claim = facts.claim.as_ref().filter(|claim| claim.exit.is_none());
        if let Some(holder) = claim.and_then(|one| self.claimed.get_mut(&one.group?)) {
            holder.process = None;
        }
        let open = facts.outer.as_ref().filter(|outer| outer.opens() && outer.ret.is_none());
        if let Some(holder) = open.and_then(|one| self.opened.get_mut(one.path.as_deref()?)) {
            holder.process = None;
        }
    }

    /// The group is gone; its number may come again.
    pub(super) fn forget(&mut self, group: u32) {
        self.before.retain(|before| before.group != group);
        self.claimed.remove(&group);
        self.opened.remove(&group.to_string());
    }

    /// The process that claimed the group as this owner, and the number of the event.
    pub(super) fn of_group(&self, group: u32, owner: u64) -> Option<(Process, u64)> {
        let holder = self.claimed.get(&group).filter(|holder| holder.owner == owner)?;
        Some((holder.process.clone()?, holder.event))
    }

    /// The process that has opened this file of `/dev/vfio`, or a device of its group.
    pub(super) fn of_file(&self, path: &str) -> Option<(Process, u64)> {
        let claimed = path.parse().ok().and_then(|group: u32| self.claimed.get(&group));
        let holders = [self.opened.get(path), claimed];
        let holder = holders.into_iter().flatten().max_by_key(|holder| holder.event)?;
        Some((holder.process.clone()?, holder.event))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.claimed.len() + self.opened.len()
    }
}

fn insert<K: Ord + Clone>(map: &mut BTreeMap<K, Holder>, key: K, holder: Holder) {
    map.insert(key, holder);
    if map.len() > MAX_HOLDERS {
        let oldest = map.iter().min_by_key(|(_, holder)| holder.event).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            map.remove(&oldest);
        }
    }
}

/// The functions of a group that drivers of the host hold: as the kernel listed them, else as the
/// host's files show them.
pub(super) fn host_drivers(facts: &Facts, group: Option<u32>, model: &Known) -> Vec<HostDriver> {
    if facts.members.iter().any(Seen::holds) {
        let held = facts.members.iter().filter(|member| member.holds());
        return held
            .map(|member| HostDriver {
                bdf: member.name.clone(),
                driver: member.driver.clone(),
                from: DriverSource::Kernel,
            })
            .collect();
    }
    let members = group.and_then(|id| model.group(id)).and_then(|group| group.members.value());
    members
        .into_iter()
        .flatten()
        .filter_map(|member| match member {
            Member::Pci(bdf) => model.function(*bdf),
            Member::Other(_) => None,
        })
        .filter_map(|function| Some((function.bdf, function.driver.value()?)))
        .filter(|(_, driver)| !manages_dma(driver))
        .map(|(bdf, driver)| HostDriver {
            bdf: bdf.to_string(),
            driver: printable(driver),
            from: DriverSource::Files,
        })
        .collect()
}

/// Whether a driver leaves the group free to be claimed (`driver_managed_dma` in
/// `drivers/vfio/pci/vfio_pci.c` and its variants, `drivers/pci/pci-stub.c`,
/// `drivers/pci/pcie/portdrv.c`).
pub(in crate::model) fn manages_dma(driver: &str) -> bool {
    matches!(driver, "pci-stub" | "pcieport") || driver.contains("vfio")
}
