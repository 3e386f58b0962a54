//! The arrows between the parts of the crate are those that docs/architecture.md allows, and the
//! files import each other in no circle. Both are read from the `use` lines.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap or index is the failed assertion"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Modules by path, `["model", "known"]`, with the text of each but for its tests.
type Modules = BTreeMap<Vec<String>, String>;

/// `src` of this crate. Files of tests import what they like.
fn modules() -> Modules {
    fn walk(folder: &Path, path: &[String], found: &mut Modules) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap().path();
            let name = entry.file_stem().unwrap().to_str().unwrap().to_owned();
            if entry.is_dir() {
                walk(&entry, &[path, &[name]].concat(), found);
                continue;
            }
            let of_tests = ["tests", "fixture", "hosts", "readers", "valid", "main"];
            if entry.extension().is_none_or(|it| it != "rs") || of_tests.contains(&&*name) {
                continue;
            }
            if path.iter().any(|part| part == "tests") {
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let own = if name == "mod" || name == "lib" { vec![] } else { vec![name] };
            found.insert([path, &own].concat(), text[..tests].to_owned());
        }
    }
    let mut found = Modules::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut found);
    assert!(found.len() > 100, "{}", found.len());
    found
}

/// A use tree as the paths that it stands for, each with the name that it brings.
fn paths(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = if name.is_empty() { path.last().unwrap() } else { name };
        return vec![(path.clone(), name.trim().to_owned())];
    };
    let head: Vec<String> = tree[..open]
        .split("::")
        .map(|part| part.trim().to_owned())
        .filter(|it| !it.is_empty())
        .collect();
    let inner = &tree[open + 1..tree.rfind('}').unwrap()];
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty()).flat_map(paths);
    parts.map(|(path, name)| ([&head[..], &path].concat(), name)).collect()
}

/// The `use` lines of a text: path from the crate's root, the name that it brings, and whether it is
/// handed on.
fn uses(module: &[String], text: &str, modules: &Modules) -> Vec<(Vec<String>, String, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap().trim();
        let (tree, after) = rest[at + 4..].split_once(';').unwrap_or_default();
        rest = &rest[at + 4..];
        // Not in a comment, nor in a text that goes over several lines.
        let is_path =
            |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "_:{},*".contains(c);
        let is_use = (line.is_empty() || line.starts_with("pub")) && tree.chars().all(is_path);
        if !is_use || tree.is_empty() {
            continue;
        }
        rest = after;
        for (path, name) in paths(tree) {
            let root = match &*path[0] {
                "crate" => Vec::new(),
                "self" => module.to_vec(),
                "super" => {
                    let up = path.iter().take_while(|part| *part == "super").count();
                    let root = &module[..module.len().saturating_sub(up)];
                    found.push(([root, &path[up..]].concat(), name, line.starts_with("pub")));
                    continue;
                }
                child if modules.contains_key(&[module, &[child.to_owned()]].concat()) => {
                    found.push(([module, &path].concat(), name, line.starts_with("pub")));
                    continue;
                }
                _ => continue,
            };
            found.push(([&root[..], &path[1..]].concat(), name, line.starts_with("pub")));
        }
    }
    found
}

/// The module that a path leads to, through what others hand on.
fn target(
    path: &[String],
    modules: &Modules,
    handed: &BTreeMap<(Vec<String>, String), Vec<String>>,
    depth: usize,
) -> Option<Vec<String>> {
    for length in (1..=path.len()).rev().filter(|_| depth < 8) {
        let (module, rest) = path.split_at(length);
        if !modules.contains_key(module) {
            continue;
        }
        let through = rest.first().and_then(|name| handed.get(&(module.to_vec(), name.clone())));
        return match through {
            Some(to) if to != path => {
                target(&[&to[..], &rest[1..]].concat(), modules, handed, depth + 1)
            }
            _ => Some(module.to_vec()),
        };
    }
    None
}

/// Which file imports which.
fn arrows(modules: &Modules) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let all: Vec<_> =
        modules.iter().map(|(module, text)| (module, uses(module, text, modules))).collect();
    let mut handed = BTreeMap::new();
    for (module, uses) in &all {
        for (path, name, _) in uses.iter().filter(|(_, _, handed_on)| *handed_on) {
            handed.insert(((*module).clone(), name.clone()), path.clone());
        }
    }
    let mut arrows: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, uses) in &all {
        let targets = arrows.entry((*module).clone()).or_default();
        for (path, _, handed_on) in uses {
            if let Some(to) = target(path, modules, &handed, 0)
                && to != **module
                // A module that hands its children on does not use them for that.
                && !(*handed_on && to.starts_with(module))
            {
                targets.insert(to);
            }
        }
    }
    arrows
}

/// The floors that docs/architecture.md gives the parts: rows `| 1 | `event`, `firmware` |`.
fn floors() -> Option<BTreeMap<String, usize>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/architecture.md");
    // The packaged crate has no docs.
    let text = fs::read_to_string(file).ok()?;
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (Some(floor), Some(parts)) = (cells.next(), cells.next()) else { continue };
        let Ok(floor) = floor.parse() else { continue };
        floors.extend(parts.split(", ").map(|part| (part.trim_matches('`').to_owned(), floor)));
    }
    assert!(floors.len() > 20, "{floors:?}");
    Some(floors)
}

#[test]
fn no_part_imports_from_its_own_floor_or_above() {
    let Some(floors) = floors() else { return };
    let mut wrong = Vec::new();
    for (from, targets) in arrows(&modules()) {
        for to in targets {
            let (Some(a), Some(b)) = (from.first(), to.first()) else { continue };
            let floor = |part: &String| {
                *floors.get(part).unwrap_or_else(|| panic!("{part} has no floor in the table"))
            };
            let down = floor(b) < floor(a) || floor(b) == 0 && floor(a) == 0;
            if a != b && !down {
                wrong.push(format!("{} imports {}", from.join("::"), to.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_import_each_other_in_no_circle() {
    let arrows = arrows(&modules());
    let reach = |from: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Vec<String>> = arrows[from].iter().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(&arrows[module]);
            }
        }
        seen.contains(from)
    };
    let circles: Vec<String> =
        arrows.keys().filter(|module| reach(module)).map(|module| module.join("::")).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn use_trees_are_read() {
    let module = ["model".to_owned(), "known".to_owned()];
    let text =
        "pub use self::a::B;\nuse super::{c::{D, e as f}, g};\nuse std::fmt;\n// use crate::h;\n";
    let found: Vec<String> = uses(&module, text, &Modules::new())
        .into_iter()
        .map(|(path, name, handed_on)| format!("{} {name} {handed_on}", path.join("::")))
        .collect();
    assert_eq!(
        found,
        [
            "model::known::a::B B true",
            "model::c::D D false",
            "model::c::e f false",
            "model::g g false",
        ]
    );
}
