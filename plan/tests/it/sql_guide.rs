//! docs/sql.md against the program: every function is listed as it is called, every example over `bars` runs.

use polybolos_plan::bars_table::{BARS_TABLE, bars_table};
use polybolos_plan::functions::window_functions;
use polybolos_plan::sql_text::interval_as_column;

use crate::functions::session;
use crate::synthetic::{START_MS, bars, write_bars};

fn guide() -> String {
    std::fs::read_to_string("../docs/sql.md").unwrap()
}

/// The statements in the guide's ```sql blocks.
fn examples(guide: &str) -> Vec<String> {
    let mut examples = Vec::new();
    let mut inside: Option<String> = None;
    for line in guide.lines() {
        match (&mut inside, line) {
            (None, "```sql") => inside = Some(String::new()),
            (Some(_), "```") => {
                let block = inside.take().unwrap();
                examples.extend(block.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned));
            }
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    examples
}

#[test]
fn every_function_is_in_the_guide_as_it_is_called_and_with_its_meaning() {
    let guide = guide();
    for function in window_functions() {
        let documentation = function.documentation().unwrap();
        let row = format!("| `{}` | {} |", documentation.syntax_example, documentation.description);
        assert!(guide.contains(&row), "docs/sql.md lacks the line\n{row}");
    }
    let listed = guide.lines().filter(|line| line.starts_with("| `") && line.contains(")` |")).count();
    assert_eq!(listed, window_functions().len(), "docs/sql.md lists a function that is not there");
}

#[tokio::test]
async fn every_example_over_bars_runs_and_gives_rows() {
    let dataset = tempfile::tempdir().unwrap();
    for (seed, symbol) in ["BTCUSDT", "ETHUSDT", "SOLUSDT"].iter().enumerate() {
        write_bars(dataset.path(), "1h", symbol, 2024, &bars(seed as u64, START_MS, 2_000));
        write_bars(dataset.path(), "4h", symbol, 2024, &bars(seed as u64, START_MS, 500));
    }
    let context = session();
    let table = bars_table(&context.state(), dataset.path().to_str().unwrap()).await.unwrap();
    context.register_table(BARS_TABLE, table).unwrap();
    let mut ran = 0;
    for sql in examples(&guide()) {
        // Examples over the tables of results are run by the tests of those tables.
        if !sql.contains("FROM bars") || sql.contains("FROM results") {
            continue;
        }
        let answer = async { context.sql(&interval_as_column(&sql)).await?.collect().await }.await;
        let rows: usize = answer
            .unwrap_or_else(|error| panic!("{sql}\n{error}"))
            .iter()
            .map(|batch| batch.num_rows())
            .sum();
        assert!(rows > 0, "no rows from\n{sql}");
        ran += 1;
    }
    assert!(ran >= 8, "only {ran} examples found in docs/sql.md");
}
