//! Writes the man pages of the program into a folder, all from the definition of its command line:
//! for `cargo xtask docs`.

use std::{env, fs, io, path::Path};

use anyhow::Context as _;
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

fn main() -> anyhow::Result<()> {
    let folder = env::args_os().nth(1).context("usage: man-pages FOLDER")?;
    let folder = Path::new(&folder);
    let mut program = ivrs_trace::cli::definition().disable_help_subcommand(true);
    program.build();
    write(folder, &program, page(&program, &program)?)?;
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        write(folder, command, page(command, &program)?)?;
    }
    Ok(())
}

fn write(folder: &Path, command: &Command, page: String) -> anyhow::Result<()> {
    let path = folder.join(format!("{}.1", name(command)));
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// `ivrs-trace-run` of `ivrs-trace run`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, program: &Command) -> io::Result<String> {
    let version = program.get_version().unwrap_or_default();
    let source = format!("{} {version}", program.get_name());
    let man = Man::new(command.clone());
    // Its own title loses the empty date. Left-adjusted, as command lines do not break well.
    let title =
        format!(".TH {} 1 \"\" \"{source}\" \"User Commands\"", name(command).to_uppercase());
    let mut page = format!("{title}\n.ad l\n.nh\n").into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(more) = command.get_after_long_help() {
        sections(&mut rest, &more.to_string());
    }
    if name(command) != name(program) {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold(name(program)), roman("(1)")]);
    }
    rest.to_writer(&mut page)?;
    Ok(tidy(&String::from_utf8_lossy(&page)))
}

/// Every part that was rendered says for itself what an apostrophe is; once is enough. Some lines
/// end in spaces.
fn tidy(page: &str) -> String {
    let apostrophe = |line: &&str| line.starts_with(".ie ") || line.starts_with(".el ");
    let once = page.lines().filter(apostrophe).take(2);
    let rest = page.lines().filter(|line| !apostrophe(line));
    once.chain(rest).flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// The headings that the help may have after the options.
const HEADINGS: [&str; 4] = ["Environment:", "Examples:", "Exit status:", "Notes:"];

/// Renders what follows the options in the help. A line indented by two spaces is a term; its
/// description follows after two more spaces, or on lines indented further. Other lines are text, and a
/// blank line begins a paragraph.
fn sections(page: &mut Roff, text: &str) {
    let mut after_blank = false;
    for line in text.lines() {
        let term = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '));
        if HEADINGS.contains(&line) {
            page.control("SH", [line.trim_end_matches(':').to_uppercase().as_str()]);
        } else if let Some(term) = term {
            let (term, meaning) = term.split_once("  ").unwrap_or((term, ""));
            page.control("TP", []);
            page.text([bold(term)]);
            if !meaning.is_empty() {
                page.text([roman(meaning.trim_start())]);
            }
        } else if !line.is_empty() {
            if after_blank {
                page.control("PP", []);
            }
            page.text([roman(line.trim_start())]);
        }
        after_blank = line.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_headings_begin_a_section() {
        let text = "Exit status:\n  0  success\n\nThe first line of a paragraph\nends in a colon:\n\
                    the paragraph goes on.\n\nAnother one.\n\nExamples:\n  ivrs-trace check\n      \
                    Every device";
        let mut page = Roff::new();
        sections(&mut page, text);
        let rendered = page.render();
        let rendered: Vec<&str> =
            rendered.lines().skip_while(|line| *line != ".SH \"EXIT STATUS\"").collect();
        let expected = [
            ".SH \"EXIT STATUS\"",
            ".TP",
            "\\fB0\\fR",
            "success",
            ".PP",
            "The first line of a paragraph",
            "ends in a colon:",
            "the paragraph goes on.",
            ".PP",
            "Another one.",
            ".SH EXAMPLES",
            ".TP",
            "\\fBivrs\\-trace check\\fR",
            "Every device",
        ];
        assert_eq!(rendered, expected);
    }

    #[test]
    fn every_heading_of_the_help_is_known() {
        let program = ivrs_trace::cli::definition();
        for command in program.get_subcommands().chain([&program]) {
            let more = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let mut after_blank = true;
            for line in more.lines() {
                // What stands alone at the margin and ends in a colon is meant as a heading.
                let heading = after_blank && !line.starts_with(' ') && line.ends_with(':');
                assert!(!heading || HEADINGS.contains(&line), "{}: {line}", name(command));
                after_blank = line.is_empty();
            }
        }
    }
}
