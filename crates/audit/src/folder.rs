//! A log as plain files: `tlog-tiles`, with what lies beside the leaves next to it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use serde::{Deserialize, Serialize};

use crate::{
    AuditError, Content, Held, Leaf, Log,
    tlog::{
        Hash, Head, SignedCheckpoint, TILE, Tile, Tiles, Tree, VerifierKey, bundle_path, decode_bundle,
        encode_bundle, number_path, tile_path,
    },
};

/// The latest checkpoint.
const CHECKPOINT: &str = "checkpoint";

/// Earlier ones, for saying where a rewriting began.
const CHECKPOINTS: &str = "checkpoints";

/// The first leaf, where it is not 0.
const FIRST: &str = "first";

/// An exported log, read from its folder.
///
/// ```text
/// checkpoint                       the signed tree
/// checkpoints                      earlier ones, a JSON string per line
/// first                            the first leaf, when what came before it was cut off
/// tile/<level>/<n>[.p/<width>]     hashes
/// tile/entries/<n>[.p/<width>]     records
/// content/<n>[.p/<width>]          what the records commit to, a JSON object per line
/// ```
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    keys: Vec<VerifierKey>,
    first: u64,
    size: u64,
    kept: Vec<(u64, String)>,
}

/// Why a folder was not written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum FolderError {
    /// The log cannot be read.
    Log(AuditError),
    /// A file cannot be written or read.
    File(PathBuf, io::Error),
    /// There are files in it already.
    Taken(PathBuf),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Taken(path) => write!(f, "{} is not empty", path.display()),
        }
    }
}

impl std::error::Error for FolderError {}

impl From<AuditError> for FolderError {
    fn from(error: AuditError) -> Self {
        Self::Log(error)
    }
}

impl Folder {
    /// The log in this folder, believed by these keys and by nothing that is in it.
    ///
    /// # Errors
    ///
    /// [`FolderError::File`] when it has no checkpoint.
    pub fn open(path: impl Into<PathBuf>, keys: Vec<VerifierKey>) -> Result<Self, FolderError> {
        let path = path.into();
        let at = path.join(CHECKPOINT);
        let note = fs::read_to_string(&at).map_err(|error| FolderError::File(at, error))?;
        // What is no checkpoint is found by whoever verifies; until then there is nothing to be read under it.
        let size = |note: &str| Some(SignedCheckpoint::parse(note).ok()?.claimed().head.size);
        let kept = fs::read_to_string(path.join(CHECKPOINTS)).unwrap_or_default();
        let kept = kept.lines().filter_map(|line| serde_json::from_str::<String>(line).ok());
        let kept = kept.filter_map(|note| Some((size(&note)?, note))).collect();
        let first = fs::read_to_string(path.join(FIRST)).ok().and_then(|text| text.trim().parse().ok());
        let first = first.unwrap_or_default();
        Ok(Self { first, size: size(&note).unwrap_or_default(), path, keys, kept })
    }

    /// A file of the layout; a partial one may have been replaced by the full one since.
    fn read(&self, full: String, partial: String) -> Result<Vec<u8>, AuditError> {
        for name in [partial, full] {
            match fs::read(self.path.join(name)) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(%error, folder = %self.path.display(), "an exported log cannot be read");
                    return Err(AuditError::Unavailable);
                }
            }
        }
        Ok(Vec::new())
    }

    fn width(&self, level: u8, n: u64) -> usize {
        match Tree::edge_of(self.size).nth(usize::from(level)) {
            Some((last, width)) if n == last => width,
            _ => usize::try_from(TILE).unwrap_or(usize::MAX),
        }
    }

    fn hashes(&self, level: u8, n: u64) -> Result<Vec<Hash>, AuditError> {
        let bytes = self.read(tile_path(level, n, usize::MAX), tile_path(level, n, self.width(level, n)))?;
        // Bytes that are no tile are none: verification then names the leaf below.
        Ok(Tile::hashes_of(&bytes).unwrap_or_default())
    }

    fn leaves(&self, n: u64) -> Result<Vec<Leaf>, AuditError> {
        let width = self.width(0, n);
        let records = self.read(bundle_path(n, usize::MAX), bundle_path(n, width))?;
        let records = decode_bundle(&records).ok_or(AuditError::Corrupt { leaf: n * TILE })?;
        let name = |width| format!("content/{}", number_path(n, width));
        let lines = self.read(name(usize::MAX), name(width))?;
        let lines = String::from_utf8_lossy(&lines);
        let mut lines: std::collections::BTreeMap<u64, Held> =
            lines.lines().filter_map(|line| Some(serde_json::from_str::<Line>(line).ok()?.held())).collect();
        let leaf = |(index, record): (u64, Vec<u8>)| Leaf {
            index,
            record: String::from_utf8_lossy(&record).into_owned(),
            held: lines.remove(&index).unwrap_or(Held::Missing),
        };
        Ok((n * TILE..).zip(records).map(leaf).collect())
    }
}

impl Tiles for Folder {
    type Error = AuditError;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, AuditError>> {
        ready(self.hashes(level, n)).boxed()
    }
}

impl Log for Folder {
    fn keys(&self) -> Vec<VerifierKey> {
        self.keys.clone()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>> {
        let note =
            fs::read(self.path.join(CHECKPOINT)).map(|note| String::from_utf8_lossy(&note).into_owned());
        ready(note.map_err(|_| AuditError::Unavailable)).boxed()
    }

    fn checkpoints(&self, above: u64, limit: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let kept = self.kept.iter().filter(|(size, _)| *size > above).take(limit).cloned().collect();
        ready(Ok(kept)).boxed()
    }

    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        ready(self.leaves(n)).boxed()
    }

    fn first(&self) -> BoxFuture<'_, Result<u64, AuditError>> {
        ready(Ok(self.first)).boxed()
    }
}

/// What lies beside one leaf: a line of a content file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    leaf: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<Parts>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    salt: String,
    /// The facts' JSON as it was written, in a string: its bytes are what is committed to.
    facts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    frames: String,
}

impl Line {
    pub(crate) fn of(leaf: &Leaf) -> Option<Self> {
        let line = Self { leaf: leaf.index, erased: None, open: None };
        match &leaf.held {
            Held::Open(content) => {
                let open = Parts {
                    salt: BASE64.encode(content.salt),
                    facts: String::from_utf8_lossy(&content.facts).into_owned(),
                    body: content.request_body.as_ref().map(|body| BASE64.encode(body)),
                    frames: BASE64.encode(&content.frames),
                };
                Some(Self { open: Some(open), ..line })
            }
            Held::Erased { subject } => Some(Self { erased: Some(subject.clone()), ..line }),
            // Sealed and nothing more: the folder holds nothing anybody could open.
            Held::Sealed => Some(line),
            Held::Missing | Held::Broken => None,
        }
    }

    pub(crate) fn held(self) -> (u64, Held) {
        let held = match (self.open, self.erased) {
            (Some(parts), None) => parts.content().map_or(Held::Broken, Held::Open),
            (None, Some(subject)) => Held::Erased { subject },
            (None, None) => Held::Sealed,
            (Some(_), Some(_)) => Held::Broken,
        };
        (self.leaf, held)
    }
}

impl Parts {
    fn content(self) -> Option<Content> {
        let bytes = |text: &str| BASE64.decode(text).ok();
        Some(Content {
            salt: bytes(&self.salt)?.try_into().ok()?,
            facts: self.facts.into(),
            request_body: match self.body {
                Some(body) => Some(Bytes::from(bytes(&body)?)),
                None => None,
            },
            frames: bytes(&self.frames)?.into(),
        })
    }
}

/// Writes a log into an empty folder as it stands now, with or without what lies beside the leaves. It is not verified
/// on the way: what was changed is changed there too. `progress` hears how many leaves are written and how many there
/// are.
///
/// # Errors
///
/// [`FolderError`].
pub async fn export(
    log: &dyn Log,
    folder: &Path,
    content: bool,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Head, FolderError> {
    let at = |error| FolderError::File(folder.to_owned(), error);
    fs::create_dir_all(folder).map_err(at)?;
    if fs::read_dir(folder).map_err(at)?.next().is_some() {
        return Err(FolderError::Taken(folder.to_owned()));
    }
    let note = log.checkpoint().await?;
    let signed = SignedCheckpoint::parse(&note).map_err(|_| AuditError::Unavailable)?;
    let head = signed.claimed().head;
    let first = log.first().await?;
    if first > 0 {
        write(folder, FIRST, format!("{first}\n").as_bytes())?;
    }
    for n in first / TILE..head.size.div_ceil(TILE) {
        let mut leaves = log.bundle(n).await?;
        leaves.retain(|leaf| leaf.index < head.size);
        // Under the name it should have, even where leaves are missing.
        let width = usize::try_from((head.size - n * TILE).min(TILE)).unwrap_or(usize::MAX);
        for (name, bytes) in bundle_files(n, width, &leaves, content)? {
            write(folder, &name, &bytes)?;
        }
        progress(head.size.min((n + 1) * TILE), head.size);
    }
    for (name, bytes) in tile_files(log, first, head.size).await? {
        write(folder, &name, &bytes)?;
    }
    let (mut kept, mut above, mut tile) = (String::new(), 0, None);
    loop {
        let page = log.checkpoints(above, 1000).await?;
        let Some((last, _)) = page.last() else { break };
        above = *last;
        for (size, note) in page.iter().filter(|(size, _)| *size <= head.size) {
            // One per tile says well enough where, and keeps the file small.
            if tile.replace(size / TILE) != Some(size / TILE) {
                kept.extend(serde_json::to_string(note).ok());
                kept.push('\n');
            }
        }
    }
    write(folder, CHECKPOINTS, kept.as_bytes())?;
    let now = log.first().await?;
    if now != first {
        return Err(AuditError::Cut { first: now }.into());
    }
    // Last: a folder without it is not finished.
    write(folder, CHECKPOINT, note.as_bytes())?;
    Ok(head)
}

/// The two files of an exported log that hold its `n`-th leaves, `width` of them if all are there: their records, and what
/// lies beside them or, without `content`, that something does.
///
/// # Errors
///
/// [`AuditError::Corrupt`] when a leaf is longer than one can be.
pub fn bundle_files(
    n: u64,
    width: usize,
    leaves: &[Leaf],
    content: bool,
) -> Result<[(String, Vec<u8>); 2], AuditError> {
    let records = leaves.iter().map(|leaf| leaf.record.as_bytes());
    let bundle = encode_bundle(records).ok_or(AuditError::Corrupt { leaf: n * TILE })?;
    let lines = leaves.iter().filter_map(|leaf| {
        let line = Line::of(leaf)?;
        serde_json::to_string(&if content { line } else { Line { open: None, ..line } }).ok()
    });
    let lines: String = lines.map(|line| line + "\n").collect();
    Ok([(bundle_path(n, width), bundle), (format!("content/{}", number_path(n, width)), lines.into_bytes())])
}

/// The files of an exported log that hold the hash tiles above leaves from `from` on, in a tree of this size.
///
/// # Errors
///
/// [`AuditError`] when the log cannot be read.
pub async fn tile_files(log: &dyn Log, from: u64, size: u64) -> Result<Vec<(String, Vec<u8>)>, AuditError> {
    let mut files = Vec::new();
    for ((last, width), level) in Tree::edge_of(size).zip(0_u8..) {
        for n in from >> (8 * (u32::from(level) + 1))..=last {
            let mut hashes = log.tile(level, n).await?;
            if n == last {
                hashes.truncate(width);
            }
            let width = if n == last { width } else { usize::MAX };
            if !hashes.is_empty() {
                files.push((tile_path(level, n, width), Tile { level, n, hashes }.to_bytes()));
            }
        }
    }
    Ok(files)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&path, bytes))
        .map_err(|error| FolderError::File(path, error))
}
