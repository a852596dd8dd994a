//! Engine types to messages and back. Total in one direction, checked in the other.

use polybolos_engine::digest::Digest;
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::precision::Precision;
use polybolos_engine::kernels::sim::{Fill, Intrabar, Returns};
use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_engine::sweep::{Keep, Ranking, SeriesId, SweepRequest, SweepSpec, Symbols};
use polybolos_engine::timerange::TimeRange;

use crate::WireError;
use crate::sweep as wire;

fn missing(field: &'static str) -> WireError {
    WireError::Field { field, reason: "is missing".to_owned() }
}

fn unknown(field: &'static str, value: i32) -> WireError {
    WireError::Field { field, reason: format!("has the unknown value {value}") }
}

impl From<&Source> for wire::Source {
    fn from(source: &Source) -> Self {
        let format = match source.format {
            Format::Yaml => wire::source::Format::Yaml,
            Format::Json => wire::source::Format::Json,
            Format::Toml => wire::source::Format::Toml,
        };
        wire::Source { name: source.name.clone(), text: source.text.clone(), format: format.into() }
    }
}

impl TryFrom<wire::Source> for Source {
    type Error = WireError;

    fn try_from(source: wire::Source) -> Result<Self, Self::Error> {
        let format = match wire::source::Format::try_from(source.format) {
            Ok(wire::source::Format::Yaml) => Format::Yaml,
            Ok(wire::source::Format::Json) => Format::Json,
            Ok(wire::source::Format::Toml) => Format::Toml,
            _ => return Err(unknown("source.format", source.format)),
        };
        Ok(Source { name: source.name, text: source.text, format })
    }
}

impl From<&Overrides> for wire::Overrides {
    fn from(overrides: &Overrides) -> Self {
        use wire::overrides as w;
        let fill = match overrides.fill {
            None => w::Fill::Unspecified,
            Some(Fill::NextOpen) => w::Fill::NextOpen,
            Some(Fill::Close) => w::Fill::Close,
        };
        let intrabar = match overrides.intrabar {
            None => w::Intrabar::Unspecified,
            Some(Intrabar::StopFirst) => w::Intrabar::StopFirst,
            Some(Intrabar::TargetFirst) => w::Intrabar::TargetFirst,
            Some(Intrabar::NearestOpen) => w::Intrabar::NearestOpen,
        };
        let returns = match overrides.returns {
            None => w::Returns::Unspecified,
            Some(Returns::Daily) => w::Returns::Daily,
            Some(Returns::Bar) => w::Returns::Bar,
        };
        wire::Overrides {
            params: overrides.params.clone(),
            cash: overrides.cash,
            fee: overrides.fee,
            slippage: overrides.slippage,
            fill: fill.into(),
            intrabar: intrabar.into(),
            returns: returns.into(),
        }
    }
}

impl TryFrom<wire::Overrides> for Overrides {
    type Error = WireError;

    fn try_from(overrides: wire::Overrides) -> Result<Self, Self::Error> {
        use wire::overrides as w;
        let fill = match w::Fill::try_from(overrides.fill) {
            Ok(w::Fill::Unspecified) => None,
            Ok(w::Fill::NextOpen) => Some(Fill::NextOpen),
            Ok(w::Fill::Close) => Some(Fill::Close),
            Err(_) => return Err(unknown("overrides.fill", overrides.fill)),
        };
        let intrabar = match w::Intrabar::try_from(overrides.intrabar) {
            Ok(w::Intrabar::Unspecified) => None,
            Ok(w::Intrabar::StopFirst) => Some(Intrabar::StopFirst),
            Ok(w::Intrabar::TargetFirst) => Some(Intrabar::TargetFirst),
            Ok(w::Intrabar::NearestOpen) => Some(Intrabar::NearestOpen),
            Err(_) => return Err(unknown("overrides.intrabar", overrides.intrabar)),
        };
        let returns = match w::Returns::try_from(overrides.returns) {
            Ok(w::Returns::Unspecified) => None,
            Ok(w::Returns::Daily) => Some(Returns::Daily),
            Ok(w::Returns::Bar) => Some(Returns::Bar),
            Err(_) => return Err(unknown("overrides.returns", overrides.returns)),
        };
        Ok(Overrides {
            params: overrides.params,
            cash: overrides.cash,
            fee: overrides.fee,
            slippage: overrides.slippage,
            fill,
            intrabar,
            returns,
        })
    }
}

impl From<&SweepRequest> for wire::Request {
    fn from(request: &SweepRequest) -> Self {
        let keep_top = match &request.keep {
            Keep::All => None,
            Keep::Top { count, ranking } => Some(wire::KeepTop {
                count: *count,
                metric: ranking.metric.clone(),
                min_trades: ranking.min_trades,
            }),
        };
        wire::Request {
            source: Some((&request.source).into()),
            overrides: Some((&request.overrides).into()),
            interval: request.interval.name().to_owned(),
            symbols: match &request.symbols {
                Symbols::All => Vec::new(),
                Symbols::Listed(symbols) => symbols.clone(),
            },
            from_ms: request.timerange.and_then(|range| range.from_ms),
            to_ms: request.timerange.and_then(|range| range.to_ms),
            keep_top,
            precision: match request.precision {
                Precision::F64 => wire::Precision::F64,
                Precision::F32 => wire::Precision::F32,
            }
            .into(),
        }
    }
}

impl TryFrom<wire::Request> for SweepRequest {
    type Error = WireError;

    fn try_from(request: wire::Request) -> Result<Self, Self::Error> {
        let interval: Interval =
            request.interval.parse().map_err(|error: polybolos_engine::interval::ParseIntervalError| {
                WireError::Field { field: "request.interval", reason: error.to_string() }
            })?;
        let range = TimeRange { from_ms: request.from_ms, to_ms: request.to_ms };
        Ok(SweepRequest {
            source: request.source.ok_or_else(|| missing("request.source"))?.try_into()?,
            overrides: request.overrides.unwrap_or_default().try_into()?,
            interval,
            symbols: if request.symbols.is_empty() { Symbols::All } else { Symbols::Listed(request.symbols) },
            timerange: (range != TimeRange::default()).then_some(range),
            keep: match request.keep_top {
                None => Keep::All,
                Some(top) => Keep::Top {
                    count: top.count,
                    ranking: Ranking { metric: top.metric, min_trades: top.min_trades },
                },
            },
            precision: match wire::Precision::try_from(request.precision) {
                Ok(wire::Precision::Unspecified | wire::Precision::F64) => Precision::F64,
                Ok(wire::Precision::F32) => Precision::F32,
                Err(_) => return Err(unknown("request.precision", request.precision)),
            },
        })
    }
}

impl From<&SeriesId> for wire::Series {
    fn from(series: &SeriesId) -> Self {
        wire::Series { symbol: series.symbol.clone(), data_digest: series.data.0.to_vec(), bars: series.bars }
    }
}

impl TryFrom<wire::Series> for SeriesId {
    type Error = WireError;

    fn try_from(series: wire::Series) -> Result<Self, Self::Error> {
        let bytes: [u8; 32] = series.data_digest.try_into().map_err(|bytes: Vec<u8>| WireError::Field {
            field: "series.data_digest",
            reason: format!("has {} bytes, not 32", bytes.len()),
        })?;
        Ok(SeriesId { symbol: series.symbol, data: Digest(bytes), bars: series.bars })
    }
}

impl From<&SweepSpec> for wire::Spec {
    fn from(spec: &SweepSpec) -> Self {
        wire::Spec {
            request: Some((&spec.request).into()),
            series: spec.series.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::Spec> for SweepSpec {
    type Error = WireError;

    fn try_from(spec: wire::Spec) -> Result<Self, Self::Error> {
        Ok(SweepSpec {
            request: spec.request.ok_or_else(|| missing("spec.request"))?.try_into()?,
            series: spec.series.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}
