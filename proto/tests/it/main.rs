//! The wire: what is sent is what arrives, and nothing that arrives can do more than be refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use polybolos_engine::digest::Digest;
use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::precision::Precision;
use polybolos_engine::kernels::sim::{Fill, Intrabar, Returns};
use polybolos_engine::strategy::{Format, Overrides, Source};
use polybolos_engine::sweep::{Keep, Ranking, SeriesId, SweepRequest, SweepSpec, Symbols};
use polybolos_engine::timerange::TimeRange;
use polybolos_proto::{WireError, frame, sweep as wire};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn overrides() -> impl Strategy<Value = Overrides> {
    let number = || of(any::<f64>().prop_filter("NaN is not equal to itself", |x| !x.is_nan()));
    (
        vec(".{0,20}", 0..4),
        number(),
        number(),
        number(),
        of(select(vec![Fill::NextOpen, Fill::Close])),
        of(select(vec![Intrabar::StopFirst, Intrabar::TargetFirst, Intrabar::NearestOpen])),
        of(select(vec![Returns::Daily, Returns::Bar])),
    )
        .prop_map(|(params, cash, fee, slippage, fill, intrabar, returns)| Overrides {
            params,
            cash,
            fee,
            slippage,
            fill,
            intrabar,
            returns,
        })
}

fn request() -> impl Strategy<Value = SweepRequest> {
    let source = (".{0,40}", ".{0,200}", select(vec![Format::Yaml, Format::Json, Format::Toml]))
        .prop_map(|(name, text, format)| Source { name, text, format });
    let symbols = prop_oneof![Just(Symbols::All), vec("[A-Z]{1,8}", 1..5).prop_map(Symbols::Listed)];
    let range = of((of(any::<i64>()), of(any::<i64>()))
        .prop_filter("an unbounded range is no range", |(from, to)| from.is_some() || to.is_some())
        .prop_map(|(from_ms, to_ms)| TimeRange { from_ms, to_ms }));
    let keep = prop_oneof![
        Just(Keep::All),
        (any::<u64>(), "[a-z_]{1,12}", any::<u64>()).prop_map(|(count, metric, min_trades)| Keep::Top {
            count,
            ranking: Ranking { metric, min_trades }
        }),
    ];
    let interval = select(Interval::all().collect::<Vec<_>>());
    let precision = select(vec![Precision::F64, Precision::F32]);
    (source, overrides(), interval, symbols, range, keep, precision).prop_map(
        |(source, overrides, interval, symbols, timerange, keep, precision)| SweepRequest {
            source,
            overrides,
            interval,
            symbols,
            timerange,
            keep,
            precision,
        },
    )
}

fn spec() -> impl Strategy<Value = SweepSpec> {
    let series = ("[A-Z]{1,8}", any::<[u8; 32]>(), any::<u64>()).prop_map(|(symbol, data, bars)| SeriesId {
        symbol,
        data: Digest(data),
        bars,
    });
    (request(), vec(series, 0..4)).prop_map(|(request, series)| SweepSpec { request, series })
}

fn node(spec: &SweepSpec) -> wire::Node {
    wire::Node { spec: Some(spec.into()), data_root: "data".to_owned(), ..wire::Node::default() }
}

proptest! {
    #[test]
    fn a_specification_arrives_as_it_was_sent(spec in spec()) {
        let mut payload = Vec::new();
        frame::NODE.encode(&node(&spec), &mut payload);
        prop_assert!(frame::NODE.claims(&payload) && !frame::TABLE.claims(&payload));
        let message: wire::Node = frame::NODE.decode(&payload).unwrap();
        prop_assert_eq!(SweepSpec::try_from(message.spec.unwrap()).unwrap(), spec);
    }

    #[test]
    fn foreign_and_damaged_payloads_are_refused(spec in spec(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut payload = Vec::new();
        frame::NODE.encode(&node(&spec), &mut payload);
        let at = at.index(payload.len());
        payload[at] ^= 1_u8 << bit;
        match frame::NODE.decode::<wire::Node>(&payload) {
            // Magic and version come first; a change there is always seen.
            Err(error) if at < 5 => {
                let foreign = matches!(error, WireError::Foreign { .. });
                prop_assert!(foreign, "{}", error);
            }
            // Further on a change may give another valid message, or one that the conversion refuses.
            Err(_) => {}
            Ok(message) => {
                prop_assert!(at >= 5, "a changed header was accepted");
                drop(message.spec.map(SweepSpec::try_from));
            }
        }
    }

    #[test]
    fn noise_is_refused(payload in vec(any::<u8>(), 0..200)) {
        prop_assert!(frame::NODE.decode::<wire::Node>(&payload).is_err());
    }
}

#[test]
fn missing_and_unknown_fields_are_named() {
    let field = |error: WireError| match error {
        WireError::Field { field, .. } => field,
        other => panic!("{other}"),
    };
    let request = |request: wire::Request| SweepRequest::try_from(request).unwrap_err();
    let valid = wire::Request {
        source: Some(wire::Source { format: wire::source::Format::Yaml.into(), ..wire::Source::default() }),
        interval: "1h".to_owned(),
        ..wire::Request::default()
    };
    // A precision that is not said is the one that was there before.
    assert_eq!(SweepRequest::try_from(valid.clone()).unwrap().precision, Precision::F64);
    assert_eq!(field(request(wire::Request { precision: 99, ..valid.clone() })), "request.precision");
    assert_eq!(field(request(wire::Request { source: None, ..valid.clone() })), "request.source");
    assert_eq!(
        field(request(wire::Request { interval: "7h".to_owned(), ..valid.clone() })),
        "request.interval"
    );
    let format = wire::Source { format: 99, ..wire::Source::default() };
    assert_eq!(field(request(wire::Request { source: Some(format), ..valid.clone() })), "source.format");
    let overrides = wire::Overrides { fill: 99, ..wire::Overrides::default() };
    assert_eq!(field(request(wire::Request { overrides: Some(overrides), ..valid })), "overrides.fill");
    let series = wire::Series { data_digest: vec![1; 31], ..wire::Series::default() };
    assert_eq!(field(SeriesId::try_from(series).unwrap_err()), "series.data_digest");
}
