//! GPUs: what is found is said, and what is missing is an error only where it was asked for.

use crate::place::Place;

fn found(place: &Place) -> serde_json::Value {
    let ran = place.run(&["devices", "--no-test", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_processor_and_every_gpu_are_listed() {
    let place = Place::with_market(60);
    let devices = found(&place);
    assert!(devices["cpu"]["threads"].as_u64().is_some_and(|threads| threads > 0));
    let gpus = devices["gpus"].as_array().unwrap();
    assert_eq!(gpus.is_empty(), devices["no_gpu"].is_string());
    let text = place.run(&["devices", "--no-test"]).stdout;
    assert!(text.starts_with("cpu: "), "{text}");
    assert_eq!(text.contains("no GPU: "), gpus.is_empty(), "{text}");
}

#[test]
fn a_gpu_that_is_asked_for_must_be_there() {
    let place = Place::with_market(60);
    if !found(&place)["gpus"].as_array().unwrap().is_empty() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let sweep = ["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--json"];
    let asked = place.run(&[&sweep[..], &["--backend", "cuda"]].concat());
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(1), ""), "{asked:?}");
    assert!(asked.stderr.contains("--backend cpu or auto"), "{asked:?}");
    let auto = place.run(&[&sweep[..], &["--backend", "auto"]].concat());
    assert_eq!(auto.code, Some(0), "{auto:?}");
    let document: serde_json::Value = serde_json::from_str(&auto.stdout).unwrap();
    assert_eq!(document["backend"], "cpu");
}
