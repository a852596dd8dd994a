//! The strategy language: documents, expressions, grids, errors, and that nothing a user types can break it.

use polybolos_engine::strategy::{Format, Overrides, Source, Strategy};

mod documents;
mod errors;
mod examples;
mod expressions;
mod fuzz;
mod grids;

/// A YAML document as it would be read from `test.yaml`.
fn yaml(text: &str) -> Source {
    Source { name: "test.yaml".to_owned(), text: text.to_owned(), format: Format::Yaml }
}

fn parse(text: &str) -> Strategy {
    parse_with(text, &Overrides::default())
}

fn parse_with(text: &str, overrides: &Overrides) -> Strategy {
    Strategy::parse(&yaml(text), overrides).unwrap_or_else(|faults| panic!("{faults}\n---\n{text}"))
}

/// The messages of a faulty document, one per fault.
fn faults(text: &str) -> Vec<String> {
    faults_with(text, &Overrides::default())
}

fn faults_with(text: &str, overrides: &Overrides) -> Vec<String> {
    match Strategy::parse(&yaml(text), overrides) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    }
}

fn set(flags: &[&str]) -> Overrides {
    Overrides { params: flags.iter().map(|&flag| flag.to_owned()).collect(), ..Overrides::default() }
}

/// The example strategies, sorted by file name.
fn example_files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir("../strategies")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}
