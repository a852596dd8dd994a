//! The newest bars, from `GET /api/v3/klines`, page by page.

use std::ops::Range;

use polybolos_kernels::bars::{Bars, Column};
use serde_json::Value;

use super::http::{Answer, Failure, Http};
use super::spec::FetchSpec;
use crate::import::{Rows, time_from_number};
use crate::parquet_bars::VALUES;

/// Bars of a page, the interface's maximum.
const PAGE_BARS: usize = 1000;

/// Positions of the stored columns in a row of the answer.
const POSITIONS: [usize; VALUES] = [1, 2, 3, 4, 5, 7, 8, 9, 10];

/// The bars whose open times are in `span`; all of them must have closed. None if the server has no such interface.
pub(crate) async fn bring(
    http: &Http<'_>,
    spec: &FetchSpec,
    symbol: &str,
    span: Range<i64>,
) -> Result<Option<Bars>, Failure> {
    let base = format!("{}/api/v3/klines", spec.rest);
    let mut rows = Rows::new(spec.interval);
    rows.begin(&format!("{base} {symbol}"));
    let mut start = span.start;
    let mut number = 0;
    while start < span.end {
        let interval = spec.interval;
        let end = span.end - 1;
        let url = format!(
            "{base}?symbol={symbol}&interval={interval}&startTime={start}&endTime={end}&limit={PAGE_BARS}"
        );
        let Answer::Found(body) = http.get(&url).await? else {
            return Ok(None);
        };
        let page: Vec<Vec<Value>> = serde_json::from_slice(&body)
            .map_err(|error| Failure::GaveUp(format!("{url}: not a list of klines ({error})")))?;
        let Some(last) = page.iter().filter_map(|row| row.first()?.as_i64()).max() else {
            break;
        };
        let last = time_from_number(last).map_err(|reason| Failure::GaveUp(format!("{url}: {reason}")))?;
        if last < start {
            return Err(Failure::GaveUp(format!("{url}: the answer ends before the time asked for")));
        }
        for row in page {
            number += 1;
            rows.add(number, parse(&row));
        }
        // An outage makes a page short, so only an empty page or the end of the span is the end.
        start = last + 1;
    }
    let settled = rows.settle();
    if settled.bad.total > 0 {
        return Err(Failure::GaveUp(settled.bad.to_string()));
    }
    let times = &settled.bars.open_time_ms;
    let first_from = |ms: i64| times.partition_point(|&time| time < ms);
    Ok(Some(settled.bars.slice(first_from(span.start)..first_from(span.end))))
}

/// Prices and volumes come as texts, the number of trades as a number.
fn parse(row: &[Value]) -> Result<(i64, [f64; VALUES]), String> {
    let time = row.first().and_then(Value::as_i64).ok_or("the open time is not a whole number")?;
    let mut values = [0.0; VALUES];
    for (index, &position) in POSITIONS.iter().enumerate() {
        let value = row.get(position).unwrap_or(&Value::Null);
        let number = match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        };
        values[index] =
            number.ok_or_else(|| format!("{} is {value}, not a number", Column::ALL[index + 1].name()))?;
    }
    Ok((time_from_number(time)?, values))
}
