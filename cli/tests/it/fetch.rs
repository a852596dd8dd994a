//! Downloads: the command's own part. What the downloader does with good and bad servers is tested in its crate.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::place::{Place, one_document};

/// A server on loopback that has nothing; its address.
fn empty_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_source_without_the_symbol_is_a_failure_that_names_it() {
    let place = Place::empty();
    let source = empty_server();
    let args = ["data", "fetch", "NOSUCH", "--interval", "1h", "--from", "2023-01", "--to", "2023-01", "--source", &source];
    let ran = place.run(&[&args[..], &["--json"]].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = one_document(&ran.stdout);
    assert_eq!(report["symbols"][0]["symbol"], "NOSUCH");
    assert!(ran.stderr.contains("the source has no NOSUCH 1h bars"), "{}", ran.stderr);
    assert!(!place.path("data/bars/interval=1h/symbol=NOSUCH").join("2023.parquet").exists());
}

#[test]
fn a_source_that_cannot_be_reached_is_a_failure_that_names_it() {
    let place = Place::empty();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = format!("http://{free}");
    let args = ["data", "fetch", "BTCUSDT", "--interval", "1h", "--from", "2023-01", "--to", "2023-01", "--source", &source];
    let ran = place.run(&args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains(&source) && !ran.stderr.contains("panicked"), "{}", ran.stderr);
}
