//! Writing a result to a file whole or not at all, or to standard output.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::{Builder, NamedTempFile};

use crate::{escape::printable, output::Named, privilege::made_by_caller};

/// Who may read the file: everybody whom the process's umask lets. Whoever collects metrics is another
/// user.
const MODE: u32 = 0o666;

/// Writes what `content` gives to a file or, without one, to standard output.
///
/// A file is written beside its place under another name that begins with a dot and then put there at
/// once: who reads it sees the old one or the new one. What is there and is no regular file, such as
/// a pipe, is written to as it is. Under sudo the file is made with the rights of who called that.
pub(crate) fn save(
    output: Option<&Path>,
    content: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(path) = output.filter(|path| path.as_os_str() != "-") else {
        let name = "to standard output".to_owned();
        let mut out = BufWriter::new(Named { inner: io::stdout().lock(), name });
        if let Err(error) = content(&mut out) {
            // The beginning of what does not come would be taken for all of it.
            drop(out.into_parts());
            return Err(error);
        }
        return Ok(out.flush()?);
    };
    let name = printable(&path.display().to_string());
    let cannot = || format!("cannot write {name}");
    let (target, caller) = made_by_caller(|| Target::open(path)).with_context(cannot)?;
    match target {
        Target::AsItIs(file) => {
            let mut file = BufWriter::new(Named { inner: file, name });
            content(&mut file)?;
            Ok(file.flush()?)
        }
        Target::Beside(file, place) => {
            let mut writer = BufWriter::new(Named { inner: file, name: name.clone() });
            content(&mut writer)?;
            let Named { inner: file, .. } =
                writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            // Without it a crash could leave an empty file under the name.
            file.as_file().sync_all().with_context(cannot)?;
            let persist = || file.persist(&place).map(drop).map_err(|error| error.error);
            match caller {
                Some(caller) => caller.acting(persist).with_context(cannot)?,
                None => persist(),
            }
            .with_context(cannot)
        }
    }
}

enum Target {
    AsItIs(File),
    /// To a new file, which then takes this place.
    Beside(NamedTempFile, PathBuf),
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        refuse_planted(path)?;
        // A link stays, and its target is replaced.
        let place = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
        };
        if fs::metadata(&place).is_ok_and(|found| !found.is_file()) {
            let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
            let file = OpenOptions::new().write(true).custom_flags(no_link).open(&place)?;
            // Another one may have been put there meanwhile.
            refuse_planted(&place)?;
            return Ok(Self::AsItIs(file));
        }
        let file = Builder::new()
            .prefix(".ivrs-trace-")
            .suffix(".tmp")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder_of(&place))?;
        Ok(Self::Beside(file, place))
    }
}

fn folder_of(place: &Path) -> &Path {
    match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Refuses what somebody else put into a folder where everybody may write, such as /tmp: a link would
/// choose the file that is replaced, a pipe or a file would be somebody else's to read. The rule is the
/// kernel's (`may_follow_link` and `may_create_in_sticky`, fs/namei.c, with `fs.protected_symlinks`,
/// `protected_fifos` and `protected_regular`); it does not apply there to what is renamed.
fn refuse_planted(path: &Path) -> io::Result<()> {
    const EVERYBODY_BUT_NOT_OTHERS: u32 = 0o1002;
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    let folder = fs::metadata(folder_of(path))?;
    let open_to_all = folder.mode() & EVERYBODY_BUT_NOT_OTHERS == EVERYBODY_BUT_NOT_OTHERS;
    let own = there.uid() == rustix::process::geteuid().as_raw() || there.uid() == folder.uid();
    // A device is its driver's, whoever has the node.
    let (kind, refused) = match there.file_type() {
        kind if kind.is_symlink() => ("a link", "followed"),
        kind if kind.is_fifo() => ("a pipe", "written to"),
        kind if kind.is_file() => ("a file", "replaced"),
        _ => return Ok(()),
    };
    if open_to_all && !own {
        return Err(io::Error::other(format!(
            "it is {kind} that user {} put into a folder where everybody may write; it is not \
             {refused}",
            there.uid()
        )));
    }
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

    #[test]
    fn a_link_that_somebody_else_planted_is_not_followed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (shared, victim) = (folder.path().join("shared"), folder.path().join("victim"));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
        fs::write(&victim, "mine").unwrap();
        let link = shared.join("link");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        let error = save(Some(&link), |out| Ok(out.write_all(b"theirs")?)).unwrap_err();
        assert!(format!("{error:#}").contains("is not followed"), "{error:#}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        // Nor is a pipe or a file of theirs written.
        for (name, kind, refused) in [
            ("pipe", rustix::fs::FileType::Fifo, "is not written to"),
            ("file", rustix::fs::FileType::RegularFile, "is not replaced"),
        ] {
            let path = shared.join(name);
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
            std::os::unix::fs::lchown(&path, Some(65534), None).unwrap();
            let error = save(Some(&path), |out| Ok(out.write_all(b"ours")?)).unwrap_err();
            assert!(format!("{error:#}").contains(refused), "{error:#}");
        }
        // One's own is.
        std::os::unix::fs::lchown(&link, Some(0), None).unwrap();
        save(Some(&link), |out| Ok(out.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "new");
    }
}
