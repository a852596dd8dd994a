//! Which column of a file is which, by the names people give them.

use polybolos_kernels::bars::Column;

use crate::parquet_bars::VALUES;

/// Names of the time column, best first.
const TIME: [&str; 6] = ["open_time", "timestamp", "time", "date", "datetime", "opentime"];

/// Other spellings of the stored columns. Binance's spot and futures files and its REST clients differ in the last four.
const SYNONYMS: [(Column, &[&str]); 4] = [
    (Column::QuoteVolume, &["quote_asset_volume", "quotevolume"]),
    (Column::Trades, &["count", "number_of_trades", "num_trades", "numberoftrades"]),
    (
        Column::TakerBuyVolume,
        &[
            "taker_buy_base",
            "taker_buy_base_volume",
            "taker_buy_base_asset_volume",
            "takerbuybaseassetvolume",
        ],
    ),
    (
        Column::TakerBuyQuoteVolume,
        &["taker_buy_quote", "taker_buy_quote_asset_volume", "takerbuyquoteassetvolume"],
    ),
];

/// Positions of the columns in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) time: usize,
    /// In the stored order; a missing volume or count is 0.
    pub(crate) values: [Option<usize>; VALUES],
}

impl Layout {
    /// Binance's twelve columns without a header: times, prices, volume, close time, quote volume, trades, taker volumes.
    pub(crate) const BINANCE: Layout = Layout {
        time: 0,
        values: [Some(1), Some(2), Some(3), Some(4), Some(5), Some(7), Some(8), Some(9), Some(10)],
    };

    /// freqtrade's JSON: time, prices, volume.
    pub(crate) const FREQTRADE: Layout =
        Layout { time: 0, values: [Some(1), Some(2), Some(3), Some(4), Some(5), None, None, None, None] };

    /// How many fields Binance's rows have.
    pub(crate) const BINANCE_FIELDS: usize = 12;

    /// The layout that column names give; letter case, spaces and dashes do not matter.
    pub(crate) fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Layout, String> {
        let names: Vec<String> =
            names.map(|name| name.trim().to_ascii_lowercase().replace([' ', '-'], "_")).collect();
        let find = |wanted: &str| names.iter().position(|name| name == wanted);
        let time = TIME.into_iter().find_map(find).ok_or_else(|| missing("time", &names))?;
        let mut values = [None; VALUES];
        for (slot, column) in values.iter_mut().zip(Column::ALL.into_iter().skip(1)) {
            let synonyms = SYNONYMS.iter().find(|(of, _)| *of == column).map_or(&[][..], |(_, names)| names);
            *slot = find(column.name()).or_else(|| synonyms.iter().copied().find_map(find));
            let is_price = matches!(column, Column::Open | Column::High | Column::Low | Column::Close);
            if is_price && slot.is_none() {
                return Err(missing(column.name(), &names));
            }
        }
        Ok(Layout { time, values })
    }

    /// One more than the last position that is read.
    pub(crate) fn width(&self) -> usize {
        self.values.iter().flatten().fold(self.time, |last, &position| last.max(position)) + 1
    }
}

fn missing(column: &str, names: &[String]) -> String {
    let has = names.join(", ");
    format!(
        "no {column} column (it has: {has}); a header row must name time|timestamp|date|open_time, open, high, low, close"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_any_of_their_names() {
        let layout = Layout::from_names(["Date", "CLOSE", "low", " High ", "open", "junk"].into_iter());
        let found = layout.map(|layout| (layout.time, layout.values[..5].to_vec(), layout.width()));
        assert_eq!(found, Ok((0, vec![Some(4), Some(3), Some(2), Some(1), None], 5)));
        for futures in [
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
            "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,\
             Taker buy base asset volume,Taker buy quote asset volume,Ignore",
        ] {
            assert_eq!(Layout::from_names(futures.split(',')), Ok(Layout::BINANCE), "{futures}");
        }
        assert!(
            Layout::from_names(["time", "open", "high", "low"].into_iter())
                .is_err_and(|e| e.contains("no close"))
        );
    }
}
