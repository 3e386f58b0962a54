//! `cargo xtask fuzz`: the fuzz targets of `ivrs-trace/fuzz`, on the stable compiler.
//!
//! libFuzzer is compiled by its crate; rustc puts in the coverage that guides it. Each target starts
//! from its seeds and from what earlier runs kept in the target folder. An input that makes
//! a target fail is kept in a file, and the message says how to run just that.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{ebpf, files, run, workspace};

const PACKAGE: &str = "ivrs-trace-fuzz";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The profile of the root `Cargo.toml` that keeps the compiler's checks.
const PROFILE: &str = "fuzz";
/// The compiler's arguments for the workspace's crates: count edges, record comparisons. They are
/// what `cargo fuzz` asks of a nightly compiler as well, but for the address sanitizer, of which code
/// without `unsafe` has no need. libFuzzer learns the values of a comparison of 32 or 64 bits only, as
/// C has no narrower ones; so those of 16 bits, of which a table is full, go the way of 32 bits. They
/// are passed in whole registers, extended by zeros.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clink-arg=-Wl,--wrap=__sanitizer_cov_trace_cmp2,\
     --defsym=__wrap___sanitizer_cov_trace_cmp2=__sanitizer_cov_trace_cmp4",
    "-Clink-arg=-Wl,--wrap=__sanitizer_cov_trace_const_cmp2,\
     --defsym=__wrap___sanitizer_cov_trace_const_cmp2=__sanitizer_cov_trace_const_cmp4",
];
/// Bytes of an input. Real tables have a few hundred, dumps of them some thousand.
const MAX_LENGTH: u32 = 8192;
/// Seconds for one input. On a busy machine one needs milliseconds.
const TIMEOUT_S: u32 = 10;
/// What a target may use in all, the fuzzer and its corpus included; the targets themselves bound
/// what an input may use of that.
const MEMORY_MB: u32 = 512;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The targets: the names of the files in ivrs-trace/fuzz/targets; all of them if none is given
    targets: Vec<String>,
    /// Seconds that each target runs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Run a target once on this input and show its output
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
    /// Renew the checked-in seeds
    #[arg(long, conflicts_with_all = ["targets", "seconds", "input"])]
    write_seeds: bool,
}

pub(crate) fn command(args: &Args) -> Result<()> {
    let fuzz = Fuzz::new()?;
    if args.write_seeds {
        return fuzz.write_seeds();
    }
    let targets = fuzz.chosen(&args.targets)?;
    let Some(input) = &args.input else { return fuzz.run(&targets, args.seconds) };
    let [target] = targets.as_slice() else {
        bail!("--input is for one target: name it");
    };
    fuzz.once(target, &std::path::absolute(input)?)
}

pub(crate) fn all(seconds: u32) -> Result<()> {
    let fuzz = Fuzz::new()?;
    fuzz.run(&fuzz.chosen(&[])?, seconds)
}

struct Fuzz {
    root: PathBuf,
    dir: PathBuf,
    out: PathBuf,
}

impl Fuzz {
    fn new() -> Result<Self> {
        let root = workspace::root()?;
        let dir = root.join("ivrs-trace/fuzz");
        Ok(Self { dir, root, out: workspace::target_dir()?.join("fuzz") })
    }

    fn chosen(&self, named: &[String]) -> Result<Vec<String>> {
        let dir = self.dir.join("targets");
        let mut paths = files::list(&dir)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let stems = paths.iter().filter_map(|path| path.file_stem());
        let all: Vec<String> = stems.map(|stem| stem.to_string_lossy().into_owned()).collect();
        for name in named {
            ensure!(all.contains(name), "there is no target {name}: there are {}", all.join(", "));
        }
        Ok(if named.is_empty() { all } else { named.to_vec() })
    }

    fn build(&self, targets: &[String]) -> Result<()> {
        ensure_cxx()?;
        ebpf::ensure_object()?;
        let mut cargo = workspace::cargo(&self.root);
        cargo
            .args(["build", "--locked", "--package", PACKAGE])
            .args(["--profile", PROFILE, "--target", TARGET, "--target-dir"])
            .arg(&self.out)
            .env("RUSTC_WORKSPACE_WRAPPER", self.wrapper()?);
        for target in targets {
            cargo.args(["--bin", target]);
        }
        run::quietly(&mut cargo, "building the fuzz targets")
    }

    /// A program that cargo runs in place of the compiler for the workspace's own crates, so that
    /// only they report to libFuzzer: with all the libraries below them a target is three
    /// times as slow, and what it compares is lost in what they compare.
    fn wrapper(&self) -> Result<PathBuf> {
        // Build scripts are built for the host, with no target named. They must do without.
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in\n*\" --target \"*) exec \"$@\" {} ;;\nesac\nexec \"$@\"\n",
            COVERAGE.join(" ")
        );
        // cargo builds anew when the name changes, not the content.
        let mut hasher = DefaultHasher::new();
        script.hash(&mut hasher);
        let path = self.out.join(format!("rustc-{:016x}", hasher.finish()));
        if !path.is_file() {
            files::write_script(&path, &script)?;
        }
        Ok(path)
    }

    fn write_seeds(&self) -> Result<()> {
        ensure_cxx()?;
        ebpf::ensure_object()?;
        let seeds = self.dir.join("seeds");
        // Without coverage, which needs libFuzzer to be there.
        let mut cargo = workspace::cargo(&self.root);
        cargo
            .args(["run", "--locked", "--package", PACKAGE, "--example", "seeds", "--"])
            .arg(&seeds);
        run::quietly(&mut cargo, "making the seeds")?;
        println!("wrote {}", seeds.display());
        Ok(())
    }

    fn target(&self, target: &str) -> Command {
        let mut command = Command::new(self.out.join(TARGET).join(PROFILE).join(target));
        command
            .arg(format!("-max_len={MAX_LENGTH}"))
            .arg(format!("-timeout={TIMEOUT_S}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"));
        command
    }

    fn once(&self, target: &str, input: &Path) -> Result<()> {
        ensure!(input.is_file(), "{} is not a file", input.display());
        self.build(&[target.to_owned()])?;
        run::shown(self.target(target).arg(input).env("RUST_BACKTRACE", "1"))
            .with_context(|| format!("{target} fails on {}", input.display()))?;
        println!("{target} passes {}", input.display());
        Ok(())
    }

    /// Every target goes on after another has found something.
    fn run(&self, targets: &[String], seconds: u32) -> Result<()> {
        self.build(targets)?;
        let mut failed = Vec::new();
        for target in targets {
            if let Err(error) = self.run_one(target, seconds) {
                eprintln!("{target}: {error:#}");
                failed.push(target.as_str());
            }
        }
        ensure!(failed.is_empty(), "fuzzing found something in {}", failed.join(", "));
        Ok(())
    }

    fn run_one(&self, target: &str, seconds: u32) -> Result<()> {
        let (corpus, found) = (self.out.join("corpus").join(target), self.out.join("found"));
        let seeds = self.dir.join("seeds").join(target);
        ensure!(seeds.is_dir(), "it has no seeds: {} is not there", seeds.display());
        for dir in [&corpus, &found] {
            files::make_folder(dir)?;
        }
        let prefix = found.join(format!("{target}-"));
        let log = self.out.join(format!("{target}.log"));
        let started = Instant::now();
        let mut child = self
            .target(target)
            .arg(format!("-max_total_time={seconds}"))
            .arg("-print_final_stats=1")
            .arg(format!("-artifact_prefix={}", prefix.display()))
            .args([&corpus, &seeds])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(files::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {target}"))?;
        // libFuzzer ends by itself; a target that hangs in a system call would not.
        let limit = Duration::from_secs(u64::from(seconds) + 6 * u64::from(TIMEOUT_S));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                bail!("it does not end: see {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = files::lossy(&log)?;
        if status.success() {
            println!("{target}: {}", progress(&text)?);
            return Ok(());
        }
        bail!("{}", finding(target, &text, &log))
    }
}

/// What a run that found something says, and how it is run again.
fn finding(target: &str, text: &str, log: &Path) -> String {
    let said = |line: &&str| {
        ["panicked at", "ERROR: libFuzzer", "memory allocation of"].iter().any(|w| line.contains(w))
    };
    // The line after a panic's place says what it is.
    let mut lines = text.lines();
    let what = lines.find(said).map_or_else(
        || "it ended unexpectedly".to_owned(),
        |line| match lines.next() {
            Some(next) if line.contains("panicked at") => format!("{line} {next}"),
            _ => line.to_owned(),
        },
    );
    let kept = text.lines().find_map(|line| line.split_once("Test unit written to "));
    match kept {
        Some((_, file)) => format!(
            "{what}\n    to run it again: cargo xtask fuzz {target} --input {file}\n    the whole \
             output: {}",
            log.display()
        ),
        None => format!("{what}\n    the whole output: {}", log.display()),
    }
}

/// What a run did, from libFuzzer's output: the edges are those that the seeds and what was kept
/// before reached, and those at the end.
fn progress(text: &str) -> Result<String> {
    let after = |line: &str, word: &str| {
        let mut words = line.split_whitespace().skip_while(|found| *found != word);
        words.nth(1).map(str::to_owned)
    };
    let edges: Vec<_> = text.lines().filter_map(|line| after(line, "cov:")).collect();
    let done = text.lines().find(|line| line.starts_with("Done "));
    let memory = text.lines().find_map(|line| after(line, "stat::peak_rss_mb:"));
    (|| {
        let (runs, seconds) = (after(done?, "Done")?, after(done?, "in")?);
        let (first, last, memory) = (edges.first()?, edges.last()?, memory?);
        Some(format!("{runs} runs in {seconds} s, edges {first} -> {last}, {memory} MB"))
    })()
    .context("libFuzzer's output is not as expected: it has no coverage or no end")
}

/// libFuzzer is written in C++: says so where there is no compiler, as cargo's own message is long.
fn ensure_cxx() -> Result<()> {
    let named = std::env::var_os("CXX").filter(|name| !name.is_empty());
    let compiler = named.unwrap_or_else(|| "c++".into());
    ensure!(
        run::output(Command::new(&compiler).arg("--version")).is_ok(),
        "fuzzing needs a C++ compiler, as libFuzzer is compiled with the targets, and {} cannot be \
         run: install one (Debian and Ubuntu: `apt-get install g++`; Fedora: `dnf install \
         gcc-c++`), or name one in CXX",
        compiler.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = "INFO: Loaded 1 modules\n\
        #2\tINITED cov: 66 ft: 66 corp: 1/1b exec/s: 0 rss: 27Mb\n\
        #3\tNEW    cov: 67 ft: 70 corp: 2/3b lim: 4 exec/s: 0 rss: 27Mb L: 2/2 MS: 1 CopyPart-\n\
        #9\tDONE   cov: 72 ft: 71 corp: 3/5b lim: 4 exec/s: 0 rss: 27Mb\n\
        Done 815871 runs in 9 second(s)\n\
        stat::peak_rss_mb:              28\n";

    #[test]
    fn progress_is_read_from_what_libfuzzer_prints() {
        assert_eq!(progress(DONE).unwrap(), "815871 runs in 9 s, edges 66 -> 72, 28 MB");
        assert!(progress("INFO: Loaded 1 modules\n").is_err());
    }

    #[test]
    fn a_finding_says_what_it_is_and_how_to_run_it_again() {
        let text = "thread '<unnamed>' (7) panicked at ivrs-trace/src/pci.rs:7:5:\n\
            planted\n\
            ==7== ERROR: libFuzzer: deadly signal\n\
            artifact_prefix='found/bdf-'; Test unit written to found/bdf-crash-0a\n";
        let message = finding("bdf", text, Path::new("bdf.log"));
        assert!(message.contains("pci.rs:7:5: planted"), "{message}");
        assert!(message.contains("cargo xtask fuzz bdf --input found/bdf-crash-0a"), "{message}");
        let hang = "==7== ERROR: libFuzzer: timeout after 11 seconds\n";
        assert!(finding("bdf", hang, Path::new("bdf.log")).contains("timeout after 11 seconds"));
    }
}
