//! When a graph's values begin to be defined.

use polybolos_kernels::evaluate::{ScalarValue, scalar};
use polybolos_kernels::program::{NodeId, Op, Program};

use crate::interval::Interval;

/// 0-based index of the first bar on which all of `nodes` are defined, for these parameter values, on bars of length
/// `base` without gaps and without undefined arithmetic; see [`super::Strategy::warmup_bars`].
pub fn warmup_bars(program: &Program, nodes: &[NodeId], params: &[f64], base: Interval) -> usize {
    let number = |id: NodeId| match scalar(program, id, params) {
        Ok(ScalarValue::Number(value)) => value,
        _ => f64::NAN,
    };
    let mut first: Vec<usize> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        let of = |id: &NodeId| first.get(id.index()).copied().unwrap_or(0);
        let arguments = node.args.iter().map(of).max().unwrap_or(0);
        first.push(match node.op {
            Op::Lag => {
                let bars = node.args.get(1).map_or(0.0, |&bars| number(bars));
                arguments.saturating_add(bars as usize)
            }
            Op::CrossesAbove | Op::CrossesBelow => arguments.saturating_add(1),
            Op::Indicator(indicator) => {
                let values: Vec<f64> =
                    node.args.iter().skip(indicator.inputs.len()).map(|&arg| number(arg)).collect();
                match indicator.check_params(&values) {
                    Ok(()) => arguments.saturating_add((indicator.first)(&values)),
                    Err(_) => usize::MAX,
                }
            }
            Op::Lift => {
                let frame = node.args.first().map_or(0, |&arg| program.node(arg).frame);
                let length = usize::from(frame).checked_sub(1).and_then(|index| program.frames_ms.get(index));
                let ratio = length.map_or(1, |&length| (length / base.ms()).max(1));
                // Longer bar `i` is known at the close of the last of its bars.
                let ratio = usize::try_from(ratio).unwrap_or(usize::MAX);
                arguments.saturating_add(1).saturating_mul(ratio) - 1
            }
            _ => arguments,
        });
    }
    nodes.iter().filter_map(|id| first.get(id.index()).copied()).max().unwrap_or(0)
}
