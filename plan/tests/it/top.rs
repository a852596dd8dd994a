//! The best rows of a sweep are those of a sort of all its rows.

use std::cmp::Ordering;

use datafusion::arrow::array::{AsArray, RecordBatch};
use polybolos_engine::metrics::METRICS;
use polybolos_engine::sweep::{Keep, Ranking};
use polybolos_plan::catalogue::{result_file, sweep_folder};
use polybolos_plan::schema::number_at;
use polybolos_plan::top::{Best, top};

use crate::sweeps::{Bench, SYMBOLS};

/// Symbol and row number of every row that has enough trades, best first.
fn sorted(rows: &RecordBatch, metric: &str, min_trades: f64) -> Vec<(String, f64)> {
    let metric = METRICS.iter().find(|known| known.name == metric).unwrap();
    let symbols = rows.column_by_name("symbol").unwrap().as_string::<i32>();
    let mut all: Vec<(Option<f64>, String, f64)> = (0..rows.num_rows())
        .filter(|&index| number_at(rows, "trades", index).unwrap() >= min_trades)
        .map(|index| {
            let row = number_at(rows, "row", index).unwrap();
            (number_at(rows, metric.name, index), symbols.value(index).to_owned(), row)
        })
        .collect();
    all.sort_by(|a, b| {
        let later = || (&a.1, a.2).partial_cmp(&(&b.1, b.2)).unwrap_or(Ordering::Equal);
        metric.compare(a.0, b.0).then_with(later)
    });
    all.into_iter().map(|(_, symbol, row)| (symbol, row)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_rows_are_the_first_of_all_rows_sorted() {
    let bench = Bench { threads: 2, ..Bench::new() };
    let report = bench.run().await;
    let rows = bench.rows(&report);
    // Wholly different values, many equal ones, the smaller the better, and undefined ones.
    for metric in ["sharpe", "trades", "max_drawdown", "profit_factor", "max_consecutive_losses"] {
        for (count, min_trades) in [(1, 0), (7, 0), (50, 20), (10_000, 0), (5, 1_000_000)] {
            let ranking = Ranking { metric: metric.to_owned(), min_trades };
            let best = top(&bench.results(), &report.manifest, &ranking, count).unwrap();
            let found: Vec<(String, f64)> = best
                .iter()
                .flat_map(|batch| {
                    let symbols = batch.column_by_name("symbol").unwrap().as_string::<i32>();
                    (0..batch.num_rows()).map(|index| {
                        (symbols.value(index).to_owned(), number_at(batch, "row", index).unwrap())
                    })
                })
                .collect();
            let mut expected = sorted(&rows, metric, min_trades as f64);
            expected.truncate(count);
            assert_eq!(found, expected, "{count} by {metric} from {min_trades} trades");
            for batch in &best {
                assert_eq!(batch.schema().fields().len(), rows.schema().fields().len());
            }
        }
    }
    let file = result_file(&bench.results(), &report.manifest.sweep_id, SYMBOLS[1]);
    std::fs::remove_file(file.path().unwrap()).unwrap();
    let error = top(&bench.results(), &report.manifest, &Ranking::default(), 1).unwrap_err().to_string();
    assert!(error.contains(SYMBOLS[1]), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_reports_the_best_rows_of_its_files_whether_it_wrote_them_or_found_them() {
    let ranking = |metric: &str, min_trades| Ranking { metric: metric.to_owned(), min_trades };
    let kept = Keep::Top { count: 9, ranking: ranking("sharpe", 0) };
    for keep in [Keep::All, kept] {
        let mut bench = Bench { threads: 2, keep, ..Bench::new() };
        let manifest = bench.run().await.manifest;
        assert_eq!(bench.run().await.best, []);
        for best in [
            Best { ranking: ranking("trades", 0), count: 11 },
            // What depends on the trials of all units.
            Best { ranking: ranking("dsr", 0), count: 3 },
            Best { ranking: ranking("profit_factor", 5), count: 10_000 },
            Best { ranking: ranking("sharpe", 1_000_000), count: 5 },
            Best { ranking: ranking("sharpe", 0), count: 0 },
        ] {
            let found = top(&bench.results(), &manifest, &best.ranking, best.count).unwrap();
            bench.best = Some(best);
            let there = bench.run().await;
            assert!(there.was_complete);
            assert_eq!(there.best, found);
            // The files are written again, from units that are there.
            let folder = sweep_folder(&bench.results(), &manifest.sweep_id);
            std::fs::remove_dir_all(folder.path().unwrap()).unwrap();
            let written = bench.run().await;
            assert!(!written.was_complete);
            assert_eq!(written.best, found);
        }
    }
}
