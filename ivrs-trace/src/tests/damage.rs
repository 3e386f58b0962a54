//! A damaged copy of a host clears nobody whom the whole one blocks, and loses nobody.
//!
//! Of every golden host, whole and with one kind of evidence alone, each file is cut, emptied, zeroed,
//! flipped, stripped of a line, replaced by its like of the same and of every other host, and removed; each
//! link and each name in a folder too. A verdict may become unknown, never clear.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proptest::{prelude::*, sample::Index};

use crate::{
    facts::RequireDirect,
    host::{Files, Reading, Snapshot, plant},
    model::{Known, Verdict},
    pci::Bdf,
    report::hosts,
};

/// How many places of a file are cut or flipped.
const PLACES: usize = 3;
/// The files that verdicts rest on, which are damaged in more ways.
const JUDGED_BY: [&str; 4] = ["reserved_regions", "IVRS", "DMAR", "class"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Whole,
    TableAlone,
    RegionsAlone,
}

struct Copy {
    name: &'static str,
    evidence: Evidence,
    flag: RequireDirect,
    files: Files,
    whole: BTreeMap<Bdf, Verdict>,
}

/// What of a file is changed, and into what.
#[derive(Clone, Debug)]
enum Damage {
    Content(PathBuf, Reading<Vec<u8>>),
    Target(PathBuf, Reading<PathBuf>),
    /// A name that is gone from its folder.
    Name(PathBuf, String),
}

fn verdicts(files: &Files, flag: RequireDirect) -> (Known, BTreeMap<Bdf, Verdict>) {
    let known = Known::new(Snapshot::of_files(files), flag);
    let verdicts = known.verdicts().devices.iter().map(|one| (one.bdf, one.verdict)).collect();
    (known, verdicts)
}

fn copies() -> Vec<Copy> {
    let mut copies = Vec::new();
    for (name, (host, _), flag) in hosts::all() {
        let folder = tempfile::tempdir().unwrap();
        plant(&host, folder.path());
        let (_, whole) = Snapshot::read_and_keep(folder.path());
        for evidence in [Evidence::Whole, Evidence::TableAlone, Evidence::RegionsAlone] {
            let mut files = whole.clone();
            for (path, content) in &mut files.contents {
                let lost = match evidence {
                    Evidence::Whole => false,
                    Evidence::TableAlone => path.ends_with("reserved_regions"),
                    Evidence::RegionsAlone => is_table(path),
                };
                if lost {
                    *content = Reading::Absent;
                }
            }
            let has_table =
                files.contents.iter().any(|(path, one)| is_table(path) && one.value().is_some());
            let evidence = if has_table { evidence } else { Evidence::RegionsAlone };
            let whole = verdicts(&files, flag).1;
            copies.push(Copy { name, evidence, flag, files, whole });
        }
    }
    copies
}

fn is_table(path: &Path) -> bool {
    path.ends_with("IVRS") || path.ends_with("DMAR")
}

impl Copy {
    /// Whether nobody who is blocked becomes clear or is lost; else whom.
    fn harmed_by(&mut self, damage: &Damage) -> Vec<String> {
        let undo = self.apply(damage.clone());
        let (known, after) = verdicts(&self.files, self.flag);
        self.apply(undo);
        let harmed = self.whole.iter().filter(|(bdf, before)| match after.get(*bdf) {
            None => true,
            Some(Verdict::Clear) => **before == Verdict::Blocked,
            Some(_) => false,
        });
        let harmed: Vec<String> =
            harmed.map(|(bdf, was)| format!("{bdf} {was:?} {:?}", after.get(bdf))).collect();
        if self.nothing_can_tell(damage, &known) { Vec::new() } else { harmed }
    }

    /// Makes the change, and gives what takes it back.
    fn apply(&mut self, damage: Damage) -> Damage {
        match damage {
            Damage::Content(path, new) => {
                let old = self.files.contents.insert(path.clone(), new).unwrap();
                Damage::Content(path, old)
            }
            Damage::Target(path, new) => {
                let old = self.files.targets.insert(path.clone(), new).unwrap();
                Damage::Target(path, old)
            }
            Damage::Name(path, name) => {
                let Some(Reading::Read(names)) = self.files.names.get_mut(&path) else {
                    panic!("no names")
                };
                match names.iter().position(|one| *one == name) {
                    Some(at) => _ = names.remove(at),
                    None => names.push(name.clone()),
                }
                Damage::Name(path, name)
            }
        }
    }

    /// Where one kind of evidence is all there is, and the damage leaves it sound in itself: the regions
    /// of a group without their direct lines, a table of another host with as many IOMMUs.
    fn nothing_can_tell(&self, damage: &Damage, known: &Known) -> bool {
        let Damage::Content(path, Reading::Read(_)) = damage else { return false };
        match self.evidence {
            Evidence::Whole => false,
            Evidence::TableAlone => {
                is_table(path) && known.contradictions().is_empty() && sound(known)
            }
            Evidence::RegionsAlone => {
                let groups = known.host().groups.value().into_iter().flatten();
                let of = |id| path.ends_with(format!("{id}/reserved_regions"));
                groups.filter(|group| of(group.id)).any(|group| known.whole_regions(group).is_ok())
            }
        }
    }

    /// Everything that is done to it, with the files of the `others` that are at the same place.
    fn damages(&self, others: &[&Files]) -> Vec<Damage> {
        let mut damages = Vec::new();
        for (path, content) in &self.files.contents {
            let Reading::Read(bytes) = content else { continue };
            damages.push(Damage::Content(path.clone(), Reading::Absent));
            let mut push = |new: Vec<u8>| {
                if new != *bytes {
                    damages.push(Damage::Content(path.clone(), Reading::Read(new)));
                }
            };
            push(vec![0; bytes.len()]);
            push(Vec::new());
            if !JUDGED_BY.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            for place in 0..PLACES {
                let at = bytes.len() * place / PLACES;
                push(bytes[..at].to_vec());
                push([&bytes[..at], &vec![0; bytes.len() - at]].concat());
                for bit in [0x01, 0x20] {
                    let mut flipped = bytes.clone();
                    if let Some(byte) = flipped.get_mut(at + place % 5) {
                        *byte ^= bit;
                    }
                    push(flipped);
                }
            }
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            for lost in 0..lines.len().min(PLACES) {
                push([&lines[..lost], &lines[lost + 1..]].concat().concat());
                push(lines[..lost].concat());
            }
            let short = path.strip_prefix(&self.files.root).unwrap();
            for other in others {
                if let Some(Reading::Read(new)) = other.contents.get(&other.root.join(short)) {
                    push(new.clone());
                }
            }
            let like =
                self.files.contents.iter().filter(|(like, _)| like.file_name() == path.file_name());
            let like: BTreeSet<&Vec<u8>> = like.filter_map(|(_, one)| one.value()).collect();
            like.into_iter().take(PLACES).for_each(|new| push(new.clone()));
        }
        for (path, target) in &self.files.targets {
            let Reading::Read(_) = target else { continue };
            damages.push(Damage::Target(path.clone(), Reading::Absent));
            let like =
                self.files.targets.iter().filter(|(like, _)| like.file_name() == path.file_name());
            let targets: BTreeSet<&PathBuf> = like.filter_map(|(_, one)| one.value()).collect();
            let new = targets.into_iter().filter(|one| Some(*one) != target.value()).take(PLACES);
            damages.extend(new.map(|one| Damage::Target(path.clone(), Reading::Read(one.clone()))));
        }
        for (path, names) in &self.files.names {
            let names = names.value().into_iter().flatten();
            damages.extend(names.map(|name| Damage::Name(path.clone(), name.clone())));
        }
        damages
    }
}

/// Whether the table is one as the firmware makes it, so that it could be this host's.
fn sound(known: &Known) -> bool {
    let ivrs = known.table().ivrs().map(|table| table.header.checksum_ok);
    let dmar = known.dmar().dmar().map(|table| table.header.checksum_ok);
    ivrs.or(dmar) == Some(true)
}

#[test]
fn damage_clears_nobody() {
    let mut copies = copies();
    let whole: Vec<Files> = copies.iter().step_by(3).map(|copy| copy.files.clone()).collect();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for copy in &mut copies {
        let others: Vec<&Files> =
            whole.iter().filter(|other| other.root != copy.files.root).collect();
        for damage in copy.damages(&others) {
            tried += 1;
            for who in copy.harmed_by(&damage) {
                wrong.push(format!("{} {:?}: {damage:?}: {who}", copy.name, copy.evidence));
            }
        }
    }
    assert!(tried > 3_000, "{tried}");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_that_are_lost_or_changed_clear_nobody(
        picks in prop::collection::vec((any::<Index>(), any::<Index>(), any::<Index>(), 1..=u8::MAX, any::<bool>()), 16),
    ) {
        use std::cell::RefCell;
        thread_local! { static COPIES: RefCell<Vec<Copy>> = RefCell::new(copies()); }
        COPIES.with_borrow_mut(|copies| {
            for (copy, file, at, change, cut) in picks {
                let copy = copy.get_mut(copies);
                let (path, bytes) = {
                    let read: Vec<_> = copy.files.contents.iter().filter_map(|(path, content)| Some((path, content.value()?))).collect();
                    let (path, bytes) = file.get(&read);
                    ((*path).clone(), (*bytes).clone())
                };
                if bytes.is_empty() {
                    continue;
                }
                let at = at.index(bytes.len());
                let mut new = bytes;
                if cut {
                    new.truncate(at);
                } else {
                    new[at] ^= change;
                }
                let damage = Damage::Content(path, Reading::Read(new));
                let harmed = copy.harmed_by(&damage);
                prop_assert!(harmed.is_empty(), "{} {:?}: {damage:?}: {harmed:?}", copy.name, copy.evidence);
            }
            Ok(())
        })?;
    }
}
