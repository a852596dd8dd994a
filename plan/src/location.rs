//! Locations as the URLs that DataFusion lists, taken literally.

use std::path::{Component, Path, PathBuf};

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::DataFusionError;
use polybolos_storage::Location;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One file.
    File,
    /// A folder and everything below it.
    Folder,
}

/// The URL of a location.
///
/// # Errors
/// A local name that is not UTF-8, or a path that cannot be made absolute.
pub(crate) fn table_url(location: &Location, kind: Kind) -> Result<ListingTableUrl, String> {
    if let Some(path) = location.path() {
        return local_url(path, kind);
    }
    // Keys hold no character that would be a pattern, or stand for another, in a URL.
    let end = if kind == Kind::Folder { "/" } else { "" };
    ListingTableUrl::parse(format!("{location}{end}")).map_err(|error| error.strip_backtrace())
}

/// The URL of a local path. The path goes in segment by segment, because [`ListingTableUrl::parse`] would take `[`, `?` and
/// `*` in a name for a pattern.
///
/// # Errors
/// A name that is not UTF-8, or a path that cannot be made absolute.
fn local_url(path: &Path, kind: Kind) -> Result<ListingTableUrl, String> {
    let says = |error: DataFusionError| error.strip_backtrace();
    let path = absolute(path)?;
    let root = ListingTableUrl::parse("file:///").map_err(says)?;
    let mut url = root.get_url().clone();
    {
        let mut segments = url.path_segments_mut().map_err(|()| "no path".to_owned())?;
        segments.clear();
        for component in path.components() {
            if let Component::Normal(name) = component {
                segments.push(name.to_str().ok_or("its name is not UTF-8")?);
            }
        }
        if kind == Kind::Folder {
            segments.push("");
        }
    }
    ListingTableUrl::try_new(url, None).map_err(says)
}

/// An absolute path without `..`. Symbolic links stay as they are written unless `..` asks where they lead, so that
/// machines that mount the dataset under one name by different means agree on it.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    if absolute.components().any(|component| component == Component::ParentDir) {
        return match absolute.canonicalize() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            // A directory that is not there is empty, as it is without `..`; what is listed then is not there either.
            other => Ok(other.unwrap_or_else(|_| lexically_normal(&absolute))),
        };
    }
    Ok(absolute)
}

/// The path with each `name/..` struck out, for a path of which there is nothing on disk to ask.
fn lexically_normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
        normal
    })
}
