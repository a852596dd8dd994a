//! Values of scalar nodes for one combination of parameters.
//!
//! Every node is evaluated once, in the graph's order: a graph with shared parts costs its size, not its expansion.
//! Booleans are numbers here: 1, 0, and `NaN` for undefined.

use polybolos_kernels::program::{Node, NodeId, Op, Program, Shape};

pub(crate) const TRUE: f64 = 1.0;
const FALSE: f64 = 0.0;

/// The value of scalar node `id`; `params` has one value per parameter. `scratch` is overwritten.
pub(crate) fn evaluate(program: &Program, id: NodeId, params: &[f64], scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    for node in program.nodes.iter().take(id.index() + 1) {
        let value = if node.shape == Shape::Scalar { operation(node, params, scratch) } else { f64::NAN };
        scratch.push(if value.is_finite() { value } else { f64::NAN });
    }
    scratch.last().copied().unwrap_or(f64::NAN)
}

fn operation(node: &Node, params: &[f64], known: &[f64]) -> f64 {
    let value = |index: usize| {
        node.args.get(index).and_then(|arg| known.get(arg.index())).copied().unwrap_or(f64::NAN)
    };
    let values = || (0..node.args.len()).map(value);
    let (a, b) = (value(0), value(1));
    let compare = |holds: bool| if a.is_nan() || b.is_nan() { f64::NAN } else { f64::from(u8::from(holds)) };
    let undefined = values().any(f64::is_nan);
    match node.op {
        Op::Const(value) => value,
        Op::Param(index) => params.get(index as usize).copied().unwrap_or(f64::NAN),
        Op::Neg => -a,
        Op::Abs => a.abs(),
        Op::Sqrt => a.sqrt(),
        Op::Ln => libm::log(a),
        Op::Exp => libm::exp(a),
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Rem => a % b,
        Op::Least | Op::Greatest | Op::And | Op::Or if undefined => f64::NAN,
        Op::Least | Op::And => values().fold(f64::INFINITY, f64::min),
        Op::Greatest | Op::Or => values().fold(f64::NEG_INFINITY, f64::max),
        Op::Not => 1.0 - a,
        Op::Lt => compare(a < b),
        Op::Le => compare(a <= b),
        Op::Gt => compare(a > b),
        Op::Ge => compare(a >= b),
        Op::Eq => compare(a == b),
        Op::Ne => compare(a != b),
        Op::Case => {
            let mut arms = 0;
            while arms + 2 < node.args.len() && value(arms) == FALSE {
                arms += 2;
            }
            let is_otherwise = arms + 1 == node.args.len();
            if is_otherwise {
                value(arms)
            } else if value(arms) == TRUE {
                value(arms + 1)
            } else {
                f64::NAN
            }
        }
        Op::Column(_)
        | Op::Lag
        | Op::CrossesAbove
        | Op::CrossesBelow
        | Op::Indicator(_)
        | Op::Output(_)
        | Op::Lift => f64::NAN,
    }
}
