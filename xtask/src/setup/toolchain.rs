//! What compiles and links the BPF programs.
//!
//! In this order:
//! 1. what `IVRS_TRACE_BPF_RUSTC` and `IVRS_TRACE_BPF_LINKER` name;
//! 2. where apt is: Debian's Rust compiler with its ready-made `core` for BPF, unpacked in the
//!    cache. It is the pinned one, with which the checked-in object was made, so it comes first
//!    also where there is a nightly;
//! 3. where rustup is: its nightly with the component rust-src.
//!
//! The linker is bpf-linker, installed from the crate registry into the cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use super::apt::{self, Apt};
use super::cache::Cache;
use super::items::{
    Item, LINKER, Origin, PINNED_LLVM, PINNED_LLVM_MAJOR, PROXY_LINKER, PROXY_LLVM_MAJOR, RUSTC,
};
use crate::{files, run, workspace};

pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A compiler and a linker for BPF that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// It may be a script that starts the compiler.
    pub(crate) rustc: PathBuf,
    pub(crate) bpf_linker: PathBuf,
    /// The variable by which the linker finds its LLVM.
    pub(crate) env: Option<(&'static str, PathBuf)>,
    /// Whether `core` must be compiled too, as the compiler has no ready-made one for BPF.
    pub(crate) build_std: bool,
    pub(crate) rustc_version: String,
    pub(crate) linker_version: String,
    /// Whether these are the exact versions with which the checked-in object was made.
    pub(crate) pinned: bool,
}

impl Toolchain {
    /// One line for people; it changes when the compiler or the linker does.
    pub(crate) fn description(&self) -> String {
        format!(
            "{}, {}{}{}",
            self.rustc_version,
            self.linker_version,
            if self.build_std { ", core from source" } else { "" },
            if self.pinned { ", pinned" } else { ", not the pinned versions" }
        )
    }

    fn probe(
        rustc: PathBuf,
        bpf_linker: PathBuf,
        env: Option<(&'static str, PathBuf)>,
        pinned: bool,
    ) -> Result<Self> {
        let rustc_version = run::output(compiler(&rustc).arg("--version"))?.trim().to_owned();
        let sysroot = run::output(compiler(&rustc).args(["--print", "sysroot"]))?;
        let lib = Path::new(sysroot.trim()).join("lib/rustlib");
        let core = |path: &PathBuf| path.display().to_string().contains("/libcore-");
        let build_std =
            !files::list(&lib.join(TARGET).join("lib")).is_ok_and(|paths| paths.iter().any(core));
        if build_std && !lib.join("src/rust/library/core").is_dir() {
            bail!(
                "{rustc_version} ({}) has neither a ready-made core for {TARGET} nor the \
                 standard library's source (component rust-src)",
                rustc.display()
            );
        }
        let mut linker = Command::new(&bpf_linker);
        let linker_version = run::output(linker.envs(env.clone()).arg("--version"))?;
        let linker_version = linker_version.trim().to_owned();
        Ok(Self { rustc, bpf_linker, env, build_std, rustc_version, linker_version, pinned })
    }
}

/// A compiler and a linker for BPF, got where needed. See the module for the choice.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let rustc = env::var_os("IVRS_TRACE_BPF_RUSTC").map(PathBuf::from);
    let linker = env::var_os("IVRS_TRACE_BPF_LINKER").map(PathBuf::from);
    if let (Some(rustc), Some(linker)) = (&rustc, &linker) {
        return Toolchain::probe(rustc.clone(), linker.clone(), None, false);
    }
    let found = if apt::usable() {
        debian().or_else(|debian| {
            rustup().map_err(|rustup| {
                anyhow!("no compiler for BPF: from Debian's packages: {debian:#}; {rustup:#}")
            })
        })
    } else {
        rustup().map_err(|rustup| anyhow!("no compiler for BPF: there is no apt here; {rustup:#}"))
    };
    if rustc.is_none() && linker.is_none() {
        return found;
    }
    let found = found?;
    Toolchain::probe(
        rustc.unwrap_or(found.rustc),
        linker.unwrap_or(found.bpf_linker),
        found.env,
        false,
    )
}

fn debian() -> Result<Toolchain> {
    let rustc = RUSTC.unpacked(|apt, packages, dest| {
        apt.fetch_unpack(packages, dest)?;
        wrapper(dest)?;
        run::output(compiler(&dest.join(RUSTC_SCRIPT)).arg("--version")).map(drop)
    })?;
    let rustc_pinned = RUSTC.pinned()?.is_some();
    let rustc = rustc.join(RUSTC_SCRIPT);
    let (linker, linker_pinned) = debian_linker(llvm_major(&rustc)?)?;
    Toolchain::probe(rustc, linker.join(LINKER_PROGRAM), None, rustc_pinned && linker_pinned)
}

/// The script that starts the unpacked compiler, below its folder.
const RUSTC_SCRIPT: &str = "bin/rustc-bpf";
const LINKER_PROGRAM: &str = "bin/bpf-linker";

/// Writes the script that starts the compiler with the libraries beside it. It finds them from
/// its own place, as the folder is renamed when it is whole.
fn wrapper(root: &Path) -> Result<()> {
    files::write_script(
        &root.join(RUSTC_SCRIPT),
        "#!/bin/sh\n\
         root=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
         LD_LIBRARY_PATH=\"$root/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n\
         export LD_LIBRARY_PATH\n\
         exec \"$root/usr/bin/rustc\" \"$@\"\n",
    )
}

/// The folder of a bpf-linker that has Debian's LLVM of this major version in it, and whether it
/// is the pinned one.
fn debian_linker(major: u32) -> Result<(PathBuf, bool)> {
    let pinned = (major == PINNED_LLVM_MAJOR).then_some(PINNED_LLVM);
    let cache = Cache::open()?;
    let made = || cache.get(&LINKER.folder(pinned?));
    if let Some(folder) = made() {
        return Ok((folder, true));
    }
    let folder = cache.kept(&LINKER, &major.to_string(), |lock| {
        let apt = Apt::open(lock, None)?;
        let package = format!("llvm-{major}-dev");
        let llvm = apt.pinned_or_newest(&package, pinned)?;
        let what = format!("{} with LLVM {llvm}", LINKER.name);
        lock.make(&LINKER.folder(&llvm), &what, |dest| {
            // The linker takes these libraries into itself, so their files are not kept.
            let scratch = lock.scratch()?;
            let root = scratch.path();
            let gcc = run::output(Command::new("gcc").arg("-dumpversion"))?;
            let gcc = gcc.trim().split('.').next().unwrap_or_default();
            let packages = [
                format!("{package}={llvm}"),
                "libzstd-dev".to_owned(),
                "zlib1g-dev".to_owned(),
                format!("libstdc++-{gcc}-dev"),
            ];
            apt.fetch_unpack(&packages, root)?;
            let lib = root.join("usr/lib/x86_64-linux-gnu");
            install_linker(
                dest,
                &LINKER,
                &["--no-default-features", "--features", &format!("llvm-{major},llvm-link-static")],
                &[
                    ("LLVM_PREFIX", root.join(format!("usr/lib/llvm-{major}"))),
                    ("LIBZSTD_PATH", lib.clone()),
                    ("ZLIB_PATH", lib),
                    ("CXXSTDLIB_PATH", root.join("usr/lib/gcc/x86_64-linux-gnu").join(gcc)),
                ],
            )
        })
    })?;
    Ok((folder, made().is_some()))
}

fn install_linker(
    dest: &Path,
    item: &Item,
    features: &[&str],
    variables: &[(&str, PathBuf)],
) -> Result<()> {
    let Origin::Crate { version } = item.from else { bail!("{} is no crate", item.name) };
    let target_dir = dest.join("target");
    eprintln!("    compiling bpf-linker");
    run::quietly(
        workspace::cargo(dest)
            .args(["install", "bpf-linker", "--locked", "--version", version, "--root"])
            .arg(dest)
            .args(features)
            .env("CARGO_TARGET_DIR", &target_dir)
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("CARGO_PROFILE_RELEASE_STRIP", "true")
            .envs(variables.iter().map(|(name, value)| (name, value))),
        "compiling bpf-linker",
    )?;
    files::remove_folder(&target_dir)
}

/// rustup's nightly with rust-src, and a bpf-linker for its LLVM.
fn rustup() -> Result<Toolchain> {
    if run::output(&mut rustup_command("--version")).is_err() {
        bail!("there is no rustup here");
    }
    let which = || run::output(&mut rustup_command("which rustc --toolchain nightly"));
    let has_source = |rustc: &str| {
        let root = Path::new(rustc.trim()).ancestors().nth(2);
        root.is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir())
    };
    let rustc = match which() {
        Ok(rustc) if has_source(&rustc) => rustc,
        // A nightly that is there is the user's: it gets the component and is not renewed.
        Ok(rustc) => {
            eprintln!("  adding the component rust-src to rustup's nightly");
            rustup_gets("component add rust-src --toolchain nightly")?;
            rustc
        }
        Err(_) => {
            eprintln!("  getting rustup's nightly with rust-src");
            rustup_gets("toolchain install nightly --profile minimal --component rust-src")?;
            which()?
        }
    };
    let rustc = PathBuf::from(rustc.trim());
    let root = rustc.ancestors().nth(2).context("rustup names a compiler without a folder")?;
    // An LLVM of the toolchain is what bpf-linker's proxy looks for.
    let env = Some(("LD_LIBRARY_PATH", root.join("lib")));
    let linker = nightly_linker(&rustc)?;
    Toolchain::probe(rustc, linker, env, false)
}

fn rustup_command(arguments: &str) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(arguments.split(' '));
    rustup
}

/// Runs rustup to download something; its error is the last line of what rustup prints.
fn rustup_gets(arguments: &str) -> Result<()> {
    run::quietly(&mut rustup_command(arguments), "rustup").map_err(|error| {
        let text = format!("{error:#}");
        let last = text.lines().last().unwrap_or_default();
        anyhow!("rustup cannot get nightly with rust-src: {last}")
    })
}

/// The bpf-linker on PATH, else one that is compiled into the cache.
fn nightly_linker(rustc: &Path) -> Result<PathBuf> {
    if run::output(Command::new("bpf-linker").arg("--version")).is_ok() {
        return Ok("bpf-linker".into());
    }
    let major = llvm_major(rustc)?;
    if major > PROXY_LLVM_MAJOR {
        bail!(
            "rustup's nightly has LLVM {major}: install a bpf-linker for it (see its releases), \
             then run this again"
        );
    }
    let folder = PROXY_LINKER.made("", |dest| install_linker(dest, &PROXY_LINKER, &[], &[]))?;
    Ok(folder.join(LINKER_PROGRAM))
}

/// The major version of the LLVM in a compiler. A linker must not have an older one.
fn llvm_major(rustc: &Path) -> Result<u32> {
    let text = run::output(compiler(rustc).args(["--version", "--verbose"]))?;
    text.lines()
        .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next()?.parse().ok())
        .with_context(|| format!("{} does not say which LLVM it has", rustc.display()))
}

/// A command that runs a compiler, free of the toolchain that the outer rustup chose.
pub(crate) fn compiler(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    command.env_remove("RUSTUP_TOOLCHAIN");
    command
}
