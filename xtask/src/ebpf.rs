//! `cargo xtask build-ebpf`: the BPF object, and the copy of it that is checked in.
//!
//! `docs/bpf-object.md` says why there is such a copy and how it is verified.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget};

use crate::setup::{self, Toolchain};
use crate::{files, run, workspace};

#[path = "../../ivrs-trace/build/digest.rs"]
mod digest;

const PACKAGE: &str = "ivrs-trace-ebpf";
/// The binary of that package and the name of the object's files.
const NAME: &str = "ivrs-trace-bpf";
const PROFILE: &str = "ebpf";
const TARGET: &str = setup::BPF_TARGET;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Renew the checked-in object
    #[arg(long, conflicts_with = "check_prebuilt")]
    update_prebuilt: bool,
    /// Fail if the checked-in object is not what the sources give
    #[arg(long)]
    check_prebuilt: bool,
    /// Build another object, whose programs log diagnostics through aya-log
    #[arg(long, conflicts_with_all = ["update_prebuilt", "check_prebuilt"])]
    log: bool,
}

pub(crate) fn command(args: &Args) -> Result<()> {
    let mut object = Object::new()?;
    if args.update_prebuilt {
        object.update()
    } else if args.check_prebuilt {
        object.check()
    } else if args.log {
        object.built = Record(object.target_dir.join("ebpf-log"));
        object.build(&setup::toolchain()?, &["log"])?;
        let path = object.built.file("o");
        println!(
            "use it with: IVRS_TRACE_BPF_OBJECT={} cargo build --features bpf-log",
            path.display()
        );
        Ok(())
    } else if object.built.is_of(&object.digest) {
        println!("{} is up to date", object.built.file("o").display());
        Ok(())
    } else {
        object.build(&setup::toolchain()?, &[])
    }
}

/// Builds the object unless there is one of these sources: the checked-in one or one that was built
/// here.
pub(crate) fn ensure_object() -> Result<()> {
    let object = Object::new()?;
    if object.built.is_of(&object.digest) || object.prebuilt.is_of(&object.digest) {
        return Ok(());
    }
    object.build(&setup::toolchain()?, &[])
}

/// Rebuilds the object and compares it with the checked-in one (`--check-prebuilt`).
pub(crate) fn check_prebuilt() -> Result<()> {
    Object::new()?.check()
}

/// The folder of an object, the digest of its sources and, for people, what it was made with.
struct Record(PathBuf);

impl Record {
    fn file(&self, extension: &str) -> PathBuf {
        self.0.join(NAME).with_extension(extension)
    }

    fn is_of(&self, digest: &str) -> bool {
        self.file("o").is_file()
            && files::text(self.file("sources")).is_ok_and(|text| text.trim() == digest)
    }

    /// Writes all three. The digest comes last and an old one goes first: an object beside its
    /// digest is always whole.
    fn write(&self, object: &[u8], digest: &str, toolchain: &Toolchain) -> Result<()> {
        let provenance = format!(
            "compiler: {}\nlinker: {}\ncore: {}\ntarget: {TARGET}\n",
            toolchain.rustc_version,
            toolchain.linker_version,
            if toolchain.build_std { "compiled from source" } else { "ready-made" },
        );
        if self.file("sources").exists() {
            files::remove(&self.file("sources"))?;
        }
        files::write(self.file("o"), object)?;
        files::write(self.file("provenance"), provenance)?;
        files::write(self.file("sources"), format!("{digest}\n"))
    }
}

/// The object that is built here and the checked-in one, and the digest of the sources.
struct Object {
    root: PathBuf,
    target_dir: PathBuf,
    built: Record,
    prebuilt: Record,
    digest: String,
}

impl Object {
    fn new() -> Result<Self> {
        let (root, target_dir) = (workspace::root()?, workspace::target_dir()?);
        let digest = digest::sources(&root)
            .context("cannot read the sources of the BPF programs")?
            .with_context(|| format!("{} lacks the BPF programs", root.display()))?;
        let built = Record(target_dir.join("ebpf"));
        Ok(Self {
            built,
            prebuilt: Record(root.join("ivrs-trace/prebuilt")),
            root,
            target_dir,
            digest,
        })
    }

    fn update(&self) -> Result<()> {
        let toolchain = setup::toolchain()?;
        ensure!(
            toolchain.pinned,
            "only the pinned compiler and linker make the checked-in object, and this is {}",
            toolchain.description()
        );
        self.build(&toolchain, &[])?;
        let object = files::read(self.built.file("o"))?;
        self.prebuilt.write(&object, &self.digest, &toolchain)?;
        println!("wrote {}", self.prebuilt.file("o").display());
        Ok(())
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.prebuilt.is_of(&self.digest),
            "the checked-in BPF object was not made from these sources: run `cargo xtask build-ebpf \
             --update-prebuilt` and commit ivrs-trace/prebuilt"
        );
        let toolchain = setup::toolchain()?;
        self.build(&toolchain, &[])?;
        let (ours, theirs) =
            (files::read(self.built.file("o"))?, files::read(self.prebuilt.file("o"))?);
        if ours == theirs {
            println!("the checked-in object and the rebuilt one are the same, byte for byte");
            return Ok(());
        }
        ensure!(
            !toolchain.pinned,
            "the checked-in object is not what the pinned compiler and linker make of its sources \
             ({} and {} bytes): run `cargo xtask build-ebpf --update-prebuilt`",
            theirs.len(),
            ours.len()
        );
        let (ours, theirs) = (contents(&ours)?, contents(&theirs)?);
        for name in ours.keys().chain(theirs.keys()) {
            ensure!(
                ours.get(name) == theirs.get(name),
                "section {name} of the checked-in object differs from what {} makes of the sources",
                toolchain.description()
            );
        }
        println!(
            "the checked-in object and the rebuilt one have the same code, data and relocations; \
             type and line information was not compared, as it differs between compilers ({})",
            toolchain.description()
        );
        Ok(())
    }

    /// Compiles and links the programs with features of their crate, and writes the object without
    /// DWARF.
    fn build(&self, toolchain: &Toolchain, features: &[&str]) -> Result<()> {
        let started = Instant::now();
        let Self { root, target_dir, .. } = self;
        let build_dir = target_dir.join("ebpf-build");
        let sysroot = run::output(setup::compiler(&toolchain.rustc).args(["--print", "sysroot"]))?;
        let mut flags = vec![
            "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            format!("-Clinker={}", toolchain.bpf_linker.display()),
        ];
        // No path of this machine gets into the object. The last match counts: the more special
        // folders come after those that they can be in.
        let cargo_home = cargo_home()?;
        let mut paths = vec![
            (root.clone(), "."),
            (cargo_home.clone(), "/cargo"),
            (PathBuf::from(sysroot.trim()), "/rust"),
            (build_dir.clone(), "/target"),
        ];
        // The folders in here are named after the registry, which a mirror changes. They are there
        // once the crates are.
        run::quietly(workspace::cargo(root).args(["fetch", "--locked"]), "fetching crates")?;
        if let Ok(registries) = fs::read_dir(cargo_home.join("registry/src")) {
            paths.extend(registries.flatten().map(|entry| (entry.path(), "/crates")));
        }
        for (path, name) in paths {
            flags.push(format!("--remap-path-prefix={}={name}", path.display()));
        }
        let mut cargo = workspace::cargo(root);
        cargo
            .args(["build", "--locked", "--package", PACKAGE, "--bin", NAME])
            .args(["--profile", PROFILE, "--target", TARGET, "--target-dir"])
            .arg(&build_dir)
            .args(features.iter().flat_map(|feature| ["--features", feature]))
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("RUSTC", &toolchain.rustc)
            // aya-ebpf needs inline assembly for BPF, which no stable compiler offers.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .envs(toolchain.env.clone());
        if toolchain.build_std {
            cargo.arg("-Zbuild-std=core");
        }
        run::quietly(&mut cargo, "building the BPF object")?;
        let linked = files::read(build_dir.join(TARGET).join(PROFILE).join(NAME))?;
        let object = strip_dwarf(&linked).context("cannot remove DWARF from the BPF object")?;
        ensure!(
            contents(&object)?.contains_key("license"),
            "the object that was built has no BPF programs in it"
        );
        self.built.write(&object, &self.digest, toolchain)?;
        println!(
            "built {} ({} bytes, {:.1} s) with {}",
            self.built.file("o").display(),
            object.len(),
            started.elapsed().as_secs_f32(),
            toolchain.description()
        );
        Ok(())
    }
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let home = env::home_dir().context("there is no home folder: set CARGO_HOME")?;
    Ok(home.join(".cargo"))
}

/// The object without its DWARF sections. BTF, which the kernel reads, stays.
fn strip_dwarf(data: &[u8]) -> Result<Vec<u8>> {
    let mut builder = object::build::elf::Builder::read(data)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        if name.starts_with(".debug") || name.starts_with(".rel.debug") {
            section.delete = true;
        }
    }
    builder.delete_orphans();
    // LLVM keeps section names in the symbols' string table; the writer wants one of their own.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = object::build::elf::SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// What a section does: its bytes, and what its relocations point at (offset in it, section and
/// offset there).
type Content = (Vec<u8>, Vec<(u64, String, u64)>);

/// The sections with code or data, by name. Type and line information and the symbol table, in
/// which names carry the compiler's version, are left out.
fn contents(data: &[u8]) -> Result<BTreeMap<String, Content>> {
    let file = ElfFile64::<Endianness>::parse(data).context("this is not a BPF object")?;
    let mut contents = BTreeMap::new();
    for section in file.sections() {
        let name = section.name()?.to_owned();
        let table = [".BTF", ".rel", ".symtab", ".strtab"].iter().any(|p| name.starts_with(p));
        if table || name.is_empty() {
            continue;
        }
        let mut relocations = Vec::new();
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(index)?;
            let target = match symbol.section_index() {
                Some(index) => file.section_by_index(index)?.name()?.to_owned(),
                None => symbol.name()?.to_owned(),
            };
            relocations.push((offset, target, symbol.address()));
        }
        // Programs of one kind can share a section's name only if they are the same section, as
        // the linker puts them together.
        contents.insert(name, (section.data()?.to_vec(), relocations));
    }
    Ok(contents)
}
