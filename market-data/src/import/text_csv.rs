//! CSV: Binance's twelve columns without a header, or any columns named by a header row.
//!
//! The separator is the comma, semicolon or tab that the first line has most of. A row is a line: quotes may hold a
//! separator but no line end. Decimal commas are not read.

use std::io::{BufRead, Read};

use polybolos_kernels::bars::Column;

use super::Rows;
use super::header::Layout;
use super::time::time_from_text;
use crate::DataError;
use crate::parquet_bars::VALUES;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Longest line; what has none so long is not taken into memory to look at it.
const LINE_BYTES: u64 = 1 << 16;

pub(crate) fn read(name: &str, text: &mut dyn BufRead, rows: &mut Rows) -> Result<(), DataError> {
    rows.count_lines();
    let mut lines = Lines { name, text, bytes: Vec::new(), number: 0 };
    let Some((number, first)) = lines.next()? else {
        return Err(DataError::bad_file(name, "the file holds no line"));
    };
    let first = first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(first).to_vec();
    let delimiter = delimiter(&first);
    let mut fields = Vec::new();
    split(&first, delimiter, &mut fields).map_err(|reason| DataError::bad_file(name, reason))?;
    let texts: Vec<String> = fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    // A row of numbers or times is data; a row of names is a header.
    let is_data =
        texts.first().is_some_and(|text| time_from_text(text).is_ok() || text.parse::<f64>().is_ok());
    let layout = if !is_data {
        Layout::from_names(texts.iter().map(String::as_str))
            .map_err(|reason| DataError::bad_file(name, reason))?
    } else if texts.len() == Layout::BINANCE_FIELDS {
        rows.add(number, parse(&fields, &Layout::BINANCE));
        Layout::BINANCE
    } else {
        return Err(DataError::bad_file(name, no_header(texts.len())));
    };
    rows.has_columns(&layout);
    while let Some((number, line)) = lines.next()? {
        let mut fields = Vec::with_capacity(Layout::BINANCE_FIELDS);
        let row = split(line, delimiter, &mut fields).and_then(|()| parse(&fields, &layout));
        rows.add(number, row);
    }
    Ok(())
}

fn no_header(columns: usize) -> String {
    format!(
        "no header row and {columns} columns; without a header only Binance's {} columns are known, so put one on top: \
         time,open,high,low,close,volume",
        Layout::BINANCE_FIELDS
    )
}

/// The lines of a text that are not blank, with their numbers from 1.
struct Lines<'a> {
    name: &'a str,
    text: &'a mut dyn BufRead,
    bytes: Vec<u8>,
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<(u64, &[u8])>, DataError> {
        loop {
            self.bytes.clear();
            let read = (&mut *self.text).take(LINE_BYTES).read_until(b'\n', &mut self.bytes);
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => self.number += 1,
                Err(error) => {
                    let reason =
                        format!("cannot read it beyond line {} ({error}); get it again", self.number);
                    return Err(DataError::bad_file(self.name, reason));
                }
            }
            if self.bytes.len() as u64 == LINE_BYTES && self.bytes.last() != Some(&b'\n') {
                let reason =
                    format!("line {} is longer than {LINE_BYTES} bytes; this is no CSV of bars", self.number);
                return Err(DataError::bad_file(self.name, reason));
            }
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.number, self.bytes.as_slice())))
    }
}

fn delimiter(line: &[u8]) -> u8 {
    let count = |separator: &u8| line.iter().filter(|&byte| byte == separator).count();
    // Of equally frequent ones the last wins, so the comma stands last.
    b"\t;,".iter().copied().max_by_key(count).unwrap_or(b',')
}

/// Cuts a line into its fields, without the spaces and quotes around them.
fn split<'a>(line: &'a [u8], delimiter: u8, fields: &mut Vec<&'a [u8]>) -> Result<(), String> {
    fields.clear();
    let mut rest = line.trim_ascii_end();
    loop {
        let end = field_end(rest, delimiter)?;
        let (field, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let field = field.trim_ascii();
        fields.push(field.strip_prefix(b"\"").and_then(|open| open.strip_suffix(b"\"")).unwrap_or(field));
        match behind.split_first() {
            Some((_, next)) => rest = next,
            None => return Ok(()),
        }
    }
}

/// Where the first field ends: at the first separator outside quotes.
fn field_end(rest: &[u8], delimiter: u8) -> Result<usize, String> {
    let mut is_quoted = false;
    for (index, &byte) in rest.iter().enumerate() {
        if byte == b'"' {
            is_quoted = !is_quoted;
        } else if byte == delimiter && !is_quoted {
            return Ok(index);
        }
    }
    if is_quoted { Err("a quotation mark is not closed on its line".to_owned()) } else { Ok(rest.len()) }
}

fn parse(fields: &[&[u8]], layout: &Layout) -> Result<(i64, [f64; VALUES]), String> {
    if fields.len() < layout.width() {
        return Err(format!("{} fields, at least {} are needed", fields.len(), layout.width()));
    }
    let text = |position: usize| {
        let bytes = fields.get(position).copied().unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| format!("field {} is not text", position + 1))
    };
    let time_ms = time_from_text(text(layout.time)?)?;
    let mut values = [0.0; VALUES];
    for (index, position) in layout.values.iter().enumerate() {
        if let Some(position) = *position {
            let text = text(position)?;
            values[index] = text.parse().map_err(|_| {
                let column = Column::ALL[index + 1].name();
                if text.is_empty() {
                    format!("{column} is empty")
                } else {
                    format!("{column} is `{text}`, not a number")
                }
            })?;
        }
    }
    Ok((time_ms, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_may_hold_separators_and_must_close() {
        let mut fields = Vec::new();
        assert_eq!(split(b"\"a,b\", 1 ,\"2\",,x\r\n", b',', &mut fields), Ok(()));
        assert_eq!(fields, [&b"a,b"[..], b"1", b"2", b"", b"x"]);
        assert!(split(b"1,\"2,3", b',', &mut fields).is_err());
    }
}
