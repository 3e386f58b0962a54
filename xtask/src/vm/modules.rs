//! Kernel modules for the guest: which ones a set of drivers needs, and the index files that
//! `modprobe` wants.
//!
//! What a module needs and what it answers to is written in the module itself (`.modinfo`:
//! `depends=`, `softdep=`, `alias=`), so the host needs no `depmod`. The symbol tables are not
//! looked at: `depends=` is what the kernel's own build found.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use crate::files;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name with underscores, as in `/proc/modules`.
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    info: Info,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Info {
    depends: Vec<String>,
    /// Modules to load before this one if they are there.
    pre: Vec<String>,
    aliases: Vec<String>,
}

/// The chosen modules and all that they need, each after the ones that it needs.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) modules: Vec<Module>,
}

impl Closure {
    /// Reads `names` and everything that they depend on from the module folder of one kernel
    /// (`lib/modules/RELEASE`).
    pub(crate) fn read(folder: &Path, names: &[&str]) -> Result<Self> {
        let index = Index::scan(folder)?;
        let mut found: BTreeMap<String, Module> = BTreeMap::new();
        let mut queue: VecDeque<String> = names.iter().map(|name| canonical(name)).collect();
        while let Some(name) = queue.pop_front() {
            if found.contains_key(&name) {
                continue;
            }
            let Some(path) = index.files.get(&name) else {
                if index.builtin.contains(&name) {
                    continue;
                }
                bail!("no module {name} under {}, and it is not built in", folder.display());
            };
            let content = load(path)?;
            let mut info = Info::read(&content)
                .with_context(|| format!("cannot read the module {}", path.display()))?;
            info.pre.retain(|soft| index.files.contains_key(soft));
            info.depends.retain(|hard| !index.builtin.contains(hard));
            queue.extend(info.depends.iter().chain(&info.pre).cloned());
            found.insert(name.clone(), Module { name, content, info });
        }
        Ok(Self { modules: ordered(found) })
    }

    /// `modules.dep`: a line a module, its path and the paths of all that must be loaded before
    /// it, nearest first (the order that `modprobe` expects).
    pub(crate) fn modules_dep(&self) -> String {
        let mut text = String::new();
        for module in &self.modules {
            let _ = write!(text, "{}:", file_name(&module.name));
            for name in self.needed_by(module) {
                let _ = write!(text, " {}", file_name(&name));
            }
            text.push('\n');
        }
        text
    }

    /// `modules.alias`: which module answers to which device or name.
    pub(crate) fn modules_alias(&self) -> String {
        let mut text = String::new();
        for module in &self.modules {
            for alias in &module.info.aliases {
                let _ = writeln!(text, "alias {alias} {}", module.name);
            }
        }
        text
    }

    /// Everything that must be loaded before `module`, soft dependencies included: busybox's
    /// modprobe does not read `modules.softdep`. A module comes before the ones that it needs.
    fn needed_by(&self, module: &Module) -> Vec<String> {
        let mut wanted: Vec<&str> = vec![&module.name];
        let mut needed = Vec::new();
        // `modules` is in load order, so going backwards meets each module after its users.
        for other in self.modules.iter().rev() {
            if wanted.contains(&other.name.as_str()) {
                wanted.extend(other.info.depends.iter().chain(&other.info.pre).map(String::as_str));
                if other.name != module.name {
                    needed.push(other.name.clone());
                }
            }
        }
        needed
    }
}

/// Where a module lies in the guest, relative to `/lib/modules/RELEASE`.
pub(crate) fn file_name(name: &str) -> String {
    format!("{name}.ko")
}

/// Module names are written with `-` or `_`; the kernel takes both and shows `_`.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Dependencies first. A cycle (the kernel has none) would be cut at its first module.
fn ordered(mut found: BTreeMap<String, Module>) -> Vec<Module> {
    let mut order = Vec::new();
    while let Some(name) = found
        .iter()
        .find(|(_, module)| {
            let info = &module.info;
            !info.depends.iter().chain(&info.pre).any(|need| found.contains_key(need))
        })
        .or_else(|| found.first_key_value())
        .map(|(name, _)| name.clone())
    {
        order.extend(found.remove(&name));
    }
    order
}

#[derive(Debug, Default)]
struct Index {
    files: BTreeMap<String, PathBuf>,
    builtin: Vec<String>,
}

impl Index {
    fn scan(folder: &Path) -> Result<Self> {
        let mut index = Self::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for path in files::list(&folder)? {
                let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if let Some((stem, _)) = name.split_once(".ko") {
                    index.files.insert(canonical(stem), path);
                }
            }
        }
        // Without the file nothing counts as built in, and a missing module is an error.
        let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        index.builtin = builtin
            .lines()
            .filter_map(|line| Some(canonical(Path::new(line.trim()).file_stem()?.to_str()?)))
            .collect();
        Ok(index)
    }
}

/// The file, decompressed where its name says that it is compressed.
fn load(path: &Path) -> Result<Vec<u8>> {
    let raw = files::read(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => Ok(raw),
        Some("xz") => {
            let mut content = Vec::new();
            liblzma::read::XzDecoder::new(raw.as_slice())
                .read_to_end(&mut content)
                .with_context(|| format!("cannot decompress {}", path.display()))?;
            Ok(content)
        }
        _ => bail!("{}: modules are read as .ko and .ko.xz only", path.display()),
    }
}

impl Info {
    fn read(content: &[u8]) -> Result<Self> {
        let file = object::File::parse(content)?;
        let section = file.section_by_name(".modinfo").context("it has no .modinfo")?;
        Ok(Self::parse(section.data()?))
    }

    /// The section is a row of `key=value` strings, each ended by a NUL.
    fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for entry in section.split(|byte| *byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            match entry.split_once('=') {
                Some(("depends", list)) => {
                    let names = list.split(',').filter(|name| !name.is_empty());
                    info.depends.extend(names.map(canonical));
                }
                Some(("alias", alias)) => info.aliases.push(alias.to_owned()),
                Some(("softdep", list)) => {
                    let before = list.split_whitespace().skip_while(|word| *word != "pre:");
                    let names = before.skip(1).take_while(|word| *word != "post:");
                    info.pre.extend(names.map(canonical));
                }
                _ => {}
            }
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, section: &[u8]) -> (String, Module) {
        let info = Info::parse(section);
        (name.to_owned(), Module { name: name.to_owned(), content: Vec::new(), info })
    }

    fn vfio() -> Closure {
        let modules = [
            module("vfio_pci", b"license=GPL v2\0alias=vfio_pci:v*\0depends=vfio-pci-core,vfio\0"),
            module("vfio_pci_core", b"depends=vfio,irqbypass\0"),
            module("vfio", b"depends=\0alias=devname:vfio/vfio\0softdep=post: vfio_iommu_type1\0"),
            module("irqbypass", b"depends=\0"),
            module("ext4", b"softdep=pre: crc32c post: other\0"),
            module("crc32c", b"\0"),
        ];
        Closure { modules: ordered(modules.into_iter().collect()) }
    }

    #[test]
    fn a_module_is_listed_with_all_that_it_needs_nearest_first() {
        let dep = vfio().modules_dep();
        assert!(dep.contains("vfio.ko:\n"), "{dep}");
        assert!(dep.contains("ext4.ko: crc32c.ko\n"), "{dep}");
        let line = dep.lines().find(|line| line.starts_with("vfio_pci.ko:")).unwrap();
        let (core, vfio) = (line.find(" vfio_pci_core.ko"), line.find(" vfio.ko"));
        assert!(core.is_some() && core < vfio, "{line}");
        assert!(line.contains(" irqbypass.ko"), "{line}");
    }

    #[test]
    fn modules_come_after_the_ones_that_they_need() {
        let closure = vfio();
        let at = |name: &str| closure.modules.iter().position(|m| m.name == name).unwrap();
        assert!(at("vfio") < at("vfio_pci_core"));
        assert!(at("vfio_pci_core") < at("vfio_pci"));
        assert!(at("crc32c") < at("ext4"));
    }

    #[test]
    fn aliases_name_their_module() {
        assert_eq!(
            vfio().modules_alias(),
            "alias devname:vfio/vfio vfio\nalias vfio_pci:v* vfio_pci\n"
        );
    }

    #[test]
    fn a_missing_module_is_an_error_and_a_built_in_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/lib/built-in.ko\n").unwrap();
        let closure = Closure::read(folder.path(), &["built_in"]).unwrap();
        assert!(closure.modules.is_empty());
        let error = Closure::read(folder.path(), &["absent"]).unwrap_err();
        assert!(error.to_string().contains("no module absent"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_module_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("broken.ko"), b"no module").unwrap();
        let error = Closure::read(folder.path(), &["broken"]).unwrap_err();
        assert!(error.to_string().contains("broken.ko"), "{error}");
    }
}
