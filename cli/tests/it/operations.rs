//! The page for whoever runs a cluster, and the files that start one, say what the program does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::place::Place;

const PAGE: &str = include_str!("../../../docs/operations.md");
const COMPOSE: &str = include_str!("../../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../../Dockerfile");
const HEALTHCHECK: &str = include_str!("../../../deploy/docker/healthcheck");
const TOOLCHAIN: &str = include_str!("../../../rust-toolchain.toml");

/// The options that every command has.
const COMMON: [&str; 4] = ["--json", "--quiet", "--help", "--version"];

/// An option as the help describes it.
#[derive(Debug, Default)]
struct Described {
    option: String,
    variable: Option<String>,
    default: Option<String>,
}

/// The options of a command but for [`COMMON`].
fn options(command: &str) -> Vec<Described> {
    let help = Place::empty().run(&[command, "--help"]).ok();
    let mut options: Vec<Described> = Vec::new();
    for line in help.lines().skip_while(|line| *line != "Options:").map(str::trim) {
        let word = line.split(' ').find(|word| word.starts_with("--"));
        if let (true, Some(option)) = (line.starts_with('-'), word) {
            options.push(Described { option: option.to_owned(), ..Described::default() });
        }
        let Some(last) = options.last_mut() else { continue };
        if let Some(rest) = line.strip_prefix("[env: ") {
            last.variable = rest.split('=').next().map(str::to_owned);
        }
        if let Some(rest) = line.strip_prefix("[default: ") {
            last.default = rest.strip_suffix(']').map(str::to_owned);
        }
    }
    options.retain(|described| !COMMON.contains(&described.option.as_str()));
    options
}

/// The rows of the tables under a heading, as cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let below = PAGE.lines().skip_while(|line| line.strip_prefix("## ") != Some(heading)).skip(1);
    let rows = below.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_option_of_a_server_is_documented_with_its_variable_and_default() {
    for (command, heading) in
        [("scheduler", "Settings of the scheduler"), ("executor", "Settings of an executor")]
    {
        let (options, rows) = (options(command), rows(heading));
        assert!(options.len() > 10 && rows.len() > 10, "{command}: {} options", options.len());
        for Described { option, variable, default } in &options {
            let variable = variable.as_ref().unwrap_or_else(|| panic!("{command} {option} has no variable"));
            let named =
                |cell: &str| cell == format!("`{option}`") || cell.starts_with(&format!("`{option} "));
            let row = rows.iter().find(|row| named(row[0]));
            let row = row.unwrap_or_else(|| panic!("{command} {option} is not under \"{heading}\""));
            assert_eq!(row[1], format!("`{variable}`"), "{command} {option}");
            if let Some(default) = default {
                assert_eq!(row[2], default, "{command} {option}");
            }
        }
        for row in rows.iter().filter(|row| row[0].starts_with("`--")) {
            let option = row[0].trim_matches('`').split(' ').next().unwrap();
            assert!(options.iter().any(|known| known.option == option), "{command} has no {option}");
        }
    }
}

/// A server that ends with the test.
struct Server {
    child: Child,
    http: String,
}

impl Server {
    /// Starts it on free ports and waits until it says where it serves HTTP.
    fn start(place: &Place, args: &[&str]) -> Server {
        let free = ["--port", "0", "--http-port", "0", "--log-format", "json"];
        let mut command = place.command(&[args, &free].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut logs = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let http = loop {
            line.clear();
            assert!(logs.read_line(&mut line).unwrap() > 0, "{args:?} ended");
            let log: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if let Some(http) = log["http"].as_str() {
                break http.to_owned();
            }
        };
        // Whatever else is logged must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut logs, &mut std::io::sink()));
        Server { child, http }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_metric_is_documented() {
    let place = Place::empty();
    let documented: Vec<&str> = rows("Metrics").iter().map(|row| row[0].trim_matches('`')).collect();
    for args in [
        vec!["scheduler"],
        vec!["executor", "--scheduler", "127.0.0.1:1", "--work-dir", "work", "--gpu", "off"],
    ] {
        let page = Server::start(&place, &args).get("/metrics");
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(samples.len() > 10, "{args:?}\n{page}");
        for sample in samples {
            let name = sample.split([' ', '{']).next().unwrap();
            let is_documented = documented.iter().any(|known| known.split('{').next() == Some(name));
            assert!(is_documented, "{name} of {args:?} is not under \"Metrics\"");
        }
    }
}

/// Every word of a text that names a variable of ours.
fn variables(text: &str) -> Vec<&str> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("POLYBOLOS_")).collect()
}

#[test]
fn the_files_for_containers_set_variables_that_the_program_reads() {
    // The name of the image is compose's own.
    let own = ["POLYBOLOS_IMAGE"];
    let known: Vec<&str> = PAGE.lines().filter(|line| line.starts_with('|')).flat_map(variables).collect();
    for (file, text) in
        [("docker-compose.yml", COMPOSE), ("Dockerfile", DOCKERFILE), ("healthcheck", HEALTHCHECK)]
    {
        let used = variables(text);
        assert!(!used.is_empty(), "{file}");
        for variable in used.iter().filter(|variable| !own.contains(variable)) {
            // Where a cluster is says the paragraph on clients.
            let is_known = known.contains(variable) || *variable == "POLYBOLOS_CLUSTER";
            assert!(is_known, "{file} sets {variable}, which no table of settings has");
        }
    }
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_repository() {
    let quoted = |text: &'static str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("{key}")).trim_matches(['"', ' ']).to_owned()
    };
    assert_eq!(quoted(DOCKERFILE, "ARG RUST_VERSION="), quoted(TOOLCHAIN, "channel = "));
}
