//! The lab's own kernels, for what no kernel of Debian has: iommufd with VFIO's device nodes
//! (`iommufd`), and the same with an out-of-tree patch that relaxes what the firmware asks for
//! (`iommufd-relax`).
//!
//! Both come from Debian's kernel source and a small configuration of ours (`xtask/kernel`). One
//! build makes both: the second costs half a minute in the tree of the first, and the tree, which
//! is large, is not kept. The build's tools are packages unpacked beside it; of the system it needs
//! a C compiler only.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};

use super::apt::Apt;
use super::cache::{Cache, Locked};
use super::items::{Item, KERNELS, Origin, digest};
use super::kernel_files::dependencies;
use super::tools::library_path;
use crate::{files, run};

/// The package with the source. 6.12 keeps interrupt remapping on under QEMU 7.2.
const SOURCE: &str = "linux-source-6.12";
const CONFIGURATION: &str = include_str!("../../kernel/iommufd.config");
/// Raised when the code below makes something else from the same parts.
const RECIPE: &str = "1";

/// What a build needs besides the C compiler. The libraries are named with their headers, so that
/// the headers' links lead somewhere.
const TOOLS: [&str; 10] =
    ["make", "bc", "patch", "m4", "flex", "bison", "pahole", "libelf-dev", "libelf1", "zlib1g-dev"];
/// And what it needs where the system has no `python3`.
const PYTHON: &str = "python3-minimal";

/// All of them in the order of building, with patch and suffix.
fn items() -> impl Iterator<Item = (&'static Item, Option<&'static str>, &'static str)> {
    KERNELS.iter().filter_map(|item| match item.from {
        Origin::Source { patch, suffix } => Some((item, patch, suffix)),
        _ => None,
    })
}

/// The folder of one of them, built from the newest source that the archive has.
pub(super) fn folder(item: &Item) -> Result<PathBuf> {
    let ingredients = ingredients(&compiler()?);
    Cache::open()?.kept(item, &ingredients, |lock| {
        let key = newest(lock, &ingredients)?;
        let folder = lock.cache().get(&item.folder(&key));
        folder.with_context(|| format!("the build made no {}", item.name))
    })
}

fn compiler() -> Result<String> {
    let text = run::output(Command::new("gcc").arg("--version"))
        .context("no C compiler here: install the packages gcc and libc6-dev")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A short name for everything that the kernels are made from besides the source.
fn ingredients(compiler: &str) -> String {
    let patches = items().filter_map(|(_, patch, _)| patch);
    let parts = [RECIPE, CONFIGURATION].into_iter().chain(patches).chain([compiler]);
    digest(6, parts.map(str::as_bytes))
}

/// Builds all of them from the newest source, unless the cache has them, and returns their key.
fn newest(lock: &Locked<'_>, ingredients: &str) -> Result<String> {
    let apt = Apt::open(lock, None)?;
    let version = apt.pinned_or_newest(SOURCE, None)?;
    let key = format!("{version}-{ingredients}");
    if items().all(|(item, ..)| lock.cache().get(&item.folder(&key)).is_some()) {
        return Ok(key);
    }
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    eprintln!(
        "  building the kernels iommufd and iommufd-relax from Debian's source with {jobs} \
         processor(s): about 5 minutes on 2 idle ones; 3 GB of disk are used meanwhile"
    );
    let scratch = lock.scratch()?;
    let build = Build::prepare(&apt, scratch.path(), &version)?;
    for (item, patch, suffix) in items() {
        if let Some(patch) = patch {
            build.patch(patch)?;
        }
        lock.make(&item.folder(&key), &format!("kernel {}", item.name), |dest| {
            let what = format!("building the kernel {}", item.name);
            // Silent: an error is then the last thing that is printed.
            run::quietly(
                build.variant(suffix).arg(format!("-j{jobs}")).args(["-s", "bzImage", "modules"]),
                &what,
            )?;
            build.install(suffix, dest)?;
            dependencies(&apt, dest)
        })?;
    }
    Ok(key)
}

/// A configured source tree and the tools to build it.
struct Build {
    tools: PathBuf,
    tree: PathBuf,
}

impl Build {
    fn prepare(apt: &Apt<'_>, folder: &Path, version: &str) -> Result<Self> {
        let tools = folder.join("tools");
        let mut packages = TOOLS.to_vec();
        if run::output(Command::new("python3").arg("--version")).is_err() {
            packages.push(PYTHON);
        }
        apt.fetch_unpack(&apt.closure(&packages)?, &tools)?;
        let package = folder.join("package");
        apt.fetch_unpack(&[format!("{SOURCE}={version}")], &package)?;
        eprintln!("    unpacking the source");
        unpack(&package.join(format!("usr/src/{SOURCE}.tar.xz")), folder)?;
        files::remove_folder(&package)?;

        let build = Self { tools, tree: folder.join(SOURCE) };
        let wanted = folder.join("wanted.config");
        files::write(&wanted, CONFIGURATION)?;
        run::quietly(
            build.command().arg("allnoconfig").env("KCONFIG_ALLCONFIG", &wanted),
            "configuring the kernel",
        )?;
        let got = files::text(build.tree.join(".config"))?;
        let missed = not_taken(CONFIGURATION, &got);
        ensure!(missed.is_empty(), "this source does not have {}", missed.join(", "));
        Ok(build)
    }

    /// `make` in the tree, with our tools.
    fn command(&self) -> Command {
        let usr = self.tools.join("usr");
        let path = env::var_os("PATH").unwrap_or_default();
        let mut path_with_tools = OsString::from(usr.join("bin"));
        path_with_tools.push(":");
        path_with_tools.push(path);
        let library = usr.join("lib/x86_64-linux-gnu");
        let include = usr.join("include");
        let mut make = Command::new(usr.join("bin/make"));
        make.current_dir(&self.tree)
            .arg(format!(
                "HOSTCC=gcc -I{} -I{} -L{}",
                include.display(),
                include.join("x86_64-linux-gnu").display(),
                library.display()
            ))
            .args(["KBUILD_BUILD_USER=lab", "KBUILD_BUILD_HOST=ivrs-trace"])
            .env("PATH", path_with_tools)
            .env("BISON_PKGDATADIR", usr.join("share/bison"))
            .env("M4", usr.join("bin/m4"))
            .envs(library_path(&self.tools).map(|path| ("LD_LIBRARY_PATH", path)));
        // What would change the build from outside.
        for variable in
            ["MAKEFLAGS", "MFLAGS", "ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT", "LOCALVERSION"]
        {
            make.env_remove(variable);
        }
        make
    }

    fn variant(&self, suffix: &str) -> Command {
        let mut make = self.command();
        make.arg(format!("LOCALVERSION={suffix}"));
        make
    }

    fn patch(&self, patch: &str) -> Result<()> {
        let file = self.tools.join("applied.patch");
        files::write(&file, patch)?;
        let mut command = Command::new(self.tools.join("usr/bin/patch"));
        command.args(["-p1", "--batch", "--forward", "-d"]).arg(&self.tree).arg("-i").arg(&file);
        run::quietly(&mut command, "patching the kernel")
            .context("the patch does not fit this source")
    }

    /// Puts kernel, configuration and modules where Debian's packages have them.
    fn install(&self, suffix: &str, dest: &Path) -> Result<()> {
        let mut command = self.variant(suffix);
        command
            .arg(format!("INSTALL_MOD_PATH={}", dest.display()))
            .args(["INSTALL_MOD_STRIP=1", "modules_install"]);
        run::quietly(&mut command, "installing the modules")?;
        let release = fs::read_to_string(self.tree.join("include/config/kernel.release"))
            .context("the build names no release")?;
        let release = release.trim();
        // It leads to the tree, which goes.
        let _ = fs::remove_file(dest.join("lib/modules").join(release).join("build"));
        let boot = dest.join("boot");
        files::make_folder(&boot)?;
        for (from, to) in [("arch/x86/boot/bzImage", "vmlinuz"), (".config", "config")] {
            let to = boot.join(format!("{to}-{release}"));
            fs::copy(self.tree.join(from), &to)
                .with_context(|| format!("cannot copy {from} to {}", to.display()))?;
        }
        Ok(())
    }
}

/// Unpacks a `.tar.xz` into `dest`. tar alone would need the program xz too.
fn unpack(archive: &Path, dest: &Path) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let mut tar = Command::new("tar")
        .args(["-x", "-C"])
        .arg(dest)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run tar")?;
    let mut input = tar.stdin.take().context("tar has no standard input")?;
    let copied =
        io::copy(&mut liblzma::read::XzDecoder::new(file), &mut input).and_then(|_| input.flush());
    // A broken pipe is tar's failure, which tar has printed.
    if let Err(error) = copied
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = tar.kill();
        let _ = tar.wait();
        return Err(error).with_context(|| format!("cannot decompress {}", archive.display()));
    }
    drop(input);
    let status = tar.wait().context("cannot wait for tar")?;
    ensure!(status.success(), "tar failed ({status}) with {}", archive.display());
    Ok(())
}

/// The lines of the configuration `wanted` that are not in force in `got`: options that the source
/// does not have (any more), and those whose conditions are not met.
fn not_taken<'a>(wanted: &'a str, got: &str) -> Vec<&'a str> {
    let set: Vec<&str> = got.lines().collect();
    let options = wanted.lines().filter(|line| line.starts_with("CONFIG_"));
    options
        .filter(|line| match line.strip_suffix("=n") {
            Some(name) => set
                .iter()
                .any(|set| set.strip_prefix(name).is_some_and(|value| value.starts_with('='))),
            None => !set.contains(line),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_do_not_take_effect_are_named() {
        let got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_DD=y\n";
        let wanted = "# a comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=n\nCONFIG_E=y\n";
        assert_eq!(not_taken(wanted, got), ["CONFIG_C=y", "CONFIG_E=y"]);
        assert_eq!(not_taken("CONFIG_A=n\n", got), ["CONFIG_A=n"]);
    }

    #[test]
    fn another_compiler_makes_another_kernel() {
        assert_ne!(ingredients("gcc 12"), ingredients("gcc 14"));
    }

    #[test]
    fn an_archive_that_is_none_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source.tar.xz");
        fs::write(&path, b"no archive").unwrap();
        let error = unpack(&path, folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("source.tar.xz"), "{error:#}");
    }
}
