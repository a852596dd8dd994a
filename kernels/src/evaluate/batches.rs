//! Indicators of many parameter vectors that are computed in parts by whoever reads them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{EvalError, Evaluator, Scalars, Value};
use crate::indicators::Indicator;
use crate::indicators::parts::Batch;
use crate::program::{NodeId, Op, ParamSet, Program, Shape};
use crate::simd::Isa;

/// The indicator that a node is the output of, if it can be computed in parts: over inputs of the run's bars that do not
/// depend on parameters. Whether it is depends on the numbers of these, too.
pub(crate) fn may_be_in_parts(program: &Program, node: NodeId) -> Option<(NodeId, &'static Indicator)> {
    let Op::Output(0) = program.node(node).op else { return None };
    let bundle = program.node(node).args[0];
    let Op::Indicator(def) = program.node(bundle).op else { return None };
    let inputs = program.node(bundle).args.get(..def.inputs.len())?;
    let is_fixed = |input: &NodeId| {
        let input = program.node(*input);
        input.shape == Shape::Series && input.params == ParamSet::default()
    };
    let can = def.parts.is_some() && program.node(node).frame == 0 && inputs.iter().all(is_fixed);
    can.then_some((bundle, def))
}

impl Evaluator<'_> {
    /// An indicator's output for many parameter vectors, to be computed in parts; nothing of it is kept. `None` if the node
    /// is something else, its inputs depend on parameters, or it has to be computed whole.
    pub(crate) fn batch_of(
        &mut self,
        node: NodeId,
        rows: &[&[f64]],
        isa: Isa,
        cancel: &AtomicBool,
    ) -> Result<Option<Batch>, EvalError> {
        let program = self.program;
        let Some((bundle, def)) = may_be_in_parts(program, node) else { return Ok(None) };
        let (inputs, params) = program.node(bundle).args.split_at(def.inputs.len());
        let Some(first) = rows.first() else { return Ok(None) };
        self.prepare(inputs, first, Some(cancel))?;
        let mut columns = Vec::with_capacity(inputs.len());
        for &input in inputs {
            match self.known(bundle, input)? {
                Value::Series(series) => columns.push(Arc::clone(series)),
                _ => return Ok(None),
            }
        }
        let mut scalars = Scalars::new(program, params)?;
        let mut sets = Vec::with_capacity(rows.len());
        for row in rows {
            let set: Vec<f64> = scalars.values(row)?.iter().map(|value| value.number()).collect();
            let check = def.check_params(&set);
            check.map_err(|message| EvalError::Indicator { node: bundle, message })?;
            sets.push(set);
        }
        Ok(Batch::start(def, isa, &columns, &sets))
    }
}
