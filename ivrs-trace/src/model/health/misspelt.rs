//! Options for VFIO that nothing knows: the kernel and modprobe pass over them, mostly in silence.

use crate::{
    host::{Conditions, Reading},
    model::Known,
};

/// An option that nothing knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelt {
    /// The file that has it.
    pub file: String,
    /// As it is written there.
    pub text: String,
    /// What was likely meant, such as `vfio-pci.ids=10de:2684`; `None` where nothing is alike.
    pub meant: Option<String>,
}

/// The parameters of VFIO's modules, of all kernels since 3.6 (`module_param` in drivers/vfio and
/// drivers/iommu/iommufd).
const PARAMETERS: [(&str, &str); 15] = [
    ("vfio-pci", "ids"),
    ("vfio-pci", "nointxmask"),
    ("vfio-pci", "disable_vga"),
    ("vfio-pci", "disable_idle_d3"),
    ("vfio-pci", "enable_sriov"),
    ("vfio-pci", "disable_denylist"),
    ("vfio-pci-core", "nointxmask"),
    ("vfio-pci-core", "disable_idle_d3"),
    ("vfio-pci-core", "disable_denylist"),
    ("vfio", "enable_unsafe_noiommu_mode"),
    ("vfio_iommu_type1", "allow_unsafe_interrupts"),
    ("vfio_iommu_type1", "disable_hugepages"),
    ("vfio_iommu_type1", "dma_entry_limit"),
    ("iommufd", "allow_unsafe_interrupts"),
    ("vfio_platform", "reset_required"),
];
/// Of modprobe.d(5).
const COMMANDS: [&str; 8] =
    ["alias", "blacklist", "config", "include", "install", "options", "remove", "softdep"];
/// Letters that may be wrong in a name for it to be a misspelling.
const WRONG: usize = 4;
/// Options that are told at most.
const AT_MOST: usize = 16;

pub(super) fn misspelt(model: &Known, conditions: &Conditions) -> Vec<Misspelt> {
    let mut found = Vec::new();
    if let Reading::Read(line) = &model.host().command_line {
        let words = line.split_whitespace().take_while(|word| *word != "--");
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if !bears(name) {
                continue;
            }
            let known =
                name.split_once('.').is_some_and(|(module, parameter)| is_known(module, parameter));
            if !known {
                found.push(of("/proc/cmdline".to_owned(), word, name, value));
            }
        }
    }
    for (file, line) in &conditions.modprobe {
        let file = format!("/{file}");
        let mut words = line.split_whitespace();
        let (Some(command), Some(module)) = (words.next(), words.next()) else { continue };
        if !COMMANDS.contains(&command) && command != "weakdep" {
            let meant = line.replacen(command, "options", 1);
            let alike = command.starts_with("option").then_some(meant);
            found.push(Misspelt { file, text: line.clone(), meant: alike });
            continue;
        }
        if command != "options" || !bears(module) {
            continue;
        }
        for word in words {
            let (parameter, value) = word.split_once('=').unwrap_or((word, ""));
            if !is_known(module, parameter) {
                found.push(of(file.clone(), word, &format!("{module}.{parameter}"), value));
            }
        }
    }
    found.truncate(AT_MOST);
    found
}

/// Whether an option is meant for VFIO by its name.
fn bears(name: &str) -> bool {
    let name = plain(name);
    name.starts_with("vfio")
        || name.starts_with("vifo")
        || name.starts_with("allowunsafeinterupt")
        || name.starts_with("allowunsafeinterrupt")
}

/// A name as modules and parameters are compared, `-` being `_` (`dash2underscore`,
/// kernel/params.c), and without what else is mixed up.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect::<String>().to_lowercase()
}

fn is_known(module: &str, parameter: &str) -> bool {
    let same = |a: &str, b: &str| a.replace('-', "_") == b.replace('-', "_");
    // A module of another kind than these may have parameters that are not known here.
    let ours = PARAMETERS.iter().any(|(name, _)| same(name, module));
    let variant = !ours && module.replace('-', "_").contains("vfio_pci");
    variant || PARAMETERS.iter().any(|(name, known)| same(name, module) && same(known, parameter))
}

fn of(file: String, text: &str, name: &str, value: &str) -> Misspelt {
    let name = plain(name);
    let name: String = name.chars().take(64).collect();
    let likely = PARAMETERS
        .iter()
        .map(|(module, parameter)| {
            // A parameter alone lacks only its module.
            let whole = distance(&name, &plain(&format!("{module}.{parameter}")));
            (whole.min(distance(&name, &plain(parameter)) + 1), module, parameter)
        })
        .min_by_key(|(distance, ..)| *distance)
        .filter(|(distance, ..)| *distance <= WRONG);
    let meant = likely.map(|(_, module, parameter)| {
        let equals = if value.is_empty() { "" } else { "=" };
        format!("{module}.{parameter}{equals}{value}")
    });
    Misspelt { file, text: text.to_owned(), meant }
}

/// The letters to add, to drop and to change from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        let mut next = vec![left];
        for (above, other) in row.iter().skip(1).zip(&b) {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = *above;
            left = changed.min(left + 1).min(above + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Snapshot, model::RequireDirect};

    fn of_line(line: &str) -> Vec<(String, Option<String>)> {
        let host = Snapshot { command_line: Reading::Read(line.to_owned()), ..Snapshot::default() };
        let model = Known::new(host, RequireDirect::Present);
        let found = misspelt(&model, &Conditions::default());
        found.into_iter().map(|one| (one.text, one.meant)).collect()
    }

    #[test]
    fn what_is_misspelt_is_told_with_what_was_meant_and_nothing_else_is() {
        for (line, meant) in [
            ("vfio-pci-ids=10de:2684", "vfio-pci.ids=10de:2684"),
            ("vfio.pci.ids=10de:2684", "vfio-pci.ids=10de:2684"),
            ("vfio-pci.id=10de:2684", "vfio-pci.ids=10de:2684"),
            ("vfiopci.ids=10de:2684", "vfio-pci.ids=10de:2684"),
            ("vifo-pci.ids=10de:2684", "vfio-pci.ids=10de:2684"),
            (
                "vfio_iommu_type1.allow_unsafe_interupts=1",
                "vfio_iommu_type1.allow_unsafe_interrupts=1",
            ),
            ("allow_unsafe_interrupts=1", "vfio_iommu_type1.allow_unsafe_interrupts=1"),
            ("vfio-iommu-type1.disable_hugepage", "vfio_iommu_type1.disable_hugepages"),
        ] {
            assert_eq!(of_line(line), [(line.to_owned(), Some(meant.to_owned()))]);
        }
        // The kernel takes `-` for `_` in names of modules and parameters.
        for line in [
            "quiet vfio-pci.ids=1002:73bf,1002:ab28 vfio_pci.ids=1:2 vfio_pci.disable-vga=1",
            "vfio_iommu_type1.allow_unsafe_interrupts=1 iommufd.allow_unsafe_interrupts=1",
            "rd.driver.pre=vfio-pci modules_load=vfio-pci module_blacklist=vfio_pci iommu=pt",
            "mlx5_vfio_pci.x=1 quiet -- vfio-pci-ids=1:2",
        ] {
            assert_eq!(of_line(line), [], "{line}");
        }
        assert_eq!(of_line("vfio_frobnicate_everything=1").pop().unwrap().1, None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
