//! Debian packages without installing them: an apt of our own that reads the system's sources
//! and keys but keeps its lists, downloads and locks in the cache folder, so it works for an
//! ordinary user and never changes the system.
//!
//! It can also read another suite of the same archive ([`Apt::suite`]), in folders of its own.
//!
//! Packages are unpacked, not installed: their maintainer scripts do not run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::cache::{Locked, age};
use crate::{files, run};

/// Older lists are renewed before the archive's newest version of something is asked for.
const LISTS_BELIEVED: Duration = Duration::from_hours(24);
/// A package that lists younger than this do not know is not asked for again.
const LISTS_JUST_MADE: Duration = Duration::from_mins(10);

/// The private apt. Only the holder of the cache's lock uses it.
pub(super) struct Apt<'a> {
    lock: &'a Locked<'a>,
    folder: PathBuf,
}

/// Packages that hold what newer kernel packages only depend on (from 6.19 on, further split in
/// 7.2): prefixes before the kernel's release.
const KERNEL_PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];

/// Where Debian's package of its keys puts them all in one file, by release.
const DEBIAN_KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// Whether this machine has the programs that the private apt is made of.
pub(super) fn usable() -> bool {
    ["apt-get", "apt-cache", "dpkg", "dpkg-query"].iter().all(|program| {
        Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success())
    })
}

impl<'a> Apt<'a> {
    /// Makes the private apt's folders and configuration. With `suite` it reads only that, from the
    /// archive that the system's own release comes from, and takes it only if signed with a key that
    /// the system trusts. Whether the archive has the suite shows when its lists are first needed.
    pub(super) fn open(lock: &'a Locked<'a>, suite: Option<&str>) -> Result<Self> {
        let Some(suite) = suite else { return Self::make(lock, "apt", None) };
        let archive = Self::open(lock, None)?.archive()?;
        let keyring = DEBIAN_KEYRINGS.iter().find(|path| Path::new(path).is_file());
        // Without the file, apt looks in the system's folder of trusted keys.
        let signed = keyring.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
        let source = format!("deb {signed}{archive} {suite} main\n");
        Self::make(lock, &format!("apt-{suite}"), Some(&source))
    }

    fn make(lock: &'a Locked<'a>, name: &str, only: Option<&str>) -> Result<Self> {
        if !usable() {
            bail!("apt-get, apt-cache and dpkg are needed (Debian or a system made from it)");
        }
        let folder = lock.cache().root().join(name);
        for sub in ["state/lists/partial", "cache/archives/partial", "log"] {
            files::make_folder(folder.join(sub))?;
        }
        files::write(folder.join("status"), "")?;
        // The system's hooks act on the system's folders; they are not for this apt.
        let mut configuration = format!(
            "#clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             Dir::State \"{0}/state\";\n\
             Dir::State::status \"{0}/status\";\n\
             Dir::Cache \"{0}/cache\";\n\
             Dir::Cache::pkgcache \"\";\n\
             Dir::Cache::srcpkgcache \"\";\n\
             Dir::Log \"{0}/log\";\n\
             APT::Sandbox::User \"root\";\n\
             APT::Install-Recommends \"false\";\n\
             APT::Update::Error-Mode \"any\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"2\";\n\
             Acquire::http::Timeout \"30\";\n\
             Acquire::https::Timeout \"30\";\n",
            folder.display()
        );
        if let Some(source) = only {
            let list = folder.join("sources.list");
            files::write(&list, source)?;
            let _ = write!(
                configuration,
                "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/dev/null\";\n",
                list.display()
            );
        }
        files::write(folder.join("apt.conf"), configuration)?;
        Ok(Self { lock, folder })
    }

    /// The address of the archive that the system's release comes from.
    fn archive(&self) -> Result<String> {
        let format = "$(RELEASE) $(REPO_URI)";
        let sources = run::output(self.command("apt-get").args([
            "indextargets",
            // Also what no list was fetched of yet.
            "--no-release-info",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        system_archive(&sources, &system)
            .context("no package source of this system is one of its own release")
    }

    /// The newest version of `package` that the archive has; `None` when it has none.
    fn candidate(&self, package: &str) -> Result<Option<String>> {
        // Lists that do not know it may be older than it is.
        for believed in [LISTS_BELIEVED, LISTS_JUST_MADE] {
            self.lists(believed)?;
            let text = run::output(self.command("apt-cache").args(["policy", package]))?;
            let candidate = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
            if let Some(version) = candidate.filter(|version| *version != "(none)") {
                return Ok(Some(version.to_owned()));
            }
        }
        Ok(None)
    }

    /// `pinned` where the archive still has it, else the newest version, with a warning if one is pinned.
    pub(super) fn pinned_or_newest(&self, package: &str, pinned: Option<&str>) -> Result<String> {
        let newest = self.candidate(package)?.with_context(|| {
            format!("the archive has no package {package} (its release may be another one)")
        })?;
        let Some(pinned) = pinned else { return Ok(newest) };
        // Lines like "rustc-web | 1.96.0+dfsg1-1~deb12u2 | http..."
        let text = run::output(self.command("apt-cache").args(["madison", package]))?;
        if text.lines().any(|line| line.split('|').nth(1).map(str::trim) == Some(pinned)) {
            return Ok(pinned.to_owned());
        }
        eprintln!(
            "    {package} {pinned} is not in the archive: taking {newest}, which is not pinned"
        );
        Ok(newest)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        self.lists(LISTS_BELIEVED)?;
        let text = run::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// All packages of the newest kernel `PREFIX…SUFFIX`, and its version.
    pub(super) fn newest_kernel(
        &self,
        prefix: &str,
        suffix: &str,
    ) -> Result<(Vec<String>, String)> {
        let mut best: Option<(String, String)> = None;
        for package in self.names(prefix)? {
            let middle = package.strip_prefix(prefix).and_then(|name| name.strip_suffix(suffix));
            // Without a version, it is a package that depends on the newest.
            let plain = middle.is_some_and(|middle| {
                middle.starts_with(|first: char| first.is_ascii_digit())
                    && !middle.ends_with("-cloud")
                    && !middle.ends_with("-rt")
            });
            if plain
                && let Some(version) = self.candidate(&package)?
                && best.as_ref().map_or(Ok(true), |(_, old)| newer(&version, old))?
            {
                best = Some((package, version));
            }
        }
        let (package, version) = best.with_context(|| {
            format!("the archive has no package {prefix}*{suffix} (its release may be another one)")
        })?;
        let mut packages = vec![format!("{package}={version}")];
        if let Some(release) = package.strip_prefix("linux-image-") {
            for part in KERNEL_PARTS.map(|part| format!("{part}{release}")) {
                if self.names(&part)?.contains(&part) {
                    packages.push(format!("{part}={version}"));
                }
            }
        }
        Ok((packages, version))
    }

    /// `packages` (`name` or `name=version`) and what they depend on, as `name=version`, without
    /// the packages that the system has installed. Those named are always in it.
    ///
    /// It is computed as if nothing were installed, so an installed package that conflicts with
    /// one of them does not matter.
    pub(super) fn closure(&self, packages: &[impl AsRef<str>]) -> Result<Vec<String>> {
        let named: BTreeSet<&str> =
            packages.iter().filter_map(|package| package.as_ref().split('=').next()).collect();
        let installed = installed()?;
        let mut closure = self.whole_closure(packages)?;
        closure.retain(|package| {
            let name = package.split('=').next().unwrap_or_default();
            named.contains(name) || !installed.contains(name)
        });
        Ok(closure)
    }

    /// As [`Apt::closure`], with what the system has installed too.
    pub(super) fn whole_closure(&self, packages: &[impl AsRef<str>]) -> Result<Vec<String>> {
        self.lists(LISTS_BELIEVED)?;
        let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
        let plan =
            run::output(self.command("apt-get").args(["--simulate", "install"]).args(&names))
                .with_context(|| format!("no set of packages gives {}", names.join(", ")))?;
        // Lines like "Inst libaio1 (0.3.113-4 Debian:12.11/oldstable [amd64])"
        let packages = plan.lines().filter_map(|line| {
            let mut words = line.strip_prefix("Inst ")?.split_whitespace();
            let (name, version) = (words.next()?, words.next()?);
            Some(format!("{name}={}", version.trim_start_matches('(')))
        });
        Ok(packages.collect())
    }

    /// Downloads `packages` (`name` or `name=version`) and unpacks them into `dest`. Dependencies
    /// are not followed; see [`Apt::closure`].
    pub(super) fn fetch_unpack(&self, packages: &[impl AsRef<str>], dest: &Path) -> Result<()> {
        let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
        let debs = self.lock.scratch()?;
        // Lines like "'URI' FILE SIZE HASH"
        let plan =
            run::output(self.command("apt-get").args(["download", "--print-uris"]).args(&names))?;
        let bytes: u64 = plan
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
            .sum();
        eprintln!("    downloading {} package(s), {} MB", names.len(), bytes.div_ceil(1_000_000));
        let downloaded = run::quietly(
            self.command("apt-get").arg("download").args(&names).current_dir(debs.path()),
            "downloading",
        );
        if downloaded.is_err() {
            // The lists may name what the archive has replaced since: do not believe them again.
            let _ = fs::remove_file(self.stamp());
        }
        downloaded
            .context("the download failed (run it again: it fetches the package lists anew)")?;
        files::make_folder(dest)?;
        for deb in files::list(debs.path())? {
            run::quietly(Command::new("dpkg").arg("-x").arg(&deb).arg(dest), "unpacking")?;
        }
        Ok(())
    }

    /// Sees to it that there are lists, and none older than `believed`. Where the archive cannot
    /// be reached, older lists do, with a warning.
    fn lists(&self, believed: Duration) -> Result<()> {
        let stamp = self.stamp();
        if age(&stamp) < believed {
            return Ok(());
        }
        eprintln!("    fetching the package lists");
        let updated =
            run::quietly(self.command("apt-get").arg("update"), "fetching the package lists");
        if let Err(error) = updated {
            let text = format!("{error:#}");
            let reason = text.split("E: ").nth(1).and_then(|text| text.lines().next());
            let reason = reason.unwrap_or(&text);
            // One of several sources may have failed: what the lists know decides, further on.
            if run::output(self.command("apt-cache").arg("pkgnames"))?.is_empty() {
                bail!("no package lists in {}: {reason}", self.folder.display());
            }
            eprintln!("    warning: using package lists that are not all new: {reason}");
        }
        files::write(&stamp, "")
    }

    pub(super) fn lock(&self) -> &'a Locked<'a> {
        self.lock
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("lists-made")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("-qq").arg("-c").arg(self.folder.join("apt.conf"));
        command
    }
}

/// Whether version `left` is newer than `right`, by Debian's rules.
fn newer(left: &str, right: &str) -> Result<bool> {
    let status = Command::new("dpkg")
        .args(["--compare-versions", left, "gt", right])
        .status()
        .context("cannot run dpkg")?;
    Ok(status.success())
}

/// Of `sources` (lines of a release and an address) the address of the one that the system's
/// release comes from; `os_release` is the text of the file of that name.
fn system_archive(sources: &str, os_release: &str) -> Option<String> {
    let codename = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    // Sources may name the release by its state; Debian's development has no other name.
    let names = [codename.unwrap_or_default(), "stable", "testing", "unstable", "sid"];
    names.iter().find_map(|name| {
        let mut sources = sources.lines().filter_map(|line| line.split_once(' '));
        let (_, address) = sources.find(|(release, _)| release == name)?;
        Some(address.to_owned())
    })
}

fn installed() -> Result<BTreeSet<String>> {
    let text = run::output(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Status} ${Package}\n",
    ]))?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::system_archive;

    #[test]
    fn the_archive_of_the_systems_release_is_found_among_others() {
        let sources = "nodistro other:/node/\nbookworm-security main:/security/\n\
                       bookworm main:/debian/\nbookworm mirror:/debian/\n";
        let of = |os| system_archive(sources, os);
        assert_eq!(of("ID=x\nVERSION_CODENAME=bookworm\n").as_deref(), Some("main:/debian/"));
        assert_eq!(of("VERSION_CODENAME=trixie\n"), None);
        let sid = system_archive("sid main:/debian/\n", "ID=debian\nVERSION_CODENAME=forky\n");
        assert_eq!(sid.as_deref(), Some("main:/debian/"));
    }
}
