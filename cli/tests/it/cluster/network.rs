//! An executor on the far side of a network that is cut and healed.

use std::process::Command;
use std::time::Duration;

use super::harness::{SOON, Setup, TestCluster, is_root};
use crate::place::binary;

/// A network namespace joined to this one by a pair of virtual interfaces; it goes when this is dropped.
struct FarSide {
    name: String,
    interface: String,
    here: String,
    there: String,
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
}

impl FarSide {
    fn new() -> Option<FarSide> {
        let number = std::process::id() % 250;
        let far = FarSide {
            name: format!("polybolos-{number}"),
            interface: format!("pb{number}"),
            here: format!("10.231.{number}.1"),
            there: format!("10.231.{number}.2"),
        };
        let FarSide { name, interface, here, there } = &far;
        let steps = [
            format!("netns add {name}"),
            format!("link add {interface} type veth peer name {interface}p netns {name}"),
            format!("addr add {here}/30 dev {interface}"),
            format!("link set {interface} up"),
            format!("-n {name} addr add {there}/30 dev {interface}p"),
            format!("-n {name} link set {interface}p up"),
            format!("-n {name} link set lo up"),
        ];
        if let Some(failed) = steps.iter().find(|step| !ip(step)) {
            eprintln!("skipped: `ip {failed}` is not possible here");
            return None;
        }
        Some(far)
    }

    fn set(&self, state: &str) {
        assert!(ip(&format!("link set {} {state}", self.interface)));
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.interface));
        ip(&format!("netns del {}", self.name));
    }
}

#[test]
#[ignore = "takes long and needs root: tests/cluster/run.sh"]
fn an_executor_cut_off_from_its_scheduler_is_replaced_and_comes_back() {
    if !is_root("a network namespace") {
        return;
    }
    let Some(far) = FarSide::new() else { return };
    let options = ["--bind", "0.0.0.0", "--insecure", "--advertise", &far.here];
    let mut cluster = TestCluster::prepared(&Setup { scheduler: &options, ..Setup::default() });
    cluster.start_scheduler();
    cluster.start_executor();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &far.name]).arg(binary());
    command.args(cluster.executor_args(&far.here, &["--bind", &far.there, "--insecure"]));
    command.current_dir(cluster.place.path(".")).env("POLYBOLOS_FAULTS", cluster.place.path("faults"));
    let cut_off = cluster.run_executor(command);
    cluster.wait_for_executors(2);
    cluster.place.write("faults/sleep-500@*@*.always", "");
    let sweep_id = cluster.submit(&["--unit-rows", "8"]);
    cluster.wait_for_units(&sweep_id, 4);
    cluster.wait("units on the far side", SOON, |cluster| (cluster.running_on(cut_off) > 0).then_some(()));
    far.set("down");
    cluster.wait("the scheduler to miss the executor", SOON, |cluster| {
        (cluster.api("/api/executors")?.as_array()?.len() == 1).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    far.set("up");
    cluster.wait_for_executors(2);
    let before = cluster.computed().values().flatten().filter(|unit| unit.executor == cut_off).count();
    let status = cluster.wait_for_end(&sweep_id, "complete");
    assert_eq!(status["units"]["failed"], 0);
    let after = cluster.computed().values().flatten().filter(|unit| unit.executor == cut_off).count();
    eprintln!("{before} units on the far side until it was back, {} afterwards", after - before);
    cluster.assert_same_rows(&sweep_id, &["--unit-rows", "8"]);
    cluster.assert_nothing_computed_twice();
    cluster.finish();
}
