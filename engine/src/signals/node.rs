//! One node's next value from its arguments' newest values and what it remembers.

use std::collections::VecDeque;
use std::sync::Arc;

use polybolos_kernels::indicators::{Indicator, MAX_PERIOD, Stream};
use polybolos_kernels::precision::Precision;
use polybolos_kernels::program::{NodeId, Op, Program, Shape};

use super::{Bar, SignalsError, Value};

/// What a node keeps from bar to bar.
pub(super) enum Memory {
    /// Nothing.
    None,
    /// The last `bars` values of a lag, oldest first.
    Lag { bars: usize, window: VecDeque<f64> },
    /// Both sides of a cross on the bar before.
    Previous([f64; 2]),
    /// A running indicator and its newest outputs.
    Indicator { stream: Stream, inputs: Vec<f64>, outputs: Vec<f64> },
}

impl Memory {
    pub(super) fn lag(bars: usize) -> Memory {
        Memory::Lag { bars, window: VecDeque::new() }
    }

    pub(super) fn indicator(def: &'static Indicator, params: &[f64]) -> Memory {
        Memory::Indicator {
            stream: def.start(params),
            inputs: vec![f64::NAN; def.inputs.len()],
            outputs: vec![f64::NAN; def.outputs.len()],
        }
    }
}

/// The newest values of a program's nodes in one precision.
pub(super) struct Graph {
    program: Arc<Program>,
    params: Vec<f64>,
    precision: Precision,
    values: Vec<Value>,
    memory: Vec<Memory>,
}

impl Graph {
    /// A graph whose nodes have not been started.
    pub(super) fn new(program: Arc<Program>, params: &[f64], precision: Precision) -> Graph {
        Graph {
            params: params.to_vec(),
            precision,
            values: program.nodes.iter().map(|node| Value::undefined(node.ty)).collect(),
            memory: program.nodes.iter().map(|_| Memory::None).collect(),
            program,
        }
    }

    /// Evaluates a scalar node, and prepares what a series node has to remember between bars. Its arguments have been
    /// started; `wide` is the `f64` graph, if this is another one.
    pub(super) fn start(&mut self, index: usize, wide: Option<&Graph>) -> Result<(), SignalsError> {
        let program = Arc::clone(&self.program);
        let node = &program.nodes[index];
        if node.shape == Shape::Scalar {
            self.step(index, None, wide);
            return Ok(());
        }
        // What an indicator and a lag are told stays wide.
        let wide = wide.unwrap_or(self);
        self.memory[index] = match node.op {
            Op::Lag => {
                let bars = wide.number(node.args.get(1).copied());
                if bars.fract() == 0.0 && bars >= 0.0 && bars <= f64::from(MAX_PERIOD) {
                    Memory::lag(bars as usize)
                } else {
                    return Err(SignalsError::Lag(bars));
                }
            }
            Op::CrossesAbove | Op::CrossesBelow => Memory::Previous([f64::NAN; 2]),
            Op::Indicator(def) if self.precision == Precision::F64 => {
                let params: Vec<f64> =
                    node.args.iter().skip(def.inputs.len()).map(|&arg| wide.number(Some(arg))).collect();
                def.check_params(&params).map_err(SignalsError::Indicator)?;
                Memory::indicator(def, &params)
            }
            _ => Memory::None,
        };
        Ok(())
    }

    /// Moves node `index` on to its next value; `bar` is the closed bar of its frame, `None` for a scalar.
    pub(super) fn step(&mut self, index: usize, bar: Option<&Bar>, wide: Option<&Graph>) {
        self.values[index] = self.evaluate(index, bar, wide);
    }

    /// The newest value of a node.
    pub(super) fn value(&self, id: NodeId) -> Value {
        self.values.get(id.index()).copied().unwrap_or(Value::Number(f64::NAN))
    }

    fn number(&self, id: Option<NodeId>) -> f64 {
        match id.map(|id| self.value(id)) {
            Some(Value::Number(value)) => value,
            _ => f64::NAN,
        }
    }

    fn evaluate(&mut self, index: usize, bar: Option<&Bar>, wide: Option<&Graph>) -> Value {
        match self.program.nodes[index].op {
            Op::Lt => self.compare(index, |a, b| a < b),
            Op::Le => self.compare(index, |a, b| a <= b),
            Op::Gt => self.compare(index, |a, b| a > b),
            Op::Ge => self.compare(index, |a, b| a >= b),
            Op::Eq => self.compare(index, |a, b| a == b),
            Op::Ne => self.compare(index, |a, b| a != b),
            Op::And => self.connect(index, |all| all.iter().all(|&c| c)),
            Op::Or => self.connect(index, |all| all.iter().any(|&c| c)),
            Op::Not => self.connect(index, |all| all.iter().all(|&c| !c)),
            Op::CrossesAbove => self.cross(index, |a, b, was_a, was_b| a > b && was_a <= was_b),
            Op::CrossesBelow => self.cross(index, |a, b, was_a, was_b| a < b && was_a >= was_b),
            Op::Case => self.case(index),
            Op::Lift => self.argument(index, 0).map_or(Value::Number(f64::NAN), |id| self.value(id)),
            Op::Indicator(_) => {
                self.run_indicator(index);
                Value::Number(f64::NAN)
            }
            Op::Lag => Value::Number(self.lag(index)),
            Op::Output(output) => match wide {
                None => Value::Number(self.output(index, output)),
                Some(wide) => finite(f64::from(wide.output(index, output) as f32)),
            },
            op => match self.precision {
                Precision::F64 => finite(self.arithmetic(op, index, bar)),
                Precision::F32 => finite(f64::from(self.single_arithmetic(op, index, bar))),
            },
        }
    }

    /// Operations on numbers; the caller turns what is not finite into undefined.
    fn arithmetic(&self, op: Op, index: usize, bar: Option<&Bar>) -> f64 {
        let a = self.number(self.argument(index, 0));
        let b = self.number(self.argument(index, 1));
        match op {
            Op::Const(value) => value,
            Op::Param(param) => self.params.get(param as usize).copied().unwrap_or(f64::NAN),
            Op::Column(column) => bar.map_or(f64::NAN, |bar| bar.column(column)),
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
            Op::Least => self.extreme(index, |next, best| next < best),
            Op::Greatest => self.extreme(index, |next, best| next > best),
            Op::Single => f64::from(a as f32),
            _ => f64::NAN,
        }
    }

    /// The same on `f32`. The values of arguments are `f32` already, so that taking them back out loses nothing.
    fn single_arithmetic(&self, op: Op, index: usize, bar: Option<&Bar>) -> f32 {
        let a = self.number(self.argument(index, 0)) as f32;
        let b = self.number(self.argument(index, 1)) as f32;
        match op {
            Op::Sqrt => a.sqrt(),
            Op::Add => a + b,
            Op::Sub => a - b,
            Op::Mul => a * b,
            Op::Div => a / b,
            Op::Rem => a % b,
            _ => self.arithmetic(op, index, bar) as f32,
        }
    }

    fn argument(&self, index: usize, position: usize) -> Option<NodeId> {
        self.program.nodes[index].args.get(position).copied()
    }

    fn condition(&self, id: NodeId) -> Option<bool> {
        match self.value(id) {
            Value::Condition(condition) => condition,
            Value::Number(_) => None,
        }
    }

    fn extreme(&self, index: usize, better: fn(f64, f64) -> bool) -> f64 {
        let mut numbers = self.program.nodes[index].args.iter().map(|&id| self.number(Some(id)));
        let first = numbers.next().unwrap_or(f64::NAN);
        numbers.fold(first, |best, next| {
            if best.is_nan() || next.is_nan() {
                f64::NAN
            } else if better(next, best) {
                next
            } else {
                best
            }
        })
    }

    fn compare(&self, index: usize, holds: fn(f64, f64) -> bool) -> Value {
        let a = self.number(self.argument(index, 0));
        let b = self.number(self.argument(index, 1));
        Value::Condition((!a.is_nan() && !b.is_nan()).then(|| holds(a, b)))
    }

    /// A connective over conditions that must all be defined.
    fn connect(&self, index: usize, holds: fn(&[bool]) -> bool) -> Value {
        let conditions: Option<Vec<bool>> =
            self.program.nodes[index].args.iter().map(|&id| self.condition(id)).collect();
        Value::Condition(conditions.map(|all| holds(&all)))
    }

    fn cross(&mut self, index: usize, holds: fn(f64, f64, f64, f64) -> bool) -> Value {
        let now = [self.number(self.argument(index, 0)), self.number(self.argument(index, 1))];
        let Memory::Previous(previous) = &mut self.memory[index] else {
            return Value::Condition(None);
        };
        let was = std::mem::replace(previous, now);
        let defined = now.iter().chain(&was).all(|value| !value.is_nan());
        Value::Condition(defined.then(|| holds(now[0], now[1], was[0], was[1])))
    }

    fn case(&self, index: usize) -> Value {
        let node = &self.program.nodes[index];
        let undefined = Value::undefined(node.ty);
        let (arms, otherwise) = node.args.as_chunks::<2>();
        for &[condition, value] in arms {
            match self.condition(condition) {
                Some(true) => return self.value(value),
                Some(false) => {}
                None => return undefined,
            }
        }
        otherwise.first().map_or(undefined, |&id| self.value(id))
    }

    fn lag(&mut self, index: usize) -> f64 {
        let now = self.number(self.argument(index, 0));
        let Memory::Lag { bars, window } = &mut self.memory[index] else {
            return f64::NAN;
        };
        window.push_back(now);
        if window.len() > *bars { window.pop_front().unwrap_or(f64::NAN) } else { f64::NAN }
    }

    fn run_indicator(&mut self, index: usize) {
        let (values, node) = (&self.values, &self.program.nodes[index]);
        let Memory::Indicator { stream, inputs, outputs } = &mut self.memory[index] else {
            return;
        };
        for (input, arg) in inputs.iter_mut().zip(&node.args) {
            *input = match values.get(arg.index()) {
                Some(&Value::Number(value)) => value,
                _ => f64::NAN,
            };
        }
        stream.push(inputs, outputs);
    }

    fn output(&self, index: usize, output: u8) -> f64 {
        let bundle = self.argument(index, 0).and_then(|id| self.memory.get(id.index()));
        match bundle {
            Some(Memory::Indicator { outputs, .. }) => {
                outputs.get(usize::from(output)).copied().unwrap_or(f64::NAN)
            }
            _ => f64::NAN,
        }
    }
}

/// A number as nodes have it: undefined if it is not finite.
fn finite(number: f64) -> Value {
    Value::Number(if number.is_finite() { number } else { f64::NAN })
}
