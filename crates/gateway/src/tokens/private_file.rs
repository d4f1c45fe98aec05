//! Files only their owner may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Largest file that is read.
const MAX: u64 = 256 << 10;

/// Where this user's settings are: `$XDG_CONFIG_HOME/crewgate`, or `~/.config/crewgate`.
pub(crate) fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("crewgate"))
}

/// The text of a file, `None` when there is none.
///
/// # Errors
///
/// When it cannot be read, or when others may read it.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Of the file that was opened: one with this name could be another one by now.
    refuse_wide(&file)?;
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[cfg(unix)]
fn refuse_wide(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let text = format!("its mode is {mode:04o}, so others may have read it: make it new, with mode 0600");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

/// Elsewhere the folder of the user is the user's own.
#[cfg(not(unix))]
fn refuse_wide(_: &File) -> io::Result<()> {
    Ok(())
}

/// Opens a new file for its owner alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Replaces a file whole, or not at all.
///
/// # Errors
///
/// When it cannot be written; what was there before is there still.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    make_folder(path)?;
    let next = path.with_extension(format!("{}.new", std::process::id()));
    let written = create(&next).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&next);
    }
    written
}

/// The text of a file, or this one written into a new file.
///
/// # Errors
///
/// As [`read`], or when it cannot be written.
pub(crate) fn create_or_read(path: &Path, text: impl FnOnce() -> String) -> io::Result<String> {
    make_folder(path)?;
    match create(path) {
        Ok(mut file) => {
            let text = text();
            file.write_all(text.as_bytes())?;
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
        Err(error) => Err(error),
    }
}

/// Takes the file's lock for this process, and waits for it; it ends with the file.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    make_folder(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    file.lock()?;
    Ok(file)
}

/// The folder of a file, for its owner alone.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("crewgate-private-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_its_owners_alone_and_is_replaced_whole() {
        let folder = Folder::new("replace");
        let path = folder.0.join("deep/login.json");
        assert_eq!(read(&path).unwrap(), None);
        for text in ["one", "two"] {
            replace(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(text));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = Folder::new("wide");
        let path = folder.0.join("login.json");
        replace(&path, "secret").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
            assert!(create_or_read(&path, || "other".to_owned()).is_err());
        }
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let folder = Folder::new("once");
        let path = folder.0.join("secret");
        assert_eq!(create_or_read(&path, || "first".to_owned()).unwrap(), "first");
        assert_eq!(create_or_read(&path, || "second".to_owned()).unwrap(), "first");
    }
}
