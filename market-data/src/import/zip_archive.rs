//! Zip archives: every file inside is read in the order of the archive, as Binance's public data has it.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Rows, read_entry};
use crate::DataError;

/// Reads all files of a zip; their names in messages are `archive.zip/inner.csv`.
pub(crate) fn read_zip<R: Read + Seek>(name: &str, zip: R, rows: &mut Rows) -> Result<(), DataError> {
    let bad = |error: ZipError| DataError::bad_file(name, damaged(&error));
    let mut archive = ZipArchive::new(zip).map_err(bad)?;
    let mut files = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(bad)?;
        let inner = entry.name().map_err(bad)?;
        // macOS puts a shadow of every file into the archives it makes.
        if entry.is_dir() || inner.starts_with("__MACOSX/") {
            continue;
        }
        let inner = format!("{name}/{inner}");
        read_entry(&inner, entry, rows)?;
        files += 1;
    }
    if files == 0 {
        return Err(DataError::bad_file(name, "the zip holds no file"));
    }
    Ok(())
}

pub(crate) fn damaged(error: &dyn std::error::Error) -> String {
    format!("the zip is damaged or cut short ({error}); get it again")
}
