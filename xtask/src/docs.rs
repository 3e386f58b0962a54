//! `cargo xtask docs`: the part of the documentation that is made from the code.
//!
//! That is the JSON Schemas of `docs/schema`, the man pages of `docs/man`, the codes of findings in
//! `docs/findings.md`, and in the other Markdown files what the program prints of the recording in
//! `docs`: each such example is between two comments, the first of which has the command, or the name
//! of a kept screen of the dashboard. The screens of `docs/screens` come from the lab: `--screens`
//! makes them, and the test that does so holds in every run that they still show what matters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use ivrs_trace::{codes::Code, schema};

use crate::program::Program;
use crate::{files, run, workspace};

const FOLDERS: [&str; 2] = ["docs/schema", "docs/man"];
const README: &str = "README.md";
const BEGIN: &str = "<!-- made by cargo xtask docs: ";
/// Where the screens of the dashboard are: one of them in place of a command is shown unchanged.
const SCREENS: &str = "docs/screens/";
const WRITE_SCREENS: &str = "IVRS_TRACE_WRITE_SCREENS";
const END: &str = "<!-- end of what is made -->";
/// How the paragraph of one IVMD block begins.
const CAUSE: &str = "  Cause: ";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a checked-in file differs from what the code says
    #[arg(long)]
    check: bool,
    /// First renew the screens of the dashboard in the lab, which takes a minute
    #[arg(long, conflicts_with = "check")]
    screens: bool,
}

pub(crate) fn command(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    if args.screens {
        screens()?;
    }
    let root = workspace::root()?;
    for (name, text) in stale(&root)? {
        match text {
            Some(text) => files::write(root.join(name), text)?,
            None => files::remove(&root.join(name))?,
        }
    }
    Ok(())
}

fn screens() -> Result<()> {
    let mut cargo = workspace::cargo(&workspace::root()?);
    cargo.args(["test", "--locked", "--package", "xtask", "--test", "lab", "--", "--ignored"]);
    cargo.arg("dashboard::").env(WRITE_SCREENS, "1");
    run::quietly(&mut cargo, "running the dashboard in the lab")
}

pub(crate) fn check() -> Result<()> {
    let stale = stale(&workspace::root()?)?;
    let names: Vec<_> = stale.iter().map(|(name, _)| name.display().to_string()).collect();
    ensure!(
        names.is_empty(),
        "these differ from what the code says: {}; run cargo xtask docs and commit the result",
        names.join(", ")
    );
    Ok(())
}

/// The files that differ from what the code says, with the text that they should have, if any.
fn stale(root: &Path) -> Result<Vec<(PathBuf, Option<String>)>> {
    let (present, wanted) = (present(root)?, wanted(root)?);
    let gone = present.keys().filter(|name| !wanted.contains_key(*name));
    let mut stale: Vec<_> = gone.map(|name| (name.clone(), None)).collect();
    let changed = wanted.into_iter().filter(|(name, text)| present.get(name) != Some(text));
    stale.extend(changed.map(|(name, text)| (name, Some(text))));
    Ok(stale)
}

/// Files by their path below the root of the workspace.
type Files = BTreeMap<PathBuf, String>;

fn present(root: &Path) -> Result<Files> {
    let mut present = markdown(root)?;
    for folder in FOLDERS {
        // Before the first time there is none.
        if root.join(folder).is_dir() {
            present.extend(read(root, folder, |_| true)?);
        }
    }
    Ok(present)
}

fn wanted(root: &Path) -> Result<Files> {
    let program = Program::new(root)?;
    let mut wanted = schemas()?;
    wanted.extend(man_pages(&program)?);
    for (name, text) in markdown(root)? {
        let made = with_examples(&text, |source| {
            if source.starts_with(SCREENS) {
                return files::text(root.join(source));
            }
            program.says(source)
        })
        .with_context(|| format!("cannot make {}", name.display()))?;
        wanted.insert(name, made);
    }
    wanted.insert("docs/findings.md".into(), findings());
    Ok(wanted)
}

/// A table of the codes of findings, and the page of each one level lower.
fn findings() -> String {
    let row = |code: &Code| {
        let known = code.explanation();
        let heading = format!("{code}: {}", known.title).to_lowercase().replace(' ', "-");
        let anchor = heading.replace(|c: char| !c.is_alphanumeric() && c != '-', "");
        format!("| [{code}](#{anchor}) | {} | {} |", known.severity.as_str(), known.title)
    };
    let page = |code: &Code| format!("#{}", code.explanation().page.replace("\n## ", "\n### "));
    let rows: Vec<String> = Code::ALL.iter().map(row).collect();
    let pages: Vec<String> = Code::ALL.iter().map(page).collect();
    format!(
        "# Findings\n\nEvery finding has one of these codes. `ivrs-trace explain CODE` prints the \
         same\ntext. `cargo xtask docs` makes this page from \
         [ivrs-trace/src/explanations](../ivrs-trace/src/explanations).\n\n\
         | Code | Severity | What it is |\n| --- | --- | --- |\n{}\n\n{}",
        rows.join("\n"),
        pages.join("\n")
    )
}

fn schemas() -> Result<Files> {
    let file = |named: schema::Named| {
        let text = serde_json::to_string_pretty(&named.schema)?;
        Ok((Path::new("docs/schema").join(format!("{}.json", named.name)), text + "\n"))
    };
    schema::all().into_iter().map(file).collect()
}

fn man_pages(program: &Program<'_>) -> Result<Files> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    program.man_pages(folder.path())?;
    let pages = read(folder.path(), "", |_| true)?;
    Ok(pages.into_iter().map(|(name, page)| (Path::new("docs/man").join(name), page)).collect())
}

fn markdown(root: &Path) -> Result<Files> {
    let mut files =
        read(root, "docs", |path| path.extension().is_some_and(|ending| ending == "md"))?;
    files.insert(README.into(), files::text(root.join(README))?);
    Ok(files)
}

/// The files of a folder that fit.
fn read(root: &Path, folder: &str, fits: impl Fn(&Path) -> bool) -> Result<Files> {
    let mut found = Files::new();
    for path in files::list(&root.join(folder))? {
        if fits(&path) {
            found.insert(path.strip_prefix(root)?.to_owned(), files::text(&path)?);
        }
    }
    Ok(found)
}

/// The text of a Markdown file with its examples made anew.
fn with_examples(text: &str, says: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut made = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        made.push_str(line);
        made.push('\n');
        let Some(rest) = line.strip_prefix(BEGIN) else { continue };
        let command = rest.strip_suffix(" -->").context("a comment does not end in its line")?;
        let said = says(command)?;
        made.push_str("```\n");
        if command.starts_with(SCREENS) {
            made.push_str(&said);
        } else {
            made.extend(["$ ", command, "\n\n", &first_cause_only(&said)]);
        }
        made.extend(["```\n", END, "\n"]);
        ensure!(lines.any(|line| line == END), "the example of {command} has no end");
    }
    Ok(made)
}

/// An explanation without its second and further causes, which are read no differently from the
/// first.
fn first_cause_only(text: &str) -> String {
    let mut kept = Vec::new();
    let (mut shown, mut others) = (false, Vec::new());
    for paragraph in text.split("\n\n") {
        match paragraph.strip_prefix(CAUSE) {
            Some(cause) if shown => others.extend(cause.split(" of ").next()),
            cause => {
                if !others.is_empty() {
                    kept.push(format!("  [{} in the same way]", others.join(", ")));
                    others.clear();
                }
                shown = cause.is_some();
                kept.push(paragraph.to_owned());
            }
        }
    }
    kept.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_made_anew_and_the_rest_stays() {
        let page = "a\n<!-- made by cargo xtask docs: ivrs-trace x --from y -->\nold\n\
                    <!-- end of what is made -->\nb\n";
        let said = "Blocked\n\n  Cause: IVMD 0 of the IVRS\n    bytes\n\n  Cause: IVMD 1 of the IVRS\n\
                    \x20   bytes\n\n  Cause: IVMD 2 of the IVRS\n\n  Will not help\n";
        let made = with_examples(page, |command| {
            assert_eq!(command, "ivrs-trace x --from y");
            Ok(said.to_owned())
        });
        let made = made.unwrap();
        assert_eq!(
            made,
            "a\n<!-- made by cargo xtask docs: ivrs-trace x --from y -->\n```\n\
             $ ivrs-trace x --from y\n\nBlocked\n\n  Cause: IVMD 0 of the IVRS\n    bytes\n\n\
             \x20 [IVMD 1, IVMD 2 in the same way]\n\n  Will not help\n```\n<!-- end of what is made -->\nb\n"
        );
        let again = with_examples(&made, |_| Ok(said.to_owned())).unwrap();
        assert_eq!(again, made);
    }

    #[test]
    fn a_screen_is_shown_as_it_is() {
        let page = "<!-- made by cargo xtask docs: docs/screens/a.txt -->\n\
                    <!-- end of what is made -->\n";
        let made = with_examples(page, |_| Ok("1 Devices\n".to_owned())).unwrap();
        assert_eq!(
            made,
            "<!-- made by cargo xtask docs: docs/screens/a.txt -->\n```\n1 Devices\n```\n\
             <!-- end of what is made -->\n"
        );
    }

    #[test]
    fn an_example_without_an_end_takes_nothing_away() {
        let page = "<!-- made by cargo xtask docs: ivrs-trace x -->\nthe rest of the page\n";
        assert!(with_examples(page, |_| Ok(String::new())).is_err());
    }
}
