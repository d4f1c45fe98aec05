use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::config::Settings;

/// Entries of one folder that are looked at: far more than there are rules to put into files.
const MAX_ENTRIES: usize = 10_000;

/// The files and folders a generation is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Sources {
    pub(super) fn of(settings: &Settings) -> Self {
        let prompts = settings.crews.iter().flat_map(|crew| crew.prompt_files.iter().cloned());
        let folders = [Some(&settings.policy), settings.shadow.as_ref()].into_iter().flatten();
        Self {
            files: [settings.file.clone()].into_iter().chain(prompts).collect(),
            folders: folders.flat_map(|folder| [folder.clone(), folder.join("tests")]).collect(),
        }
    }

    /// How they look from outside, now.
    pub(super) fn stamp(&self) -> Stamp {
        let mut all: Vec<_> = self.files.iter().map(|file| look(file)).collect();
        for folder in &self.folders {
            all.push(look(folder));
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let paths = entries.take(MAX_ENTRIES).flatten().map(|entry| entry.path());
            // Whatever else is kept there, such as a database that is written to, is no change of the rules.
            let mut paths: Vec<_> = paths.filter(|path| is_read(path)).collect();
            paths.sort();
            all.extend(paths.iter().map(|path| look(path)));
        }
        Stamp(all)
    }
}

/// Path, and where it is there: inode, length, and the instants of the last change of content and of anything.
type Look = (PathBuf, Option<(u64, u64, i64, i64, i64, i64)>);

/// Two are equal when nothing was written in between: a change of content changes the last instant, which no program
/// can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Look>);

/// Whether a file of this name can mean anything for the rules, or whatever it is may hold such files.
fn is_read(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => extension == "cedar" || extension == "cedarschema" || extension == "toml",
        None => path.is_dir(),
    }
}

/// Links are followed: a folder of links to another release changes with the link. Of a folder only which it is counts:
/// what is in it is looked at one by one.
fn look(path: &Path) -> Look {
    let seen = fs::metadata(path).ok().map(|found| {
        if found.is_dir() {
            return (found.ino(), 0, 0, 0, 0, 0);
        }
        let (mtime, ctime) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
        (found.ino(), found.len(), mtime.0, mtime.1, ctime.0, ctime.1)
    });
    (path.to_owned(), seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_change_a_folder_is_seen() {
        let root = std::env::temp_dir().join(format!("crewgate-stamp-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("release-1")).unwrap();
        fs::create_dir_all(root.join("release-2")).unwrap();
        std::os::unix::fs::symlink("release-1", root.join("policy")).unwrap();
        fs::write(root.join("release-1/a.cedar"), "one").unwrap();
        fs::write(root.join("release-2/a.cedar"), "one").unwrap();
        let sources = Sources { files: vec![root.join("crewgate.toml")], folders: vec![root.join("policy")] };
        let mut last = sources.stamp();
        assert_eq!(last, sources.stamp());
        let mut changed = |what: &str, change: &dyn Fn()| {
            // Some file systems count time in steps of some milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            let now = sources.stamp();
            assert_ne!(now, last, "{what}");
            last = now;
        };
        let file = root.join("release-1/a.cedar");
        changed("the same length", &|| fs::write(&file, "two").unwrap());
        changed("an old instant", &|| {
            let handle = fs::File::options().write(true).open(&file).unwrap();
            handle.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        });
        changed("another file", &|| fs::write(root.join("release-1/b.cedar"), "").unwrap());
        changed("one file less", &|| fs::remove_file(root.join("release-1/b.cedar")).unwrap());
        changed("the configuration", &|| fs::write(root.join("crewgate.toml"), "").unwrap());
        changed("another folder behind the link", &|| {
            fs::remove_file(root.join("policy")).unwrap();
            std::os::unix::fs::symlink("release-2", root.join("policy")).unwrap();
        });
        let last = sources.stamp();
        fs::write(root.join("release-2/crewgate.db"), "written to all the time").unwrap();
        assert_eq!(last, sources.stamp(), "what is kept beside the rules is none");
        fs::remove_dir_all(&root).unwrap();
    }
}
