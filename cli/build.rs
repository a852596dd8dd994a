//! Links the program at a fixed address where it is known to work.
//!
//! A position-independent program of this size (DataFusion's vtables) has 300,000 addresses to be filled in at every start, on 1,350
//! pages that are copied for it: two thirds of the time of `--version`. Its libraries, stack and heap still lie at random places.
//! Without this file it is position-independent again.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
