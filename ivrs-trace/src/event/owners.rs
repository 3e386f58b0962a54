//! The owners of groups: the kernel knows each by the address of an object of its own, which never
//! leaves the program.

use std::collections::BTreeMap;

use super::{Body, Event};

/// Owners that are told apart at a time. A trace has as many as processes claim groups.
const MAX_OWNERS: usize = 65_536;

/// Gives each owner a number of the trace in place of its address: 1, 2, as they appear. 0, which is
/// nobody, stays.
#[derive(Debug, Default)]
pub(crate) struct OwnerIds {
    known: BTreeMap<u64, u64>,
    last: u64,
}

impl OwnerIds {
    pub(crate) fn rename(&mut self, event: &mut Event) {
        match &mut event.body {
            Body::Claim { owner, group_owner, .. } => {
                // The one that has the group came before the one that asks for it.
                *group_owner = self.id(*group_owner);
                *owner = self.id(*owner);
            }
            Body::OwnerClaimed { group_owner, .. } => *group_owner = self.id(*group_owner),
            _ => {}
        }
    }

    fn id(&mut self, address: u64) -> u64 {
        if address == 0 {
            return 0;
        }
        if self.known.len() >= MAX_OWNERS {
            // Numbers go on, so that no two owners have the same one.
            self.known.clear();
        }
        let last = &mut self.last;
        *self.known.entry(address).or_insert_with(|| {
            *last += 1;
            *last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Phase;

    fn claim(owner: u64, group_owner: u64) -> Event {
        let body = Body::Claim {
            phase: Phase::Enter,
            device: None,
            group: Some(1),
            owner,
            group_owner,
            owner_count: 1,
            foreign_domain: false,
        };
        let comm = "qemu".to_owned();
        Event { time_ns: 0, pid: 1, tid: 1, cpu: 0, comm, body }
    }

    #[test]
    fn an_owner_has_the_number_of_its_first_appearance_and_never_its_address() {
        let mut ids = OwnerIds::default();
        let mut seen = Vec::new();
        for (owner, group_owner) in
            [(0xffff_8881_0a2b_c000, 0), (0xffff_8881_0a2b_d000, 0xffff_8881_0a2b_c000), (0, 0)]
        {
            let mut event = claim(owner, group_owner);
            ids.rename(&mut event);
            let text = serde_json::to_string(&event).unwrap();
            assert!(!text.contains("1844"), "{text}");
            let Body::Claim { owner, group_owner, .. } = event.body else { panic!("{text}") };
            seen.push((owner, group_owner));
        }
        assert_eq!(seen, [(1, 0), (2, 1), (0, 0)]);
    }

    #[test]
    fn owners_without_end_take_no_memory_without_end() {
        let mut ids = OwnerIds::default();
        for address in 1..=200_000 {
            ids.rename(&mut claim(address << 12, 0));
            assert!(ids.known.len() <= MAX_OWNERS);
        }
        assert_eq!(ids.last, 200_000);
    }
}
