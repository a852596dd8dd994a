//! Downloads: the command's own part. What the downloader does with good and bad servers is tested in its crate.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::place::{Place, one_document};

/// A server on loopback that has nothing; its address.
fn empty_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_source_without_the_symbol_is_a_failure_that_names_it() {
    let place = Place::empty();
    let source = empty_server();
    let args = [
        "data",
        "fetch",
        "NOSUCH",
        "--interval",
        "1h",
        "--from",
        "2023-01",
        "--to",
        "2023-01",
        "--source",
        &source,
    ];
    let ran = place.run(&[&args[..], &["--json"]].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = one_document(&ran.stdout);
    assert_eq!(report["symbols"][0]["symbol"], "NOSUCH");
    assert!(ran.stderr.contains("the source has no NOSUCH 1h bars"), "{}", ran.stderr);
    assert!(!place.path("data/bars/interval=1h/symbol=NOSUCH").join("2023.parquet").exists());
}

#[test]
fn ctrl_c_during_a_download_says_how_to_go_on_and_exits_with_1() {
    let place = Place::empty();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("http://{}", listener.local_addr().unwrap());
    let args = [
        "data",
        "fetch",
        "BTCUSDT",
        "--interval",
        "1h",
        "--from",
        "2023-01",
        "--to",
        "2023-01",
        "--source",
        &source,
    ];
    let child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A server that takes the request and never answers.
    let (mut stalled, _) = listener.accept().unwrap();
    assert!(stalled.read(&mut [0; 16]).unwrap() > 0);
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("error: cancelled; what was downloaded is stored and the same command resumes"),
        "{stderr}"
    );
}
