//! Which functions there are, and which group and IOMMU each has, by every file that says so: any
//! of them may be missing in a copy.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    tree::{Dir, Reading, exact},
    types::{Group, Member, PciFunction},
};
use crate::pci::Bdf;

/// What links of functions say, from where a copy without its links still has it.
#[derive(Default)]
pub(super) struct Links {
    pub(super) groups: BTreeMap<Bdf, u32>,
    pub(super) iommus: BTreeMap<Bdf, String>,
}

impl Links {
    pub(super) fn of(groups: &Reading<Vec<Group>>, iommus: &Reading<Dir<'_>>) -> Self {
        let mut links = Self::default();
        for group in groups.value().into_iter().flatten() {
            links.groups.extend(functions_of(group).map(|bdf| (bdf, group.id)));
        }
        let Some(dir) = iommus.value() else { return links };
        for unit in dir.names().value().into_iter().flatten() {
            let served = dir.dir(unit).and_then(|unit| unit.dir("devices"));
            let names = served.and_then(|devices| devices.names());
            for bdf in names.value().into_iter().flatten().filter_map(|name| exact(name)) {
                links.iommus.insert(bdf, unit.clone());
            }
        }
        links
    }
}

fn functions_of(group: &Group) -> impl Iterator<Item = Bdf> {
    group.members.value().into_iter().flatten().filter_map(|member| match member {
        Member::Pci(bdf) => Some(*bdf),
        Member::Other(_) => None,
    })
}

/// How deep folders of bridges lie in each other at most: there are no more buses in a segment.
const DEEPEST: usize = 256;

/// The functions below `sys/devices`, each in the folder of the bridge above it or of its root bus.
pub(super) fn below<'a>(devices: &Dir<'a>) -> BTreeMap<Bdf, Dir<'a>> {
    let is_root = |name: &str| name.strip_prefix("pci").is_some_and(|rest| rest.contains(':'));
    let mut found = BTreeMap::new();
    let mut level = folders(devices, is_root);
    for _ in 0..DEEPEST {
        let mut next = Vec::new();
        for folder in &level {
            for child in folders(folder, |name| exact::<Bdf>(name).is_some()) {
                let bdf = child.path_of("").file_name().and_then(|name| exact(name.to_str()?));
                if let Some(bdf) = bdf {
                    found.entry(bdf).or_insert_with(|| child.clone());
                }
                next.push(child);
            }
        }
        level = next;
    }
    found
}

/// The folders in `dir` whose names are of a kind; what is a link lies elsewhere.
fn folders<'a>(dir: &Dir<'a>, of_kind: impl Fn(&str) -> bool) -> Vec<Dir<'a>> {
    let names = dir.names();
    let folders = names.value().into_iter().flatten().filter(|name| of_kind(name));
    folders
        .filter_map(|name| {
            dir.dir(name).value().cloned().filter(|it| it.path_of("") == dir.path_of(name).join(""))
        })
        .collect()
}

/// Adds the functions that are only named: by `sys/bus/pci/devices`, whose link leads nowhere, by a
/// group or by an IOMMU.
pub(super) fn add_named(
    functions: &mut Reading<Vec<PciFunction>>,
    on_bus: BTreeSet<Bdf>,
    groups: &Reading<Vec<Group>>,
    links: &Links,
) {
    let known: BTreeSet<Bdf> =
        functions.value().into_iter().flatten().map(|function| function.bdf).collect();
    let mut named = on_bus;
    named.extend(groups.value().into_iter().flatten().flat_map(functions_of));
    named.extend(links.iommus.keys());
    let lost = named.difference(&known).map(|bdf| {
        let path = format!("sys/bus/pci/devices/{bdf}: is not in this copy of a host");
        let mut function = PciFunction::named(*bdf, &path);
        function.group = function.group.or_from(|| links.groups.get(bdf).copied());
        function.iommu = function.iommu.or_from(|| links.iommus.get(bdf).cloned());
        function
    });
    let lost: Vec<PciFunction> = lost.collect();
    match functions {
        Reading::Read(functions) => {
            functions.extend(lost);
            functions.sort_by_key(|function| function.bdf);
        }
        _ if lost.is_empty() => {}
        unread => *unread = Reading::Read(lost),
    }
}

/// Adds the functions to their groups whose links alone say that they are in them.
pub(super) fn add_members(groups: &mut Reading<Vec<Group>>, functions: &Reading<Vec<PciFunction>>) {
    for function in functions.value().into_iter().flatten() {
        let Some(id) = function.group.value().copied() else { continue };
        if groups.value().is_none() {
            *groups = Reading::Read(Vec::new());
        }
        let Reading::Read(groups) = groups else { return };
        let at = groups.binary_search_by_key(&id, |group| group.id).unwrap_or_else(|at| {
            let why = format!("sys/kernel/iommu_groups/{id}: was not there to read");
            let group = Group {
                id,
                domain_type: Reading::Unreadable(why.clone()),
                regions: Reading::Unreadable(why.clone()),
                members: Reading::Unreadable(why),
                ..Group::default()
            };
            groups.insert(at, group);
            at
        });
        let Some(group) = groups.get_mut(at) else { continue };
        let member = Member::Pci(function.bdf);
        match &mut group.members {
            Reading::Read(members) => match members.binary_search(&member) {
                Ok(_) => continue,
                Err(place) => members.insert(place, member),
            },
            unread => *unread = Reading::Read(vec![member]),
        }
        group.by_link.push(function.bdf);
    }
}
