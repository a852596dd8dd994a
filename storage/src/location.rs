//! A file or a folder by its name, and what can be done with it.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::path::Path as Key;

use crate::atomic_file;
use crate::error::StorageError;
use crate::open_file::OpenFile;
use crate::parallel::in_parallel;
use crate::s3::{self, Bucket, When};
use crate::upload::Upload;

/// A file or folder: a path of this machine, or `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location(Place);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Local(PathBuf),
    S3 { bucket: String, key: Key },
}

/// The one scheme beside paths.
const SCHEME: &str = "s3://";

/// Small requests to a bucket that go on at a time.
const REQUESTS_AT_ONCE: usize = 32;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path from the folder, with `/` between its parts.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What an object was when it was read, to be told when it has changed; empty where writers lock each other out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(pub(crate) Option<String>);

/// A file with all its content that does not carry its name yet. Dropped without a commit, nothing of it stays.
#[derive(Debug)]
#[must_use = "a staged file is removed unless it is committed"]
pub struct Staged {
    location: Location,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(atomic_file::Staged),
    Upload(Box<Upload>),
}

/// Where a location is reached.
enum Reached<'l> {
    Disk(&'l Path),
    Bucket(Bucket, &'l Key),
}

impl Location {
    /// A location as a user writes it: a path, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// Another scheme, no bucket, a prefix that is no key, or credentials in the name.
    pub fn parse(text: impl AsRef<Path>) -> Result<Location, StorageError> {
        let path = text.as_ref();
        let Some(url) = path.to_str().filter(|text| text.contains("://")) else {
            return Ok(Location(Place::Local(path.to_owned())));
        };
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains('@') {
            // Not repeated: it may be a secret.
            return Err(StorageError::unusable(
                &format!("{scheme}://…"),
                "a location holds no credentials; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        }
        if scheme != "s3" {
            return Err(StorageError::unusable(
                url,
                "such locations are not supported; name a directory or s3://BUCKET/PREFIX",
            ));
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(StorageError::unusable(
                url,
                "there is no bucket in it; write s3://BUCKET/PREFIX, the bucket in small letters",
            ));
        }
        let key = Key::parse(prefix.trim_matches('/'))
            .ok()
            .filter(|key| key.as_ref().chars().all(is_plain))
            .ok_or_else(|| {
                StorageError::unusable(
                    url,
                    "the prefix may hold letters, digits and `-_.=+,:` between slashes only",
                )
            })?;
        Ok(Location(Place::S3 { bucket: bucket.to_owned(), key }))
    }

    /// A path of this machine, taken literally.
    pub fn local(path: impl Into<PathBuf>) -> Location {
        Location(Place::Local(path.into()))
    }

    /// The path, for a location on this machine.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Local(path) => Some(path),
            Place::S3 { .. } => None,
        }
    }

    /// Whether every request travels.
    pub fn is_remote(&self) -> bool {
        self.path().is_none()
    }

    /// How many small reads are best made at a time: one of a disk, many of a server far away.
    pub fn requests_at_once(&self) -> usize {
        if self.is_remote() { REQUESTS_AT_ONCE } else { 1 }
    }

    /// What is called so below it; `name` may have several parts.
    #[must_use]
    pub fn join(&self, name: &str) -> Location {
        Location(match &self.0 {
            Place::Local(path) => Place::Local(path.join(name)),
            Place::S3 { bucket, key } => {
                let parts = name.split('/').filter(|part| !part.is_empty());
                let key = parts.fold(key.clone(), Key::join);
                Place::S3 { bucket: bucket.clone(), key }
            }
        })
    }

    fn reach(&self) -> Result<Reached<'_>, StorageError> {
        match &self.0 {
            Place::Local(path) => Ok(Reached::Disk(path)),
            Place::S3 { bucket, key } => s3::bucket(bucket)
                .map(|bucket| Reached::Bucket(bucket, key))
                .map_err(|error| StorageError::remote(self, &error)),
        }
    }

    fn io(&self) -> impl Fn(io::Error) -> StorageError + use<'_> {
        |error| StorageError::io(self, &error)
    }

    fn remote(&self) -> impl Fn(object_store::Error) -> StorageError + use<'_> {
        |error| StorageError::remote(self, &error)
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// It is not there ([`StorageError::is_missing`]) or cannot be read.
    pub fn read(&self) -> Result<Bytes, StorageError> {
        self.read_revision().map(|(content, _)| content)
    }

    /// [`Location::read`] with what is needed to replace this very content.
    ///
    /// # Errors
    /// As there.
    pub fn read_revision(&self) -> Result<(Bytes, Revision), StorageError> {
        match self.reach()? {
            Reached::Disk(path) => {
                let content = fs::read(path).map_err(self.io())?;
                Ok((Bytes::from(content), Revision(None)))
            }
            Reached::Bucket(bucket, key) => bucket.get(key).map_err(self.remote()),
        }
    }

    /// The whole contents of some files, in order: of a bucket as many at a time as it answers, of a disk in one piece of memory,
    /// which is then given back in one piece; pieces of many sizes would each leave a gap that only their own size fills.
    ///
    /// # Errors
    /// As of [`Location::read`], of the first file that has one.
    pub fn read_all(files: &[&Location]) -> Result<Vec<Bytes>, StorageError> {
        let on_disk = files.iter().map(|file| Some((*file, file.path()?))).collect::<Option<Vec<_>>>();
        let Some(on_disk) = on_disk else {
            return in_parallel(REQUESTS_AT_ONCE, files, |file| file.read());
        };
        let mut opened = Vec::with_capacity(files.len());
        let mut bytes = 0;
        for (location, path) in on_disk {
            let file = fs::File::open(path).map_err(location.io())?;
            bytes += file.metadata().map_err(location.io())?.len();
            opened.push((location, file));
        }
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut ends = Vec::with_capacity(files.len());
        for (location, mut file) in opened {
            file.read_to_end(&mut content).map_err(location.io())?;
            ends.push(content.len());
        }
        let content = Bytes::from(content);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        Ok(starts.zip(&ends).map(|(start, &end)| content.slice(start..end)).collect())
    }

    /// Opens a file for reading here and there.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    pub fn open(&self) -> Result<OpenFile, StorageError> {
        match self.reach()? {
            Reached::Disk(path) => Ok(OpenFile::local(fs::File::open(path).map_err(self.io())?)),
            Reached::Bucket(bucket, key) => OpenFile::remote(self.clone(), bucket, key.clone()),
        }
    }

    /// Whether there is a file of this name.
    ///
    /// # Errors
    /// Nothing is known: the place cannot be looked at.
    pub fn is_file(&self) -> Result<bool, StorageError> {
        match self.reach()? {
            Reached::Disk(path) => match fs::metadata(path) {
                Ok(found) => Ok(found.is_file()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(self.io()(error)),
            },
            Reached::Bucket(bucket, key) => bucket.exists(key).map_err(self.remote()),
        }
    }

    /// The names in a folder, sorted; none if it does not exist. A name that is not Unicode is none of ours.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, StorageError> {
        let path = match self.reach()? {
            Reached::Disk(path) => path,
            Reached::Bucket(bucket, key) => return bucket.names(key).map_err(self.remote()),
        };
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(self.io())?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(self.io())?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Every object below a folder of a bucket, by name; `None` for a folder on this machine, which is better walked.
    ///
    /// # Errors
    /// The bucket cannot be listed.
    pub fn objects(&self) -> Result<Option<Vec<Entry>>, StorageError> {
        match self.reach()? {
            Reached::Disk(_) => Ok(None),
            Reached::Bucket(bucket, key) => bucket.objects(key).map(Some).map_err(self.remote()),
        }
    }

    /// Writes the content that the file is to have through `fill`; folders above it are made. On this machine it is written under
    /// a temporary name; of an object what is large is sent on the way and is not visible.
    ///
    /// # Errors
    /// Those of `fill` and of writing; nothing of the file stays.
    pub fn stage(
        &self,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<Staged, StorageError> {
        let content = match self.reach()? {
            Reached::Bucket(bucket, key) => {
                let mut upload = Upload::new(bucket, key.clone());
                let filled = fill(&mut upload);
                if let Some(error) = upload.failure() {
                    return Err(StorageError::remote(self, error));
                }
                filled.map_err(self.io())?;
                Content::Upload(Box::new(upload))
            }
            Reached::Disk(path) => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(self.io())?;
                }
                Content::File(atomic_file::stage(path, |file| fill(file)).map_err(self.io())?)
            }
        };
        Ok(Staged { location: self.clone(), content })
    }

    /// Writes the file through `fill`. When that fails, it is as it was before.
    ///
    /// # Errors
    /// Those of `fill` and of writing.
    pub fn write(
        &self,
        fill: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<(), StorageError> {
        self.stage(fill)?.commit()
    }
}

/// Characters that stand for themselves in keys and in URLs.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.=+,:/".contains(c)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Local(path) => path.display().fmt(f),
            Place::S3 { bucket, key } if key.as_ref().is_empty() => write!(f, "{SCHEME}{bucket}"),
            Place::S3 { bucket, key } => write!(f, "{SCHEME}{bucket}/{key}"),
        }
    }
}

impl Revision {
    /// Whatever is there: what is written last stays.
    pub fn any() -> Revision {
        Revision(None)
    }
}

impl Staged {
    /// Gives the file its name, in place of one that had it. Waits for the disk or the server; computes nothing.
    ///
    /// # Errors
    /// The file cannot be made last; nothing of it stays.
    pub fn commit(self) -> Result<(), StorageError> {
        self.commit_when(When::Always)
    }

    /// [`Staged::commit`] for content that follows from the name: an object that has the name already stays if it `is_whole`,
    /// which is asked only then. A folder of this machine, and a server that knows no conditions, replace it by its equal.
    ///
    /// # Errors
    /// As there.
    pub fn commit_unless(self, is_whole: impl FnOnce() -> bool) -> Result<(), StorageError> {
        let Staged { location, content } = self;
        match content {
            Content::File(staged) => staged.commit().map_err(location.io()),
            Content::Upload(upload) => (*upload).finish_unless(is_whole).map_err(location.remote()),
        }
    }

    /// [`Staged::commit`] if the file still is what was read; `None`: if there still is none. A folder of this machine, where
    /// writers lock each other out, and a server that knows no conditions, replace it in any case.
    ///
    /// # Errors
    /// As there; somebody else has written it ([`StorageError::is_raced`]).
    pub fn commit_over(self, read: Option<&Revision>) -> Result<(), StorageError> {
        let when = match read {
            None => When::Absent,
            Some(Revision(tag)) => tag.clone().map_or(When::Always, When::Tag),
        };
        self.commit_when(when)
    }

    fn commit_when(self, when: When) -> Result<(), StorageError> {
        let Staged { location, content } = self;
        match content {
            Content::File(staged) => staged.commit().map_err(location.io()),
            Content::Upload(upload) => (*upload).finish(&when).map_err(location.remote()),
        }
    }
}
