//! Indicators in SQL: the kernels' numbers, bit for bit, or a clear refusal.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use polybolos_kernels::indicators::{INDICATORS, Indicator, ParamKind};
use polybolos_plan::bars_table::runtime_builder;
use polybolos_plan::functions::{RENAMED, sql_name, window_functions};
use polybolos_plan::sql_text::missing_over_hint;

use crate::synthetic::{START_MS, bars, uniform};

/// A session with the functions, which splits work over three partitions as a real one would.
pub(crate) fn session() -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(3);
    let context = SessionContext::new_with_config_rt(config, Arc::new(runtime_builder().build().unwrap()));
    for function in window_functions() {
        context.register_udwf(function.as_ref().clone());
    }
    context
}

async fn query(context: &SessionContext, sql: &str) -> RecordBatch {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    concat_batches(&schema, &batches).unwrap()
}

async fn refusal(context: &SessionContext, sql: &str) -> String {
    match context.sql(sql).await {
        Err(error) => error.strip_backtrace(),
        Ok(frame) => match frame.collect().await {
            Err(error) => error.strip_backtrace(),
            Ok(batches) => panic!("{sql} was not refused but gave {batches:?}"),
        },
    }
}

/// Registers the columns as table `name`.
fn table(context: &SessionContext, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(column, array)| (column, array, true)),
    )
    .unwrap();
    context.register_batch(name, batch).unwrap();
}

/// A table of one series `x` with its row number `t`.
fn series(x: &[Option<f64>]) -> SessionContext {
    let context = session();
    let t: ArrayRef = Arc::new(Int64Array::from_iter_values(0..x.len() as i64));
    table(&context, "series", vec![("t", t), ("x", Arc::new(Float64Array::from(x.to_vec())))]);
    context
}

fn floats(batch: &RecordBatch, column: usize) -> Vec<Option<f64>> {
    batch.column(column).as_primitive::<Float64Type>().iter().collect()
}

fn bits(values: &[Option<f64>]) -> Vec<Option<u64>> {
    values.iter().map(|value| value.map(f64::to_bits)).collect()
}

/// Parameters with a meaning for any indicator: growing odd periods, and 2 for a real number.
fn example_params(def: &Indicator) -> Vec<f64> {
    def.params
        .iter()
        .enumerate()
        .map(|(i, param)| match param.kind {
            ParamKind::Period { min } => f64::from(min.max(3 + 2 * i as u32)),
            ParamKind::Real => 2.0,
        })
        .collect()
}

const SYMBOLS: [&str; 3] = ["AAA", "BBB", "CCC"];

/// Bars of [`SYMBOLS`] with holes in every price column, one batch per symbol, and a table `market` in which the rows
/// of all symbols lie shuffled over several batches and partitions.
fn market(context: &SessionContext) -> Vec<RecordBatch> {
    let per_symbol: Vec<RecordBatch> = SYMBOLS
        .iter()
        .enumerate()
        .map(|(i, symbol)| {
            let bars = bars(i as u64, START_MS, 300 + 17 * i);
            let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
            let schema = bars.schema();
            for (j, (field, column)) in schema.fields().iter().zip(bars.columns()).enumerate() {
                let column = if field.data_type() == &DataType::Float64 {
                    let holes = uniform((100 * i + j) as u64).map(|draw| draw < 0.02);
                    let values = column.as_primitive::<Float64Type>().iter().zip(holes);
                    Arc::new(values.map(|(value, hole)| value.filter(|_| !hole)).collect::<Float64Array>())
                } else {
                    Arc::clone(column)
                };
                columns.push((field.name(), column));
            }
            let names = datafusion::arrow::array::StringArray::from(vec![*symbol; bars.num_rows()]);
            columns.push(("symbol", Arc::new(names)));
            RecordBatch::try_from_iter_with_nullable(
                columns.into_iter().map(|(name, array)| (name, array, true)),
            )
            .unwrap()
        })
        .collect();
    assert!(per_symbol.iter().all(|bars| bars.column_by_name("close").unwrap().null_count() > 0));
    let all = concat_batches(&per_symbol[0].schema(), &per_symbol).unwrap();
    let mut order: Vec<(u64, u64)> =
        uniform(7).take(all.num_rows()).zip(0..).map(|(draw, row)| ((draw * 1e9) as u64, row)).collect();
    order.sort_unstable();
    let rows = datafusion::arrow::array::UInt64Array::from_iter_values(order.into_iter().map(|(_, row)| row));
    let shuffled = take_record_batch(&all, &rows).unwrap();
    let batches: Vec<RecordBatch> = (0..shuffled.num_rows())
        .step_by(100)
        .map(|start| shuffled.slice(start, 100.min(shuffled.num_rows() - start)))
        .collect();
    let (left, right) = batches.split_at(batches.len() / 2);
    let provider = MemTable::try_new(all.schema(), vec![left.to_vec(), right.to_vec()]).unwrap();
    context.register_table("market", Arc::new(provider)).unwrap();
    per_symbol
}

/// The column an indicator's input is read from in the tests.
fn column(input: &str) -> &str {
    if input == "x" { "close" } else { input }
}

#[tokio::test]
async fn every_output_has_the_kernels_bits_for_each_of_several_interleaved_symbols() {
    let context = session();
    let per_symbol = market(&context);
    for def in INDICATORS {
        let params = example_params(def);
        let arguments: Vec<String> = def
            .inputs
            .iter()
            .map(|input| column(input).to_owned())
            .chain(params.iter().map(f64::to_string))
            .collect();
        let calls: Vec<String> = def
            .outputs
            .iter()
            .map(|output| {
                format!(
                    "{}({}) OVER (PARTITION BY symbol ORDER BY open_time)",
                    sql_name(output),
                    arguments.join(", ")
                )
            })
            .collect();
        let sql = format!("SELECT symbol, open_time, {} FROM market ORDER BY 1, 2", calls.join(", "));
        let answer = query(&context, &sql).await;
        let mut start = 0;
        for bars in &per_symbol {
            let inputs: Vec<Vec<f64>> = def
                .inputs
                .iter()
                .map(|input| {
                    let array = bars.column_by_name(column(input)).unwrap();
                    array
                        .as_primitive::<Float64Type>()
                        .iter()
                        .map(|value| value.unwrap_or(f64::NAN))
                        .collect()
                })
                .collect();
            let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
            let expected = def.compute(&inputs, &params);
            let rows = answer.slice(start, bars.num_rows());
            for (i, (output, expected)) in def.outputs.iter().zip(&expected).enumerate() {
                let expected: Vec<Option<f64>> =
                    expected.iter().map(|value| Some(*value).filter(|value| value.is_finite())).collect();
                assert!(expected.iter().any(Option::is_some), "{output} is undefined on every bar");
                assert_eq!(bits(&floats(&rows, 2 + i)), bits(&expected), "{output}");
            }
            start += bars.num_rows();
        }
        assert_eq!(start, answer.num_rows());
    }
}

#[tokio::test]
async fn undefined_input_is_null_and_starts_the_warm_up_again() {
    for undefined in [None, Some(f64::NAN), Some(f64::INFINITY)] {
        let context = series(&[Some(1.0), Some(2.0), Some(3.0), undefined, Some(5.0), Some(6.0), Some(7.0)]);
        let answer = query(&context, "SELECT sma(x, 2) OVER (ORDER BY t) FROM series ORDER BY t").await;
        assert_eq!(floats(&answer, 0), [None, Some(1.5), Some(2.5), None, None, Some(5.5), Some(6.5)]);
    }
}

#[tokio::test]
async fn integers_decimals_and_null_are_numbers_too() {
    let context = series(&[Some(1.0), Some(2.0), Some(4.0)]);
    for (call, expected) in [
        ("sma(t, 2)", [None, Some(0.5), Some(1.5)]),
        ("sma(CAST(x AS DECIMAL(10, 2)), 2.0)", [None, Some(1.5), Some(3.0)]),
        ("sma(CAST(x AS FLOAT), CAST(1 + 1 AS SMALLINT))", [None, Some(1.5), Some(3.0)]),
        ("sma(2 * x, 2)", [None, Some(3.0), Some(6.0)]),
        ("sma(x, n => 2)", [None, Some(1.5), Some(3.0)]),
        ("sma(n => 2, x => x)", [None, Some(1.5), Some(3.0)]),
        ("SMA(x, 2)", [None, Some(1.5), Some(3.0)]),
        ("sma(NULL, 2)", [None, None, None]),
        ("sma(x, 4)", [None, None, None]),
    ] {
        let sql = format!("SELECT {call} OVER (ORDER BY t) AS y FROM series ORDER BY t");
        assert_eq!(floats(&query(&context, &sql).await, 0), expected, "{call}");
    }
}

#[tokio::test]
async fn parameters_may_differ_between_partitions_but_not_within_one() {
    let context = session();
    let column = |values: [i64; 4]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    table(
        &context,
        "series",
        vec![
            ("k", column([1, 1, 2, 2])),
            ("t", column([0, 1, 0, 1])),
            ("x", column([3, 5, 7, 9])),
            ("n", column([1, 1, 2, 2])),
        ],
    );
    let answer =
        query(&context, "SELECT sma(x, n) OVER (PARTITION BY k ORDER BY t) FROM series ORDER BY k, t").await;
    assert_eq!(floats(&answer, 0), [Some(3.0), Some(5.0), None, Some(8.0)]);
    let message = refusal(&context, "SELECT sma(x, n) OVER (ORDER BY k, t) FROM series").await;
    assert!(
        message.contains("n of sma(x, n) must be one constant for all rows of a partition, not 1 and 2"),
        "{message}"
    );
    let message =
        refusal(&context, "SELECT sma(x, n / 3) OVER (PARTITION BY k ORDER BY t) FROM series").await;
    assert!(message.contains("sma: n of sma must be from 1"), "{message}");
}

#[tokio::test]
async fn crossings_are_true_on_the_bar_that_crosses_and_null_where_undefined() {
    let a = [Some(1.0), Some(2.0), Some(2.0), Some(3.0), Some(2.0), Some(1.0), None, Some(3.0), Some(1.0)];
    let context = series(&a);
    let (yes, no) = (Some(true), Some(false));
    for (call, expected) in [
        ("crosses_above(x, 2)", [None, no, no, yes, no, no, None, None, no]),
        ("crosses_below(x, 2)", [None, no, no, no, no, yes, None, None, yes]),
        ("crosses_above(2, x)", [None, no, no, no, no, yes, None, None, yes]),
        ("crosses_above(x, x)", [None, no, no, no, no, no, None, None, no]),
        ("crosses_above(x, NULL)", [None; 9]),
    ] {
        let sql = format!("SELECT {call} OVER (ORDER BY t) AS y FROM series ORDER BY t");
        let answer = query(&context, &sql).await;
        let crossed: &BooleanArray = answer.column(0).as_boolean();
        assert_eq!(crossed.iter().collect::<Vec<_>>(), expected, "{call}");
    }
}

#[tokio::test]
async fn a_table_without_rows_gives_none_and_the_declared_types() {
    let context = series(&[]);
    let answer = query(
        &context,
        "SELECT sma(x, 2) OVER (ORDER BY t) AS y, crosses_above(x, 2) OVER (ORDER BY t) AS z FROM series",
    )
    .await;
    assert_eq!(answer.num_rows(), 0);
    let types: Vec<_> = answer.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Float64, DataType::Boolean]);
}

#[tokio::test]
async fn a_frame_that_keeps_the_past_changes_nothing() {
    let context = series(&[Some(1.0), Some(2.0), Some(4.0), Some(8.0)]);
    for frame in [
        "ROWS UNBOUNDED PRECEDING",
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 2 FOLLOWING",
        "RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        "GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    ] {
        let sql = format!("SELECT sma(x, 2) OVER (ORDER BY t {frame}) FROM series ORDER BY t");
        let answer = query(&context, &sql).await;
        assert_eq!(floats(&answer, 0), [None, Some(1.5), Some(3.0), Some(6.0)], "{frame}");
    }
}

#[tokio::test]
async fn a_call_that_could_only_give_a_wrong_number_is_refused_with_the_way_out() {
    let context = series(&[Some(1.0), Some(2.0), Some(3.0)]);
    for (call, says) in [
        ("sma(x) OVER (ORDER BY t)", "sma(x, n) takes 2 arguments, 1 given"),
        ("sma(x, 2, 3) OVER (ORDER BY t)", "sma(x, n) takes 2 arguments, 3 given"),
        ("sma() OVER (ORDER BY t)", "sma(x, n) takes 2 arguments, 0 given"),
        ("sma('1', 2) OVER (ORDER BY t)", "x of sma(x, n) must be a number, not Utf8"),
        ("sma(x, t > 0) OVER (ORDER BY t)", "n of sma(x, n) must be a number, not Boolean"),
        ("sma(x, 0) OVER (ORDER BY t)", "sma: n of sma must be from 1"),
        ("sma(x, -3) OVER (ORDER BY t)", "sma: n of sma must be from 1"),
        ("sma(x, 1.5) OVER (ORDER BY t)", "sma: n of sma must be a whole number of bars from 1, not 1.5"),
        ("sma(x, NULL) OVER (ORDER BY t)", "n of sma(x, n) must be a number, not NULL"),
        ("sma(x, t) OVER (ORDER BY t)", "must be one constant for all rows of a partition, not 0 and 1"),
        ("sma(x, 2) OVER ()", "sma needs an order"),
        ("sma(x, 2) OVER (PARTITION BY t)", "sma needs an order"),
        ("sma(x, 2) OVER (ORDER BY t ROWS 5 PRECEDING)", "sma looks back as far as its parameters say"),
        ("sma(x, 2) OVER (ORDER BY t ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)", "cannot be cut to"),
        ("sma(x, 2) OVER (ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)", "cannot be cut to"),
        ("sma(x, 2) FILTER (WHERE t > 0) OVER (ORDER BY t)", "FILTER clause can only be used with aggregate"),
        ("sma(DISTINCT x, 2) OVER (ORDER BY t)", "sma takes no DISTINCT"),
        ("sma(x, 2) IGNORE NULLS OVER (ORDER BY t)", "sma takes no IGNORE NULLS"),
        ("crosses_above(x) OVER (ORDER BY t)", "crosses_above(a, b) takes 2 arguments, 1 given"),
        ("crosses_below(x, 2) OVER (ORDER BY t ROWS 1 PRECEDING)", "crosses_below looks back"),
    ] {
        let message = refusal(&context, &format!("SELECT {call} FROM series")).await;
        assert!(message.contains(says), "{call}: {message}");
    }
}

#[tokio::test]
async fn a_forgotten_over_is_answered_with_the_call_as_it_should_be() {
    let context = series(&[Some(1.0)]);
    let message = refusal(&context, "SELECT sma(x, 2) FROM series").await;
    let hint = missing_over_hint(&message).unwrap();
    assert!(hint.contains("sma(...) OVER (PARTITION BY symbol ORDER BY open_time)"), "{hint}");
    for (sql, why) in [
        ("SELECT smma(x, 2) OVER (ORDER BY t) FROM series", "not one of ours"),
        ("SELECT y FROM series", "not about a function"),
    ] {
        assert_eq!(missing_over_hint(&refusal(&context, sql).await), None, "{why}");
    }
}

#[test]
fn every_output_is_registered_once_and_no_name_is_one_that_sql_owns() {
    let names: Vec<String> = window_functions().iter().map(|function| function.name().to_owned()).collect();
    let distinct: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    for output in INDICATORS.iter().flat_map(|def| def.outputs) {
        assert!(distinct.contains(sql_name(output)), "{output} has no function");
    }
    // The maps' keys are names and aliases alike.
    let plain = SessionContext::new().state();
    let owned: BTreeSet<String> = plain
        .scalar_functions()
        .keys()
        .chain(plain.aggregate_functions().keys())
        .chain(plain.window_functions().keys())
        .chain(plain.higher_order_functions().keys())
        .cloned()
        .collect();
    let taken: Vec<&String> = names.iter().filter(|name| owned.contains(*name)).collect();
    assert!(taken.is_empty(), "SQL owns {taken:?}: give them another name in RENAMED");
    for renamed in RENAMED {
        assert!(owned.contains(renamed.output), "{} is free, so it needs no other name", renamed.output);
    }
}

#[tokio::test]
async fn sqls_own_stddev_is_untouched() {
    let context = series(&[Some(1.0), Some(2.0), Some(4.0)]);
    let plain =
        query(&SessionContext::new(), "SELECT stddev(x) FROM (VALUES (1.0), (2.0), (4.0)) AS s(x)").await;
    let ours = query(&context, "SELECT stddev(x) FROM series").await;
    assert_eq!(bits(&floats(&ours, 0)), bits(&floats(&plain, 0)));
    let windowed = query(&context, "SELECT stddev(x) OVER () FROM series").await;
    assert_eq!(floats(&windowed, 0), [floats(&plain, 0)[0]; 3]);
}

#[tokio::test]
async fn a_plan_carries_names_only_and_another_process_resolves_them() {
    let context = session();
    market(&context);
    let calls: Vec<String> = INDICATORS
        .iter()
        .flat_map(|def| {
            let arguments: Vec<String> = def
                .inputs
                .iter()
                .map(|input| column(input).to_owned())
                .chain(example_params(def).iter().map(f64::to_string))
                .collect();
            let arguments = arguments.join(", ");
            def.outputs.iter().map(move |output| format!("{}({arguments}) OVER w", sql_name(output)))
        })
        .collect();
    let sql = format!(
        "SELECT symbol, open_time, {}, crosses_above(close, open) OVER w FROM market \
         WINDOW w AS (PARTITION BY symbol ORDER BY open_time) ORDER BY 1, 2",
        calls.join(", ")
    );
    let here = query(&context, &sql).await;
    let plan = context.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
    let bytes = datafusion_proto::bytes::physical_plan_to_bytes(plan).unwrap();

    let elsewhere = session();
    let plan = datafusion_proto::bytes::physical_plan_from_bytes(&bytes, &elsewhere.task_ctx()).unwrap();
    let batches = datafusion::physical_plan::collect(plan, elsewhere.task_ctx()).await.unwrap();
    let there = concat_batches(&here.schema(), &batches).unwrap();
    assert_eq!(there, here);

    let without = SessionContext::new();
    let message = datafusion_proto::bytes::physical_plan_from_bytes(&bytes, &without.task_ctx()).unwrap_err();
    assert!(message.to_string().contains("window function"), "{message}");
}

#[test]
fn every_function_documents_its_call_and_each_argument() {
    for function in window_functions() {
        let documentation = function.documentation().unwrap();
        assert!(documentation.syntax_example.starts_with(&format!("{}(", function.name())));
        let arguments: Vec<&String> =
            documentation.arguments.as_ref().unwrap().iter().map(|(name, _)| name).collect();
        let named = function.signature().parameter_names.as_ref().expect("arguments can be given by name");
        assert_eq!(named.iter().collect::<Vec<_>>(), arguments);
    }
}
