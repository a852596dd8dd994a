//! From `sqlparser`'s tree to nodes, with types, arities and shapes checked at the operand that is wrong.

use polybolos_kernels::bars::Column;
use polybolos_kernels::program::{NodeId, Op, ParamSet, Shape, Type};
use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, Spanned as _, UnaryOperator, Value};
use sqlparser::tokenizer::Location;

use super::{Compiler, Excerpt};
use crate::diagnostic::{Diagnostic, Place, did_you_mean};
use crate::strategy::decimal::{parse_number, show};
use crate::strategy::document::shorten;
use crate::strategy::functions;

mod call;

/// Deepest recursion; the parser's own limit is lower for everything but chains of BETWEEN.
const MAX_DEPTH: usize = 100;

/// A node and the text it was understood as.
#[derive(Debug, Clone)]
pub(super) struct Lowered {
    pub(super) node: NodeId,
    pub(super) text: String,
}

/// Lowers a whole expression.
pub(super) fn lower(
    compiler: &mut Compiler<'_>,
    excerpt: &Excerpt<'_>,
    expr: &Expr,
) -> Result<Lowered, Diagnostic> {
    Lowering { compiler, excerpt, frame: 0, depth: 0 }.expression(expr)
}

struct Lowering<'c, 'a, 'e> {
    compiler: &'c mut Compiler<'a>,
    excerpt: &'e Excerpt<'e>,
    /// The timeframe we are in.
    frame: u16,
    depth: usize,
}

impl Lowering<'_, '_, '_> {
    fn expression(&mut self, expr: &Expr) -> Result<Lowered, Diagnostic> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(expr, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let lowered = match expr {
            Expr::Nested(inner) => self.expression(inner),
            Expr::Identifier(name) => self.name(expr, &name.value),
            Expr::Value(value) => self.literal(expr, &value.value),
            Expr::UnaryOp { op, expr: operand } => self.unary(expr, *op, operand),
            Expr::BinaryOp { .. } => self.chain(expr),
            Expr::Between { expr: operand, negated, low, high } => {
                self.between(expr, operand, *negated, [low.as_ref(), high.as_ref()])
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(expr, operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Function(function) => self.call(expr, function),
            other => Err(self.unsupported(other)),
        };
        self.depth -= 1;
        lowered
    }

    fn name(&mut self, expr: &Expr, name: &str) -> Result<Lowered, Diagnostic> {
        if let Some(column) = Column::from_name(name) {
            return self.push(expr, Op::Column(column), &[], name.to_owned());
        }
        if let Some(index) = self.compiler.params.iter().position(|&param| param == name) {
            self.compiler.used = self.compiler.used.union(ParamSet(1 << index));
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            return self.push(expr, Op::Param(index), &[], name.to_owned());
        }
        let fault = self.fault(expr, format!("unknown name `{}`", shorten(name)));
        if let Some(function) = functions::find(&name.to_ascii_lowercase()) {
            return Err(fault.hint(format!(
                "`{}` is a function: write {}",
                function.name,
                function.signature()
            )));
        }
        let names =
            Column::ALL.iter().map(|column| column.name()).chain(self.compiler.params.iter().copied());
        let hint = did_you_mean(name, names).unwrap_or_else(|| {
            "names are columns of the bars (open, high, low, close, volume, ...) and parameters declared in `params`"
                .to_owned()
        });
        Err(fault.hint(hint))
    }

    fn literal(&mut self, expr: &Expr, value: &Value) -> Result<Lowered, Diagnostic> {
        match value {
            Value::Number(digits, false) => {
                let number = parse_number(digits)
                    .map_err(|reason| self.fault(expr, format!("`{}` {reason}", shorten(digits))))?;
                self.number(expr, number)
            }
            Value::Boolean(value) => {
                // The graph has no boolean constants; a comparison of constants is one.
                let one = self.push(expr, Op::Const(1.0), &[], String::new())?.node;
                let op = if *value { Op::Eq } else { Op::Ne };
                self.push(expr, op, &[one, one], if *value { "TRUE" } else { "FALSE" }.to_owned())
            }
            Value::Null => Err(self
                .fault(expr, "NULL has no type here")
                .hint("NULL (undefined) can stand after THEN and ELSE of a CASE only")),
            Value::SingleQuotedString(_) => Err(self
                .fault(expr, "a text in quotes is not a number or a condition")
                .hint("write names without quotes; only tf('4h', x) takes a text")),
            other => Err(self.fault(expr, format!("`{}` is not a number", shorten(&other.to_string())))),
        }
    }

    fn number(&mut self, expr: &Expr, value: f64) -> Result<Lowered, Diagnostic> {
        self.push(expr, Op::Const(value), &[], show(value))
    }

    fn unary(&mut self, expr: &Expr, op: UnaryOperator, operand: &Expr) -> Result<Lowered, Diagnostic> {
        match op {
            UnaryOperator::Plus => self.numeric(operand, "`+`"),
            UnaryOperator::Minus => {
                let value = self.numeric(operand, "`-`")?;
                if let Op::Const(number) = self.compiler.builder.node(value.node).op {
                    return self.number(expr, 0.0 - number);
                }
                self.push(expr, Op::Neg, &[value.node], format!("(-{})", value.text))
            }
            UnaryOperator::Not => {
                let value = self.boolean(operand, "NOT")?;
                self.push(expr, Op::Not, &[value.node], format!("(NOT {})", value.text))
            }
            other => Err(self
                .fault(expr, format!("`{other}` is not part of the expression language"))
                .hint("the signs before a value are + and -, and NOT before a condition")),
        }
    }

    /// Operators of one level lean left: `a + b + c` is a chain that is walked, not recursed into.
    fn chain(&mut self, expr: &Expr) -> Result<Lowered, Diagnostic> {
        let mut links: Vec<(&BinaryOperator, &Expr)> = Vec::new();
        let mut first = expr;
        while let Expr::BinaryOp { left, op, right } = first {
            links.push((op, right));
            first = left;
        }
        links.reverse();
        let Some(&(leading, _)) = links.first() else { return Err(self.unsupported(expr)) };
        let (op, word) = self.operator(expr, leading)?;
        let mut left = self.operand(first, op, word)?;
        let mut rest = links.as_slice();
        while let Some(&(operator, _)) = rest.first() {
            let (op, word) = self.operator(first, operator)?;
            self.expect_operand(first, &left, op, word)?;
            // AND and OR take any number of operands, so equal links become one node.
            let run = match op {
                Op::And | Op::Or => rest.iter().take_while(|(next, _)| *next == operator).count(),
                _ => 1,
            };
            let (now, later) = rest.split_at(run);
            let (mut nodes, mut text) = (vec![left.node], format!("({}", left.text));
            for (_, right) in now {
                let right = self.operand(right, op, word)?;
                nodes.push(right.node);
                text.push_str(&format!(" {word} {}", right.text));
            }
            text.push(')');
            left = self.push(first, op, &nodes, text)?;
            rest = later;
        }
        Ok(left)
    }

    fn operator(&self, expr: &Expr, operator: &BinaryOperator) -> Result<(Op, &'static str), Diagnostic> {
        Ok(match operator {
            BinaryOperator::Plus => (Op::Add, "+"),
            BinaryOperator::Minus => (Op::Sub, "-"),
            BinaryOperator::Multiply => (Op::Mul, "*"),
            BinaryOperator::Divide => (Op::Div, "/"),
            BinaryOperator::Modulo => (Op::Rem, "%"),
            BinaryOperator::Lt => (Op::Lt, "<"),
            BinaryOperator::LtEq => (Op::Le, "<="),
            BinaryOperator::Gt => (Op::Gt, ">"),
            BinaryOperator::GtEq => (Op::Ge, ">="),
            BinaryOperator::Eq => (Op::Eq, "="),
            BinaryOperator::NotEq => (Op::Ne, "<>"),
            BinaryOperator::And => (Op::And, "AND"),
            BinaryOperator::Or => (Op::Or, "OR"),
            other => {
                return Err(self
                    .fault(expr, format!("the operator `{other}` is not part of the expression language"))
                    .hint("use + - * / %, = <> < <= > >=, BETWEEN, AND, OR, NOT"));
            }
        })
    }

    fn operand(&mut self, expr: &Expr, op: Op, word: &str) -> Result<Lowered, Diagnostic> {
        let lowered = self.expression(expr)?;
        self.expect_operand(expr, &lowered, op, word)?;
        Ok(lowered)
    }

    fn expect_operand(&self, expr: &Expr, value: &Lowered, op: Op, word: &str) -> Result<(), Diagnostic> {
        let ty = if matches!(op, Op::And | Op::Or) { Type::Bool } else { Type::Number };
        self.expect(expr, value, ty, &format!("`{word}`"))
    }

    fn between(
        &mut self,
        expr: &Expr,
        operand: &Expr,
        negated: bool,
        bounds: [&Expr; 2],
    ) -> Result<Lowered, Diagnostic> {
        let value = self.numeric(operand, "BETWEEN")?;
        let low = self.numeric(bounds[0], "BETWEEN")?;
        let high = self.numeric(bounds[1], "BETWEEN")?;
        let above = self.push(expr, Op::Ge, &[value.node, low.node], String::new())?;
        let below = self.push(expr, Op::Le, &[value.node, high.node], String::new())?;
        let word = if negated { "NOT BETWEEN" } else { "BETWEEN" };
        let text = format!("({} {word} {} AND {})", value.text, low.text, high.text);
        let inside = self.push(expr, Op::And, &[above.node, below.node], text.clone())?;
        if negated { self.push(expr, Op::Not, &[inside.node], text) } else { Ok(inside) }
    }

    fn case(
        &mut self,
        expr: &Expr,
        operand: Option<&Expr>,
        arms: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Lowered, Diagnostic> {
        let subject = operand.map(|operand| self.numeric(operand, "CASE")).transpose()?;
        let mut text = subject.as_ref().map_or("CASE".to_owned(), |subject| format!("CASE {}", subject.text));
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for arm in arms {
            let condition = match &subject {
                None => self.boolean(&arm.condition, "WHEN")?,
                Some(subject) => {
                    let value = self.numeric(&arm.condition, "WHEN after CASE x")?;
                    let equal =
                        self.push(&arm.condition, Op::Eq, &[subject.node, value.node], String::new())?;
                    Lowered { node: equal.node, text: value.text }
                }
            };
            let value = self.case_value(&arm.result)?;
            text.push_str(&format!(" WHEN {} THEN {}", condition.text, text_or_null(value.as_ref())));
            conditions.push(condition.node);
            values.push((&arm.result, value));
        }
        let last = match otherwise {
            Some(otherwise) => (otherwise, self.case_value(otherwise)?),
            None => (expr, None),
        };
        text.push_str(&format!(" ELSE {} END", text_or_null(last.1.as_ref())));
        values.push(last);
        let mut types = values.iter().filter_map(|(_, value)| value.as_ref());
        let Some(ty) = types.next().map(|value| self.compiler.builder.node(value.node).ty) else {
            return Err(self.fault(expr, "every value of this CASE is NULL").hint("give at least one value"));
        };
        let undefined = self.undefined(expr, ty)?;
        let mut args = Vec::new();
        for (index, (at, value)) in values.iter().enumerate() {
            if let Some(value) = value {
                self.expect(at, value, ty, "this CASE, by its first value,")?;
            }
            args.extend(conditions.get(index));
            args.push(value.as_ref().map_or(undefined, |value| value.node));
        }
        self.push(expr, Op::Case, &args, text)
    }

    /// A value after THEN or ELSE; `None` is NULL.
    fn case_value(&mut self, expr: &Expr) -> Result<Option<Lowered>, Diagnostic> {
        match expr {
            Expr::Value(value) if value.value == Value::Null => Ok(None),
            other => self.expression(other).map(Some),
        }
    }

    /// The undefined value of a type; the undefined boolean is a comparison with the undefined number.
    fn undefined(&mut self, expr: &Expr, ty: Type) -> Result<NodeId, Diagnostic> {
        let number = self.push(expr, Op::Const(f64::NAN), &[], String::new())?.node;
        match ty {
            Type::Bool => Ok(self.push(expr, Op::Eq, &[number, number], String::new())?.node),
            Type::Number | Type::Bundle => Ok(number),
        }
    }

    fn numeric(&mut self, expr: &Expr, user: &str) -> Result<Lowered, Diagnostic> {
        let lowered = self.expression(expr)?;
        self.expect(expr, &lowered, Type::Number, user)?;
        Ok(lowered)
    }

    fn boolean(&mut self, expr: &Expr, user: &str) -> Result<Lowered, Diagnostic> {
        let lowered = self.expression(expr)?;
        self.expect(expr, &lowered, Type::Bool, user)?;
        Ok(lowered)
    }

    fn expect(&self, expr: &Expr, value: &Lowered, ty: Type, user: &str) -> Result<(), Diagnostic> {
        if self.compiler.builder.node(value.node).ty == ty {
            return Ok(());
        }
        let quoted = shorten(&value.text);
        Err(match ty {
            Type::Bool => self
                .fault(expr, format!("{user} needs a condition, but `{quoted}` is a number"))
                .hint("compare it with something, e.g. with `> 0`"),
            Type::Number | Type::Bundle => self
                .fault(expr, format!("{user} needs a number, but `{quoted}` is a condition (TRUE or FALSE)"))
                .hint("join conditions with AND and OR: a < b AND b < c; turn one into a number with CASE"),
        })
    }

    fn push(&mut self, expr: &Expr, op: Op, args: &[NodeId], text: String) -> Result<Lowered, Diagnostic> {
        match self.compiler.builder.push(op, args, self.frame) {
            Ok(node) => Ok(Lowered { node, text }),
            Err(error) => Err(self.fault(expr, error.to_string())),
        }
    }

    fn is_series(&self, value: &Lowered) -> bool {
        self.compiler.builder.node(value.node).shape == Shape::Series
    }

    fn place(&self, expr: &Expr) -> Place {
        self.excerpt.at_char(self.start(expr))
    }

    /// Index of the character where an expression begins. Chains are walked, because the parser's own spans recurse to
    /// their ends.
    fn start(&self, expr: &Expr) -> usize {
        let mut signs: Vec<String> = Vec::new();
        let mut expr = expr;
        let location = loop {
            expr = match expr {
                Expr::BinaryOp { left, .. } => left,
                Expr::Between { expr, .. } | Expr::IsNull(expr) | Expr::IsNotNull(expr) => expr,
                Expr::InList { expr, .. } => expr,
                Expr::Nested(inner) => inner,
                Expr::UnaryOp { op, expr: inner } => {
                    signs.push(op.to_string());
                    inner
                }
                Expr::Cast { expr, .. } => {
                    signs.push("CAST".to_owned());
                    expr
                }
                Expr::Function(function) => {
                    let name = function.name.0.first();
                    break name.map_or(Location::new(0, 0), |part| part.span().start);
                }
                Expr::Case { case_token, .. } => break case_token.0.span.start,
                other => break other.span().start,
            };
        };
        // Some words have no place in the tree; they stand before their operand.
        let mut index = self.excerpt.char_index(location);
        for sign in signs.iter().rev() {
            index = self.excerpt.find_before(index, sign);
        }
        index
    }

    fn fault(&self, expr: &Expr, message: impl Into<String>) -> Diagnostic {
        self.place(expr).fault(message)
    }

    fn unsupported(&self, expr: &Expr) -> Diagnostic {
        let (what, hint) = match expr {
            Expr::IsNull(_) | Expr::IsNotNull(_) => (
                "IS NULL",
                "a signal is FALSE wherever it is undefined; CASE cannot see undefined values either",
            ),
            Expr::IsTrue(_) | Expr::IsNotTrue(_) | Expr::IsFalse(_) | Expr::IsNotFalse(_) => {
                ("IS TRUE and IS FALSE", "write the condition alone, or NOT before it")
            }
            Expr::InList { .. } | Expr::InSubquery { .. } | Expr::InUnnest { .. } => {
                ("IN", "write x = 1 OR x = 2, or x BETWEEN 1 AND 2")
            }
            Expr::Subquery(_) | Expr::Exists { .. } => {
                ("a query", "use functions of the bars, e.g. highest(high, 20)")
            }
            Expr::Cast { .. } => ("CAST", "numbers and conditions need no casts"),
            Expr::Tuple(_) => {
                ("a list in parentheses", "write one value, or a function before the parenthesis")
            }
            Expr::Floor { .. } | Expr::Ceil { .. } => ("rounding", "compare with BETWEEN, or subtract x % 1"),
            Expr::Interval(_) => ("INTERVAL", "count bars: lag(x, 24); for longer bars write tf('4h', x)"),
            _ => (
                "this form",
                "use names, numbers, operators, BETWEEN, CASE and the functions of the language",
            ),
        };
        self.fault(expr, format!("{what} is not part of the expression language")).hint(hint)
    }
}

fn text_or_null(value: Option<&Lowered>) -> &str {
    value.map_or("NULL", |value| value.text.as_str())
}
