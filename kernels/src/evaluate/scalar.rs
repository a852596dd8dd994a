//! Scalar nodes: parameters, constants and what is computed of them, without any bars.
//!
//! The number operations are defined here once; series apply the same functions element by element.

use super::error::EvalError;
use crate::precision::single;
use crate::program::{Node, NodeId, Op, Program, Shape};
use crate::series::finite;

/// A value that does not depend on bars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScalarValue {
    /// A number, `NaN` if undefined.
    Number(f64),
    /// A condition, `None` if undefined.
    Bool(Option<bool>),
}

impl ScalarValue {
    /// The number; a condition is not one.
    pub(crate) fn number(self) -> f64 {
        match self {
            ScalarValue::Number(value) => value,
            ScalarValue::Bool(_) => f64::NAN,
        }
    }
}

/// Evaluates a few scalar nodes for many parameter vectors: `where` conditions, stop distances, sizes.
#[derive(Debug)]
pub struct Scalars<'a> {
    program: &'a Program,
    roots: Vec<NodeId>,
    /// What the roots need, arguments before users.
    plan: Vec<NodeId>,
    values: Vec<ScalarValue>,
    out: Vec<ScalarValue>,
}

impl<'a> Scalars<'a> {
    /// Prepares the evaluation of `roots`.
    ///
    /// # Errors
    /// A root depends on bars, or the program is malformed.
    pub fn new(program: &'a Program, roots: &[NodeId]) -> Result<Scalars<'a>, EvalError> {
        let mut needed = vec![false; program.nodes.len()];
        for &root in roots {
            let node = known(program, root)?;
            if node.shape != Shape::Scalar {
                return Err(EvalError::NotScalar { node: root });
            }
            needed[root.index()] = true;
        }
        let mut plan = Vec::new();
        for index in (0..program.nodes.len()).rev() {
            if needed[index] {
                let id = node_id(index);
                plan.push(id);
                for &arg in &check_args(program, id)?.args {
                    needed[arg.index()] = true;
                }
            }
        }
        plan.reverse();
        let values = vec![ScalarValue::Number(f64::NAN); program.nodes.len()];
        Ok(Scalars { program, roots: roots.to_vec(), plan, values, out: Vec::new() })
    }

    /// The values of the roots, in their order, for one parameter vector.
    ///
    /// # Errors
    /// Not one value per parameter, or a malformed program.
    pub fn values(&mut self, params: &[f64]) -> Result<&[ScalarValue], EvalError> {
        check_param_count(self.program, params)?;
        let mut args = Vec::new();
        for &id in &self.plan {
            let node = self.program.node(id);
            args.clear();
            args.extend(node.args.iter().map(|arg| self.values[arg.index()]));
            self.values[id.index()] = apply(id, node.op, &args, params)?;
        }
        self.out.clear();
        self.out.extend(self.roots.iter().map(|root| self.values[root.index()]));
        Ok(&self.out)
    }
}

/// The value of one scalar node. For many parameter vectors use [`Scalars`].
///
/// # Errors
/// The node depends on bars, `params` has not one value per parameter, or the program is malformed.
pub fn scalar(program: &Program, node: NodeId, params: &[f64]) -> Result<ScalarValue, EvalError> {
    let mut scalars = Scalars::new(program, &[node])?;
    let values = scalars.values(params)?;
    values.first().copied().ok_or(EvalError::NotScalar { node })
}

pub(super) fn check_param_count(program: &Program, params: &[f64]) -> Result<(), EvalError> {
    if params.len() == program.params {
        Ok(())
    } else {
        Err(EvalError::ParamCount { expected: program.params, given: params.len() })
    }
}

/// Node ids are 32 bits wide by construction; a larger index saturates and is then found unknown.
pub(super) fn node_id(index: usize) -> NodeId {
    NodeId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn known(program: &Program, id: NodeId) -> Result<&Node, EvalError> {
    program.nodes.get(id.index()).ok_or(EvalError::Malformed { node: id, reason: "no such node" })
}

/// The node with this id, after checking that its arguments come before it.
pub(super) fn check_args(program: &Program, id: NodeId) -> Result<&Node, EvalError> {
    let node = known(program, id)?;
    if node.args.iter().any(|&arg| arg >= id) {
        return Err(EvalError::Malformed { node: id, reason: "an argument does not come before its user" });
    }
    Ok(node)
}

/// One scalar operation.
pub(super) fn apply(
    id: NodeId,
    op: Op,
    args: &[ScalarValue],
    params: &[f64],
) -> Result<ScalarValue, EvalError> {
    let malformed = |reason| EvalError::Malformed { node: id, reason };
    let number = |index: usize| match args.get(index) {
        Some(&ScalarValue::Number(value)) => Ok(value),
        _ => Err(malformed("a number is missing")),
    };
    let bools = || {
        args.iter().map(|arg| match arg {
            ScalarValue::Bool(value) => Ok(*value),
            ScalarValue::Number(_) => Err(malformed("a condition is missing")),
        })
    };
    Ok(match op {
        Op::Const(value) => ScalarValue::Number(finite(value)),
        Op::Param(index) => {
            let value = params.get(index as usize).ok_or(malformed("no such parameter"))?;
            ScalarValue::Number(finite(*value))
        }
        Op::Neg | Op::Abs | Op::Sqrt | Op::Ln | Op::Exp | Op::Single => {
            ScalarValue::Number(unary(op, number(0)?))
        }
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => {
            ScalarValue::Number(binary(op, number(0)?, number(1)?))
        }
        Op::Least | Op::Greatest => {
            let mut value = number(0)?;
            for index in 1..args.len() {
                value = binary(op, value, number(index)?);
            }
            ScalarValue::Number(value)
        }
        Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::Eq | Op::Ne => {
            ScalarValue::Bool(compare(op, number(0)?, number(1)?))
        }
        Op::And | Op::Or => {
            let parts = bools().collect::<Result<Option<Vec<bool>>, _>>();
            let join = |parts: Vec<bool>| {
                if op == Op::And { parts.iter().all(|&p| p) } else { parts.iter().any(|&p| p) }
            };
            match parts {
                Ok(parts) => ScalarValue::Bool(parts.map(join)),
                Err(error) => return Err(error),
            }
        }
        Op::Not => match bools().next() {
            Some(value) => ScalarValue::Bool(value?.map(|value| !value)),
            None => return Err(malformed("a condition is missing")),
        },
        Op::Case => case(args).ok_or(malformed("CASE without conditions and values"))?,
        Op::Column(_)
        | Op::Lag
        | Op::CrossesAbove
        | Op::CrossesBelow
        | Op::Indicator(_)
        | Op::Output(_)
        | Op::Lift => return Err(malformed("a series operation marked as scalar")),
    })
}

/// `None` if the arguments are not condition, value pairs and a last value.
fn case(args: &[ScalarValue]) -> Option<ScalarValue> {
    let (&otherwise, pairs) = args.split_last()?;
    for pair in pairs.chunks(2) {
        let &[ScalarValue::Bool(condition), value] = pair else { return None };
        match condition {
            Some(true) => return Some(value),
            Some(false) => {}
            None => return Some(undefined_like(otherwise)),
        }
    }
    Some(otherwise)
}

fn undefined_like(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Number(_) => ScalarValue::Number(f64::NAN),
        ScalarValue::Bool(_) => ScalarValue::Bool(None),
    }
}

/// A function of one number; any other operation gives the undefined number.
#[inline(always)]
pub(super) fn unary(op: Op, a: f64) -> f64 {
    finite(match op {
        Op::Neg => -a,
        Op::Abs => a.abs(),
        Op::Sqrt => a.sqrt(),
        Op::Ln => libm::log(a),
        Op::Exp => libm::exp(a),
        Op::Single => single(a),
        _ => f64::NAN,
    })
}

/// A function of two numbers; any other operation gives the undefined number. The first of two equal numbers is the
/// least and the greatest, so `-0` and `0` are told apart the same way on every platform.
#[inline(always)]
pub(super) fn binary(op: Op, a: f64, b: f64) -> f64 {
    let pick = |second: bool| if a.is_nan() || b.is_nan() { f64::NAN } else { [a, b][usize::from(second)] };
    finite(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Rem => a % b,
        Op::Least => pick(b < a),
        Op::Greatest => pick(b > a),
        _ => f64::NAN,
    })
}

fn compare(op: Op, a: f64, b: f64) -> Option<bool> {
    if a.is_nan() || b.is_nan() {
        return None;
    }
    match op {
        Op::Lt => Some(a < b),
        Op::Le => Some(a <= b),
        Op::Gt => Some(a > b),
        Op::Ge => Some(a >= b),
        Op::Eq => Some(a == b),
        Op::Ne => Some(a != b),
        _ => None,
    }
}
