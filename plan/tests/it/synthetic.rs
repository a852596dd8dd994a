//! Seeded bars for tests, and a dataset directory of them, written with Parquet's own writer.

use std::fs::{File, create_dir_all};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMillisecondArray};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use polybolos_plan::bars_table::bars_file_schema;

/// 2024-01-01T00:00:00Z.
pub(crate) const START_MS: i64 = 1_704_067_200_000;
const HOUR_MS: i64 = 3_600_000;

/// Numbers of splitmix64, scaled to `0.0..1.0`.
pub(crate) fn uniform(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    })
}

/// `count` hourly bars from `first_ms` on: a random walk whose bars hold `low <= open, close <= high`.
pub(crate) fn bars(seed: u64, first_ms: i64, count: usize) -> RecordBatch {
    let mut random = uniform(seed);
    let mut draw = || random.next().unwrap();
    let mut price = 100.0;
    let mut columns = vec![Vec::new(); 5];
    for _ in 0..count {
        let open = price;
        let close: f64 = open * (0.98 + 0.04 * draw());
        let row = [
            open,
            open.max(close) * (1.0 + 0.01 * draw()),
            open.min(close) * (1.0 - 0.01 * draw()),
            close,
            1_000.0 * draw(),
        ];
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
        price = close;
    }
    let times = (0..count as i64).map(|t| first_ms + t * HOUR_MS);
    let volume = columns[4].clone();
    let scaled = |factor: f64| volume.iter().map(|value| value * factor).collect::<Float64Array>();
    let mut arrays: Vec<ArrayRef> =
        vec![Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))];
    arrays.extend(columns.into_iter().map(|column| Arc::new(Float64Array::from(column)) as ArrayRef));
    arrays.push(Arc::new(scaled(100.0)));
    arrays.push(Arc::new(Int64Array::from_iter_values((0..count as i64).map(|t| 10 + t % 7))));
    arrays.push(Arc::new(scaled(0.5)));
    arrays.push(Arc::new(scaled(50.0)));
    RecordBatch::try_new(bars_file_schema(), arrays).unwrap()
}

/// Writes one file of a dataset.
pub(crate) fn write_bars(dataset: &Path, interval: &str, symbol: &str, year: i32, bars: &RecordBatch) {
    let directory = dataset.join(format!("bars/interval={interval}/symbol={symbol}"));
    create_dir_all(&directory).unwrap();
    let file = File::create(directory.join(format!("{year}.parquet"))).unwrap();
    let mut writer = ArrowWriter::try_new(file, bars.schema(), None).unwrap();
    writer.write(bars).unwrap();
    writer.close().unwrap();
}
