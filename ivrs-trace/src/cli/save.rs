//! Writing a result to a file whole or not at all, or to standard output.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::Builder;

use crate::escape::printable;

/// Who may read the file: everybody whom the process's umask lets. Whoever collects metrics is another
/// user.
const MODE: u32 = 0o666;

/// Writes what `content` gives to a file or, without one, to standard output.
///
/// A file is written beside its place under another name that begins with a dot and then put there at
/// once: who reads it sees the old one or the new one. What is there and is no regular file, such as
/// a pipe, is written to as it is.
pub(super) fn save(
    output: Option<&Path>,
    content: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(path) = output else {
        let mut out = BufWriter::new(io::stdout().lock());
        if let Err(error) = content(&mut out) {
            // The beginning of what does not come would be taken for all of it.
            drop(out.into_parts());
            return Err(error);
        }
        return out.flush().context("standard output");
    };
    let cannot = || format!("cannot write {}", printable(&path.display().to_string()));
    // A link stays, and its target is replaced.
    let place = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error).with_context(cannot),
    };
    if fs::metadata(&place).is_ok_and(|found| !found.is_file()) {
        let file = OpenOptions::new().write(true).open(&place).with_context(cannot)?;
        let mut file = BufWriter::new(file);
        content(&mut file)?;
        return file.flush().with_context(cannot);
    }
    let folder = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let file = Builder::new()
        .prefix(".ivrs-trace-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)
        .with_context(cannot)?;
    let mut writer = BufWriter::new(file);
    content(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error).with_context(cannot)?;
    // Without it a crash could leave an empty file under the name.
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(&place).map_err(|error| error.error).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.prom");
        let write = |text: &'static str| {
            save(Some(&path), move |out| {
                out.write_all(text.as_bytes())?;
                Ok(())
            })
        };
        write("one\n").unwrap();
        write("two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        let failed = save(Some(&path), |out| {
            out.write_all(b"half")?;
            anyhow::bail!("no more")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        // Others may read it as far as the umask lets them, and nothing else is left.
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), "").unwrap();
        let plain = fs::metadata(folder.path().join("plain")).unwrap().permissions().mode();
        assert_eq!(mode, plain);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        save(Some(&link), |out| Ok(out.write_all(b"new")?)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    }

    #[test]
    fn what_cannot_be_written_is_told_in_one_line() {
        let error = save(Some(Path::new("/nowhere/at/all/x")), |_| Ok(())).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot write /nowhere/at/all/x: "), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}
