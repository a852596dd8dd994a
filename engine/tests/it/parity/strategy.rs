//! Random programs: every operation and every indicator, shared subexpressions, higher timeframes, rules of every kind,
//! and the parameter vectors to run them with.

use polybolos_engine::interval::Interval;
use polybolos_engine::kernels::bars::Column;
use polybolos_engine::kernels::indicators::{INDICATORS, ParamKind, by_output};
use polybolos_engine::kernels::program::{NodeId, Op, Program, ProgramBuilder, Rules, Shape, Size};

use super::tape::Tape;

/// What a parameter is used for, so what values make sense for it; one value in sixty makes none.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Domain {
    Period,
    Lag,
    Real,
    Fraction,
    Profit,
    Bars,
    Cooldown,
    Equity,
    Quote,
    Risk,
}

impl Domain {
    fn value(self, tape: &mut Tape) -> f64 {
        let is_nonsense = tape.once_in(64);
        let values: &[f64] = match self {
            _ if is_nonsense => &[-1.0, 0.5, f64::NAN, 1.5],
            Domain::Period => &[3.0, 2.0, 4.0, 5.0, 7.0, 14.0, 200.0],
            Domain::Lag => &[1.0, 0.0, 2.0, 3.0, 9.0],
            Domain::Real => &[0.5, 1.0, 2.0, -1.0, 0.01, 12.0],
            Domain::Fraction => &[0.05, 0.01, 0.02, 0.1, 0.25, 0.25, 0.125, 0.5],
            Domain::Profit => &[0.05, 0.01, 0.03, 0.1, 0.25, 0.25, 0.5, 1.5],
            Domain::Bars => &[3.0, 1.0, 2.0, 5.0, 20.0],
            Domain::Cooldown => &[1.0, 0.0, 2.0, 3.0, 8.0],
            Domain::Equity => &[1.0, 0.5, 0.9, 0.1],
            Domain::Quote => &[300.0, 1e-3, 5e4],
            Domain::Risk => &[0.01, 0.02, 0.5],
        };
        tape.pick(values)
    }
}

/// Parameters that a builder is prepared for; those that nothing asks for stay unused.
const PARAMS: usize = 12;

pub(super) struct Maker<'t, 'a> {
    tape: &'t mut Tape<'a>,
    builder: ProgramBuilder,
    interval_ms: i64,
    domains: Vec<Domain>,
    /// Series made so far, for sharing: node and frame.
    numbers: Vec<(NodeId, u16)>,
}

/// A program and one parameter vector per combination.
pub(super) struct Strategy {
    pub(super) program: Program,
    pub(super) combinations: Vec<Vec<f64>>,
}

impl<'t, 'a> Maker<'t, 'a> {
    pub(super) fn new(tape: &'t mut Tape<'a>, interval_ms: i64) -> Maker<'t, 'a> {
        Maker {
            tape,
            builder: ProgramBuilder::new(PARAMS),
            interval_ms,
            domains: Vec::new(),
            numbers: Vec::new(),
        }
    }

    pub(super) fn strategy(mut self) -> Strategy {
        let (goes_long, goes_short) =
            self.tape.pick(&[(true, false), (true, true), (false, true), (true, true)]);
        let depth = self.tape.choose(3);
        let mut signal = |is_wanted: bool| is_wanted.then(|| self.condition(0, depth));
        let long_enter = signal(goes_long);
        let short_enter = signal(goes_short);
        let has_exit = self.tape.choose(4) != 0;
        let mut signal = |is_wanted: bool| is_wanted.then(|| self.condition(0, depth));
        let (long_exit, short_exit) = (signal(has_exit && goes_long), signal(has_exit && goes_short));
        let stop_loss = self.rule(Domain::Fraction, 2);
        let size = match self.tape.choose(5) {
            3 => Size::Quote(self.scalar(Domain::Quote)),
            4 if stop_loss.is_some() => Size::Risk(self.scalar(Domain::Risk)),
            _ => Size::Equity(self.scalar(Domain::Equity)),
        };
        let rules = Rules {
            long_enter,
            long_exit,
            short_enter,
            short_exit,
            stop_loss,
            take_profit: self.rule(Domain::Profit, 2),
            trailing_stop: self.rule(Domain::Fraction, 4),
            max_bars: self.rule(Domain::Bars, 4),
            cooldown: self.rule(Domain::Cooldown, 3),
            size,
        };
        let count = 1 + self.tape.choose(4);
        let mut domains = self.domains.clone();
        domains.resize(PARAMS, Domain::Real);
        let vector = |tape: &mut Tape| domains.iter().map(|domain| domain.value(tape)).collect();
        let combinations = (0..count).map(|_| vector(self.tape)).collect();
        Strategy { program: self.builder.finish(rules), combinations }
    }

    fn push(&mut self, op: Op, args: &[NodeId], frame: u16) -> NodeId {
        self.builder.push(op, args, frame).unwrap()
    }

    fn rule(&mut self, domain: Domain, once_in: usize) -> Option<NodeId> {
        (self.tape.choose(once_in) == once_in - 1).then(|| self.scalar(domain))
    }

    /// A parameter (shared with an earlier use of the same kind or new), a constant, or arithmetic that changes neither.
    fn scalar(&mut self, domain: Domain) -> NodeId {
        let node = match self.tape.choose(3) {
            0 => {
                let value = domain.value(self.tape);
                return self.push(Op::Const(value), &[], 0);
            }
            1 if self.domains.contains(&domain) => {
                self.domains.iter().position(|known| *known == domain).unwrap()
            }
            _ if self.domains.len() < PARAMS => {
                self.domains.push(domain);
                self.domains.len() - 1
            }
            _ => {
                let value = domain.value(self.tape);
                return self.push(Op::Const(value), &[], 0);
            }
        };
        let param = self.push(Op::Param(node as u32), &[], 0);
        if self.tape.once_in(4) {
            let one = self.push(Op::Const(1.0), &[], 0);
            return self.push(Op::Mul, &[param, one], 0);
        }
        param
    }

    /// A higher timeframe of the bars, if there is one.
    fn higher_frame(&mut self) -> Option<u16> {
        let base = self.interval_ms;
        let higher: Vec<i64> = Interval::all()
            .map(Interval::ms)
            .filter(|&ms| ms > base && ms <= base * 24 && ms % base == 0)
            .collect();
        if higher.is_empty() {
            return None;
        }
        let ms = self.tape.pick(&higher);
        Some(self.builder.frame(ms).unwrap())
    }

    /// A number per bar of `frame`.
    fn number(&mut self, frame: u16, depth: usize) -> NodeId {
        let known: Vec<NodeId> =
            self.numbers.iter().filter(|(_, of)| *of == frame).map(|(node, _)| *node).collect();
        if !known.is_empty() && self.tape.once_in(6) {
            return self.tape.pick(&known);
        }
        let node = if depth == 0 { self.leaf(frame) } else { self.inner_number(frame, depth - 1) };
        self.numbers.push((node, frame));
        node
    }

    fn leaf(&mut self, frame: u16) -> NodeId {
        let column = match self.tape.choose(4) {
            0 | 1 => Column::Close,
            _ => self.tape.pick(&Column::ALL),
        };
        self.push(Op::Column(column), &[], frame)
    }

    /// A series, or once in a while a scalar where a series could stand.
    fn operand(&mut self, frame: u16, depth: usize) -> NodeId {
        if self.tape.once_in(5) { self.scalar(Domain::Real) } else { self.number(frame, depth) }
    }

    fn inner_number(&mut self, frame: u16, depth: usize) -> NodeId {
        match self.tape.choose(12) {
            0..=3 => self.indicator(frame, depth),
            4 | 5 => {
                let op = self.tape.pick(&[Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Rem]);
                let args = [self.number(frame, depth), self.operand(frame, depth)];
                let args = if self.tape.once_in(2) { [args[1], args[0]] } else { args };
                self.push(op, &args, frame)
            }
            6 => {
                let op = self.tape.pick(&[Op::Ln, Op::Sqrt, Op::Abs, Op::Neg, Op::Exp]);
                let arg = self.number(frame, depth);
                self.push(op, &[arg], frame)
            }
            7 => {
                let args = [self.operand(frame, depth), self.scalar(Domain::Lag)];
                self.push(Op::Lag, &args, frame)
            }
            8 => {
                let op = self.tape.pick(&[Op::Least, Op::Greatest]);
                let mut args = vec![self.number(frame, depth), self.operand(frame, depth)];
                if self.tape.once_in(2) {
                    args.push(self.operand(frame, depth));
                }
                self.push(op, &args, frame)
            }
            9 => {
                let mut args = Vec::new();
                for _ in 0..=self.tape.choose(2) {
                    args.push(self.condition(frame, depth));
                    args.push(self.operand(frame, depth));
                }
                args.push(self.number(frame, depth));
                self.push(Op::Case, &args, frame)
            }
            _ if frame == 0 => match self.higher_frame() {
                Some(higher) => {
                    let series = self.number(higher, depth);
                    self.push(Op::Lift, &[series], higher)
                }
                None => self.indicator(frame, depth),
            },
            _ => self.indicator(frame, depth),
        }
    }

    fn indicator(&mut self, frame: u16, depth: usize) -> NodeId {
        let def = &INDICATORS[self.tape.choose(INDICATORS.len())];
        let mut args = Vec::new();
        for input in def.inputs {
            args.push(match Column::from_name(input) {
                Some(column) => self.push(Op::Column(column), &[], frame),
                None => self.number(frame, depth),
            });
        }
        for param in def.params {
            args.push(match param.kind {
                ParamKind::Period { .. } => self.scalar(Domain::Period),
                ParamKind::Real => self.scalar(Domain::Real),
            });
        }
        let bundle = self.push(Op::Indicator(def), &args, frame);
        let output = self.tape.choose(def.outputs.len()) as u8;
        self.push(Op::Output(output), &[bundle], frame)
    }

    /// A condition per bar of `frame`.
    fn condition(&mut self, frame: u16, depth: usize) -> NodeId {
        if depth == 0 || self.tape.choose(3) == 0 {
            return self.comparison(frame, depth.max(1));
        }
        let depth = depth - 1;
        match self.tape.choose(6) {
            0 | 1 => {
                let op = self.tape.pick(&[Op::And, Op::Or]);
                let mut args = vec![self.condition(frame, depth), self.condition(frame, depth)];
                if self.tape.once_in(3) {
                    args.push(self.condition(frame, depth));
                }
                self.push(op, &args, frame)
            }
            2 => {
                let arg = self.condition(frame, depth);
                self.push(Op::Not, &[arg], frame)
            }
            3 => {
                let args: Vec<NodeId> = (0..3).map(|_| self.condition(frame, depth)).collect();
                self.push(Op::Case, &args, frame)
            }
            4 if frame == 0 => match self.higher_frame() {
                Some(higher) => {
                    let condition = self.condition(higher, depth);
                    match self.builder.node(condition).shape {
                        Shape::Scalar => condition,
                        _ => self.push(Op::Lift, &[condition], higher),
                    }
                }
                None => self.comparison(frame, depth),
            },
            _ => self.comparison(frame, depth),
        }
    }

    fn comparison(&mut self, frame: u16, depth: usize) -> NodeId {
        let op = self.tape.pick(&[
            Op::Gt,
            Op::Lt,
            Op::CrossesAbove,
            Op::CrossesBelow,
            Op::Ge,
            Op::Le,
            Op::Ne,
            Op::Eq,
        ]);
        // A price against its own history is undecided in advance; anything against anything rarely is.
        let args = match self.tape.choose(3) {
            0 | 1 => {
                let price = self.push(Op::Column(Column::Close), &[], frame);
                let other = match self.tape.choose(3) {
                    0 => {
                        let lag = self.scalar(Domain::Lag);
                        self.push(Op::Lag, &[price, lag], frame)
                    }
                    1 => {
                        let (sma, _) = by_output("sma").unwrap();
                        let period = self.scalar(Domain::Period);
                        let bundle = self.push(Op::Indicator(sma), &[price, period], frame);
                        self.push(Op::Output(0), &[bundle], frame)
                    }
                    _ => self.number(frame, depth),
                };
                [price, other]
            }
            _ => [self.number(frame, depth), self.operand(frame, depth)],
        };
        self.push(op, &args, frame)
    }
}
