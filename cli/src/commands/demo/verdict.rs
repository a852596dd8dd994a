//! What the best row of a sweep is worth, in plain words: the deflated Sharpe ratio and what luck alone would have given.

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use polybolos_engine::metrics::{TrialStats, expected_maximum_sharpe};
use polybolos_plan::catalogue::Manifest;
use polybolos_plan::schema::number_at;
use serde::Serialize;

use crate::error::CliError;
use crate::output::thousands;

/// Probability from which a result is taken for skill: the usual 95 %.
const CONFIDENT: f64 = 0.95;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Verdict {
    symbol: String,
    /// Combinations with a defined Sharpe ratio on the symbol.
    trials: u64,
    /// Symbols the best row was chosen from; each had as many trials.
    symbols: usize,
    /// Annual Sharpe ratio of the best row.
    sharpe: Option<f64>,
    /// Annual Sharpe ratio to expect from the best of the trials if none had any skill.
    luck_sharpe: Option<f64>,
    /// Probability that the true Sharpe ratio is above that.
    dsr: Option<f64>,
    /// Whether that probability is at least 95 %.
    convincing: bool,
}

impl Verdict {
    /// The verdict on the first row of `best`, a table of results whose returns are sampled `periods_per_year` times a year.
    pub(super) fn of_best(
        manifest: &Manifest,
        best: &[RecordBatch],
        periods_per_year: f64,
    ) -> Result<Verdict, CliError> {
        let none = || CliError::Failed(format!("sweep {} has no row to judge", manifest.sweep_id));
        let row = best.iter().find(|batch| batch.num_rows() > 0).ok_or_else(none)?;
        let symbols =
            row.column_by_name("symbol").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(none)?;
        let symbol = symbols.value(0).to_owned();
        let series = manifest.series.iter().find(|series| series.symbol == symbol).ok_or_else(none)?;
        let trials = series
            .trials
            .map(|trials| TrialStats { count: trials.count, sharpe_variance: trials.sharpe_variance })
            .ok_or_else(none)?;
        let dsr = number_at(row, "dsr", 0);
        Ok(Verdict {
            trials: trials.count,
            symbols: manifest.series.len(),
            sharpe: number_at(row, "sharpe", 0),
            luck_sharpe: expected_maximum_sharpe(&trials).map(|sharpe| sharpe * periods_per_year.sqrt()),
            dsr,
            convincing: dsr.is_some_and(|dsr| dsr >= CONFIDENT),
            symbol,
        })
    }

    pub(super) fn text(&self) -> String {
        let Verdict {
            symbol,
            trials,
            symbols,
            sharpe: Some(sharpe),
            luck_sharpe: Some(luck),
            dsr: Some(dsr),
            ..
        } = self
        else {
            return "   The best row has no defined deflated Sharpe ratio: too few returns to judge."
                .to_owned();
        };
        let judgement = if self.convincing {
            "That is beyond what luck explains here. Only data the sweep never saw can confirm it"
        } else {
            "That is not beyond luck: trying so many combinations finds such a row in noise. Do not trade it"
        };
        format!(
            "   The best row has a Sharpe ratio of {sharpe:.2} a year on {symbol}. But it is the best of {} combinations:\n   \
             if none of them had any skill, the luckiest would still show about {luck:.2}.\n   \
             The deflated Sharpe ratio, the probability that its true Sharpe ratio is above that, is {:.1} %.\n   \
             {judgement}.\n   \
             It was also picked from {symbols} symbols, which that probability does not count. And this market is made of\n   \
             random numbers: it has regimes of trend and rest, but no edge that would exist anywhere else.",
            thousands(*trials),
            dsr * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_follow_the_numbers() {
        let verdict = |dsr: f64| Verdict {
            symbol: "SYN001USDT".to_owned(),
            trials: 5000,
            symbols: 8,
            sharpe: Some(1.5),
            luck_sharpe: Some(1.2),
            dsr: Some(dsr),
            convincing: dsr >= CONFIDENT,
        };
        let lucky = verdict(0.62).text();
        assert!(
            lucky.contains("5,000 combinations")
                && lucky.contains("62.0 %")
                && lucky.contains("not beyond luck")
        );
        assert!(verdict(0.97).text().contains("beyond what luck explains"));
        let undefined = Verdict { dsr: None, ..verdict(0.5) };
        assert!(undefined.text().contains("no defined deflated Sharpe ratio"));
    }
}
