//! Every command explains itself.

use crate::place::Place;

#[test]
fn the_top_level_help_is_as_written_down() {
    let help = Place::empty().run(&["--help"]).ok();
    let expected = include_str!("help.txt");
    assert_eq!(help, expected, "update cli/tests/it/help.txt if that is meant:\n{help}");
}

#[test]
fn every_command_has_help_with_a_summary_and_documented_options() {
    let place = Place::empty();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = Vec::new();
    while let Some(command) = waiting.pop() {
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let help = place.run(&args).ok();
        assert!(help.contains("Usage: polybolos"), "{command:?}\n{help}");
        assert!(
            !help.lines().next().unwrap_or_default().trim().is_empty(),
            "{command:?} says nothing about itself"
        );
        for name in subcommands(&help) {
            waiting.push(command.iter().cloned().chain([name]).collect());
        }
        seen.push(command.join(" "));
    }
    for command in [
        "backtest",
        "bot close",
        "bot status",
        "completions",
        "config check",
        "config example",
        "config schema",
        "config show",
        "data check",
        "data fetch",
        "data import",
        "data list",
        "data synth",
        "demo",
        "exchange-sim",
        "executor",
        "indicators",
        "promote",
        "replay",
        "results export",
        "results heatmap",
        "results list",
        "results show",
        "results top",
        "sql",
        "sweep",
    ] {
        assert!(seen.iter().any(|seen| seen == command), "{command} is not in the help");
    }
}

/// The names under `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    names
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_version_is_printed() {
    let version = Place::empty().run(&["--version"]).ok();
    assert_eq!(version, format!("polybolos {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_made_for_every_shell() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.run(&["completions", shell]).ok().contains("heatmap"), "{shell}");
    }
}

#[test]
fn without_a_command_the_help_is_shown_and_the_exit_code_is_usage() {
    let ran = Place::empty().run(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("Usage: polybolos"), "{}", ran.stderr);
}
