//! freqtrade's JSON: `[[ms, open, high, low, close, volume], ...]`, read row by row, never as one tree.

use std::fmt;
use std::io::BufRead;

use polybolos_kernels::bars::Column;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::Value;

use super::Rows;
use super::header::Layout;
use super::time::{time_from_float, time_from_number};
use crate::DataError;
use crate::parquet_bars::VALUES;

/// Time, four prices, volume.
const FIELDS: usize = 6;

pub(crate) fn read(name: &str, text: &mut dyn BufRead, rows: &mut Rows) -> Result<(), DataError> {
    let bad = |error: serde_json::Error| {
        DataError::bad_file(
            name,
            format!("not freqtrade's [[ms, open, high, low, close, volume], ...]: {error}"),
        )
    };
    rows.has_columns(&Layout::FREQTRADE);
    let mut json = serde_json::Deserializer::from_reader(text);
    json.deserialize_seq(Elements(rows)).map_err(bad)?;
    json.end().map_err(bad)
}

struct Elements<'a>(&'a mut Rows);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(element) = elements.next_element::<Value>()? {
            number += 1;
            self.0.add(number, parse(&element));
        }
        Ok(())
    }
}

fn parse(element: &Value) -> Result<(i64, [f64; VALUES]), String> {
    let fields = element.as_array().ok_or_else(|| format!("{element} is not a list"))?;
    let [time, prices_and_volume @ ..] = fields.as_slice() else {
        return Err("it is empty".to_owned());
    };
    if fields.len() != FIELDS {
        return Err(format!("{} values, not {FIELDS}", fields.len()));
    }
    let time_ms = match (time.as_i64(), time.as_f64()) {
        (Some(whole), _) => time_from_number(whole)?,
        (None, Some(number)) => time_from_float(number)?,
        _ => return Err(format!("time is {time}, not a number")),
    };
    let mut values = [0.0; VALUES];
    for (index, value) in prices_and_volume.iter().enumerate() {
        let column = Column::ALL[index + 1].name();
        values[index] = value.as_f64().ok_or_else(|| format!("{column} is {value}, not a number"))?;
    }
    Ok((time_ms, values))
}
