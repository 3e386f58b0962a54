//! How much is told of one host. Real ones stay far below; past a bound everything is still judged,
//! and what is not told is counted.

use crate::{codes::Code, firmware::Finding};

/// Causes that are told of one device: as many as the probes list regions
/// ([`ivrs_trace_common::MAX_REGIONS`]).
pub(super) const CAUSES_OF_ONE: usize = 64;
/// Causes that are told of all devices; past that, one of each device.
const CAUSES: usize = 1 << 16;
/// Entries of a table times functions of a host: past that, the last entries are not judged.
pub(super) const PAIRS: usize = if cfg!(test) { 1 << 20 } else { 1 << 26 };
/// Devices that are listed below all entries of a table together; an entry counts as one more.
pub(super) const REACH: usize = 1 << 18;
/// Owners that are named of one entry.
pub(super) const OWNERS: usize = 64;
/// Lines of a memory map that are held against the entries of a table, entry by entry.
pub(super) const MEMORY_LINES: usize = 1 << 22;
/// Regions in the lists of all devices that are kept as the kernel made them.
pub(super) const LISTED: usize = 1 << 17;
/// Groups and members that are moved in memory as others come and go: what thousands of hotplugs
/// move on a large host.
pub(super) const MOVED: usize = 1 << 26;

/// Causes that may still be told.
pub(super) struct Room {
    left: usize,
    /// Devices of which some causes are not told.
    pub(super) cut: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: CAUSES, cut: 0 }
    }
}

impl Room {
    /// Leaves of the causes of one device what may be told; one is told always.
    pub(super) fn fit<Cause>(&mut self, causes: &mut Vec<Cause>) {
        let most = CAUSES_OF_ONE.min(self.left.max(1));
        self.cut += usize::from(causes.len() > most);
        causes.truncate(most);
        self.left = self.left.saturating_sub(causes.len());
    }
}

/// That so many of these are not told.
pub(super) fn untold(count: usize, of_what: &str) -> Option<Finding> {
    let message = || {
        format!(
            "{count} {of_what}: this host has far more of them than any real one, so they are \
             counted and not listed; the verdicts rest on all of them"
        )
    };
    (count > 0).then(|| Finding::new(Code::Bounded, message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Change,
        firmware::intel::{
            builder::{DmarBuilder, ScopeSpec},
            dmar::ScopeKind,
        },
        host::Reading,
        model::{
            Cause, Model, RequireDirect, Verdict,
            fixture::{GROUPS, QEMU, device, host, intel_host, model, set_regions, table},
        },
        pci::{Devid, Segment},
    };

    fn untold_of(model: &Model) -> Vec<String> {
        let findings = model.verdicts().findings.into_iter();
        findings.filter(|one| one.code == Code::Bounded).map(|one| one.message).collect()
    }

    #[test]
    fn of_very_many_entries_some_are_named_and_all_are_judged() {
        let block = "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7a2d9000,length=0x1000";
        let groups: Vec<String> =
            (0..128).map(|id| format!("{id}: 0{:x}:00.{}", id / 8, id % 8)).collect();
        let host = host(&groups.join(";"), &table(&vec![block; 3000]));
        let model = model(&host, &[]);
        let verdicts = model.verdicts();
        assert_eq!(verdicts.devices.len(), 128);
        for device in &verdicts.devices {
            assert_eq!(device.verdict, Verdict::Blocked);
            assert_eq!(device.causes.len(), CAUSES_OF_ONE);
        }
        let listed: usize = verdicts.entries.iter().map(|one| 1 + one.coverage.devices.len()).sum();
        assert!(listed <= REACH, "{listed}");
        let left_out = 3000 - verdicts.entries.len();
        let told = untold_of(&model);
        assert!(told.iter().any(|one| one.starts_with("128 devices are held by more")), "{told:?}");
        assert!(told.iter().any(|one| one.starts_with(&format!("{left_out} entries"))), "{told:?}");
        assert!(verdicts.findings.len() < 200, "{}", verdicts.findings.len());
    }

    /// So many functions below one bridge, and RMRRs that name it.
    fn below_a_bridge(functions: usize, rmrrs: u64) -> Model {
        let bridge = ScopeSpec::function(Devid::new(0, 1, 0).unwrap()).of_kind(ScopeKind::Bridge);
        let dmar =
            (0..rmrrs).fold(DmarBuilder::new().drhd(1, Segment(0), 1 << 20, &[]), |all, n| {
                let base = 0x1000_0000 + n * 0x1000;
                all.rmrr(Segment(0), base, base + 0xfff, std::slice::from_ref(&bridge))
            });
        let name = |n: usize| format!("0000:01:{:02x}.{}", n / 8 % 32, n % 8);
        let groups: Vec<String> =
            (0..functions).map(|n| format!("{}: {}", n + 1, name(n))).collect();
        let tree: Vec<String> =
            (0..functions).map(|n| format!("0000:00:01.0>{}", name(n))).collect();
        let groups = format!("0: 0000:00:01.0*;{}", groups.join(";"));
        let mut host = intel_host(&groups, &tree.join(" "), &dmar);
        for group in 0..=u32::try_from(functions).unwrap() {
            let shown = ["0x0000000010000000 0x000000001fffffff direct"];
            set_regions(&mut host, group, &shown);
        }
        model(&host, &[])
    }

    #[test]
    fn of_very_many_rmrrs_some_are_named_and_all_are_judged() {
        let model = below_a_bridge(200, 2000);
        let verdicts = model.verdicts();
        assert_eq!(verdicts.devices.len(), 201);
        for device in &verdicts.devices {
            assert_eq!(device.verdict, Verdict::Blocked);
            assert_eq!(device.causes.len(), CAUSES_OF_ONE);
        }
        let listed: usize = verdicts.rmrrs.iter().map(|one| 1 + one.devices.len()).sum();
        assert!(listed <= REACH, "{listed}");
        let left_out = 2000 - verdicts.rmrrs.len();
        let told = untold_of(&model);
        assert!(told.iter().any(|one| one.starts_with("201 devices are held by more")), "{told:?}");
        assert!(told.iter().any(|one| one.starts_with(&format!("{left_out} entries"))), "{told:?}");
        assert!(verdicts.findings.len() < 200, "{}", verdicts.findings.len());
    }

    #[test]
    fn a_device_is_not_clear_for_entries_that_were_not_judged() {
        let functions = 1024;
        let block =
            |devid| format!("type=0x21,flags=0x08,devid={devid},start=0x7a2d9000,length=0x1000");
        let blocks: Vec<String> = (0..2 * PAIRS / functions).map(block).collect();
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        let name = |n: usize| format!("0000:{:02x}:{:02x}.{}", n / 256, n / 8 % 32, n % 8);
        // Half of them have an entry, which is not among those that are judged.
        let first = blocks.len() - functions / 2;
        let groups: Vec<String> =
            (0..functions).map(|n| format!("{n}: {}", name(first + n))).collect();
        let mut host = host(&groups.join(";"), &table(&blocks));
        let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
        for group in groups {
            group.regions = Reading::Absent;
        }
        let model = model(&host, &[]);
        let verdicts = model.verdicts();
        assert_eq!(verdicts.devices.len(), functions);
        assert!(verdicts.devices.iter().all(|one| one.verdict == Verdict::Unknown));
        let told = untold_of(&model);
        let unjudged = "1024 entries of the tables were not held";
        assert!(told.iter().any(|one| one.starts_with(unjudged)), "{told:?}");
    }

    #[test]
    fn causes_of_all_devices_have_room_and_each_has_one() {
        let cause = || Cause::region(0, 0xfff, Vec::new());
        let mut room = Room { left: 100, cut: 0 };
        let told = |room: &mut Room, count: usize| {
            let mut causes = vec![cause(); count];
            room.fit(&mut causes);
            causes.len()
        };
        let told: Vec<usize> = [70, 30, 50, 2, 1, 0].map(|count| told(&mut room, count)).into();
        assert_eq!(told, [64, 30, 6, 1, 1, 0]);
        assert_eq!(room.cut, 3);
        assert_eq!(usize::try_from(ivrs_trace_common::MAX_REGIONS), Ok(CAUSES_OF_ONE));
    }

    #[test]
    fn a_host_without_more_than_that_is_told_nothing_of_it() {
        assert!(untold_of(&model(&host(GROUPS, &table(&[])), &[])).is_empty());
    }

    #[test]
    fn a_device_that_comes_and_goes_without_end_is_followed() {
        let mut model = Model::new(host(GROUPS, &table(&[])), RequireDirect::Present);
        for number in 0..10_000 {
            let change = if number % 2 == 0 { Change::Added } else { Change::Removed };
            let group = u32::try_from(number / 2).unwrap();
            let event = QEMU.group_change(change, &device("0000:7f:00.0", 100 + group));
            model.observe(number, &event);
        }
        assert!(untold_of(&model).is_empty());
        assert_eq!(model.groups().count(), 4);
    }

    #[test]
    fn what_moves_too_much_in_memory_is_not_followed_and_is_counted() {
        let mut model = Model::new(host(GROUPS, &table(&[])), RequireDirect::Present);
        let before = model.group(1).unwrap().members.value().unwrap().len();
        for number in 0..12_000_u64 {
            // Each comes before all that are there but PCI functions.
            let name = format!("dev{:06}", 100_000 - number);
            model.observe(number, &QEMU.group_change(Change::Added, &device(&name, 1)));
        }
        let told = untold_of(&model);
        assert!(told.first().is_some_and(|one| one.contains("changes of groups")), "{told:?}");
        let added = model.group(1).unwrap().members.value().unwrap().len() - before;
        assert!(added * (added - 1) / 2 <= MOVED + added, "{added}");
        assert!(added > 1000);
    }

    #[test]
    fn lists_of_devices_that_do_not_exist_do_not_fill_memory() {
        let mut none = host(GROUPS, &table(&[]));
        none.functions = Reading::Absent;
        let mut model = Model::new(none, RequireDirect::Present);
        let one = QEMU.group_change(Change::Removed, &device("x", 1));
        model.observe(0, &one);
        for number in 0..u64::try_from(LISTED / 2).unwrap() + 5 {
            let name = format!("dev{number}");
            for event in QEMU.listing(&device(&name, 1), &[], None) {
                model.observe(number, &event);
            }
        }
        let told = untold_of(&model);
        assert!(told.first().is_some_and(|one| one.starts_with("5 lists")), "{told:?}");
    }
}
