//! Three-valued boolean series as bit words: bar `t` is bit `t % 64` of word `t / 64`.
//!
//! A series has two word vectors, *value* and *defined*. A value bit is set only where the defined bit is, and bits
//! past the last bar are zero in both, so the value words are at once "defined and TRUE": what a signal asks.
//! Nothing here answers a condition with a NaN in it by TRUE or FALSE.

use crate::series::Numbers;

/// A TRUE, FALSE or undefined per bar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits {
    len: usize,
    value: Vec<u64>,
    defined: Vec<u64>,
}

/// Which comparison [`Bits::compare`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// `a > b`.
    Gt,
    /// `a >= b`.
    Ge,
    /// `a = b`; `-0 = 0`.
    Eq,
    /// `a <> b`.
    Ne,
}

impl Bits {
    /// The same answer on `len` bars.
    pub fn constant(len: usize, answer: Option<bool>) -> Bits {
        let words = |set: bool| if set { ones(len) } else { vec![0; len.div_ceil(64)] };
        Bits { len, value: words(answer == Some(true)), defined: words(answer.is_some()) }
    }

    /// `len` answers, bar by bar.
    pub fn from_fn(len: usize, answer: impl Fn(usize) -> Option<bool>) -> Bits {
        let mut bits = Bits::constant(len, None);
        for t in 0..len {
            let (word, bit) = (t / 64, t % 64);
            let answer = answer(t);
            bits.value[word] |= u64::from(answer == Some(true)) << bit;
            bits.defined[word] |= u64::from(answer.is_some()) << bit;
        }
        bits
    }

    /// Compares two series (or a series and a number) of `len` bars; undefined where either is.
    pub fn compare(len: usize, a: Numbers<'_>, b: Numbers<'_>, comparison: Comparison) -> Bits {
        let defined = both_defined(len, a, b);
        let value = match comparison {
            Comparison::Lt => pack2(len, a, b, |x, y| x < y),
            Comparison::Le => pack2(len, a, b, |x, y| x <= y),
            Comparison::Gt => pack2(len, a, b, |x, y| x > y),
            Comparison::Ge => pack2(len, a, b, |x, y| x >= y),
            Comparison::Eq => pack2(len, a, b, |x, y| x == y),
            Comparison::Ne => {
                let equal = pack2(len, a, b, |x, y| x == y);
                defined.iter().zip(equal).map(|(&defined, equal)| defined & !equal).collect()
            }
        };
        Bits { len, value, defined }
    }

    /// `a[t] > b[t]` and `a[t-1] <= b[t-1]`; undefined where any of the four is, so always on bar 0.
    pub fn crosses_above(len: usize, a: Numbers<'_>, b: Numbers<'_>) -> Bits {
        edge(len, pack2(len, a, b, |x, y| x > y), both_defined(len, a, b))
    }

    /// `a[t] < b[t]` and `a[t-1] >= b[t-1]`; undefined where any of the four is, so always on bar 0.
    pub fn crosses_below(len: usize, a: Numbers<'_>, b: Numbers<'_>) -> Bits {
        edge(len, pack2(len, a, b, |x, y| x < y), both_defined(len, a, b))
    }

    /// Conjunction; undefined where any part is. All parts have the same length.
    pub fn and(parts: &[&Bits]) -> Bits {
        Bits::fold(parts, |all, part| all & part)
    }

    /// Disjunction; undefined where any part is. All parts have the same length.
    pub fn or(parts: &[&Bits]) -> Bits {
        Bits::fold(parts, |any, part| any | part)
    }

    /// Negation; undefined stays undefined.
    #[must_use]
    pub fn not(&self) -> Bits {
        let value = self.value.iter().zip(&self.defined).map(|(&value, &defined)| defined & !value).collect();
        Bits { len: self.len, value, defined: self.defined.clone() }
    }

    /// The value behind the first TRUE condition of `branches`, else `otherwise`; undefined where a condition on the
    /// way is. All series have the length of `otherwise`.
    pub fn case(branches: &[(&Bits, &Bits)], otherwise: &Bits) -> Bits {
        let mut out = Bits::constant(otherwise.len, None);
        for word in 0..out.value.len() {
            let mut open = u64::MAX;
            for (condition, then) in branches {
                let taken = open & condition.value[word];
                out.value[word] |= taken & then.value[word];
                out.defined[word] |= taken & then.defined[word];
                open &= condition.defined[word] & !condition.value[word];
            }
            out.value[word] |= open & otherwise.value[word];
            out.defined[word] |= open & otherwise.defined[word];
        }
        out
    }

    /// Number of bars.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no bar.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The answer on bar `t`; `None` where undefined, also past the end.
    pub fn get(&self, t: usize) -> Option<bool> {
        let read = |words: &[u64]| words.get(t / 64).is_some_and(|word| word >> (t % 64) & 1 == 1);
        read(&self.defined).then(|| read(&self.value))
    }

    /// Words of the bars that are defined and TRUE.
    pub fn value_words(&self) -> &[u64] {
        &self.value
    }

    /// Words of the bars that are defined.
    pub fn defined_words(&self) -> &[u64] {
        &self.defined
    }

    /// The first bar at or after `from` that is defined and TRUE.
    pub fn next_true(&self, from: usize) -> Option<usize> {
        next_set(self.value.len(), from, |word| self.value[word])
    }

    /// Memory of the words.
    pub(crate) fn bytes(&self) -> usize {
        (self.value.len() + self.defined.len()) * size_of::<u64>()
    }

    fn fold(parts: &[&Bits], join: impl Fn(u64, u64) -> u64) -> Bits {
        let Some((&first, rest)) = parts.split_first() else { return Bits::default() };
        let mut out = first.clone();
        for part in rest {
            for (mine, &other) in out.value.iter_mut().zip(&part.value) {
                *mine = join(*mine, other);
            }
            for (mine, &other) in out.defined.iter_mut().zip(&part.defined) {
                *mine &= other;
            }
        }
        for (value, &defined) in out.value.iter_mut().zip(&out.defined) {
            *value &= defined;
        }
        out
    }
}

/// The first set bit at or after `from` among `words` words read through `word`.
#[inline]
pub(crate) fn next_set(words: usize, from: usize, word: impl Fn(usize) -> u64) -> Option<usize> {
    let mut index = from / 64;
    if index >= words {
        return None;
    }
    let mut current = word(index) & (u64::MAX << (from % 64));
    while current == 0 {
        index += 1;
        if index >= words {
            return None;
        }
        current = word(index);
    }
    Some(index * 64 + current.trailing_zeros() as usize)
}

/// Sets the bits of `range`.
pub(crate) fn set_range(words: &mut [u64], range: std::ops::Range<usize>) {
    if range.is_empty() {
        return;
    }
    let (first, last) = (range.start / 64, (range.end - 1) / 64);
    let (head, tail) = (u64::MAX << (range.start % 64), u64::MAX >> (63 - (range.end - 1) % 64));
    if first == last {
        words[first] |= head & tail;
        return;
    }
    words[first] |= head;
    words[first + 1..last].fill(u64::MAX);
    words[last] |= tail;
}

/// All `len` bits set, those past the end zero.
fn ones(len: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; len.div_ceil(64)];
    if let Some(last) = words.last_mut()
        && !len.is_multiple_of(64)
    {
        *last = (1 << (len % 64)) - 1;
    }
    words
}

/// A condition that has just become TRUE after having been FALSE: `now[t]` and defined but not `now` at `t - 1`.
fn edge(len: usize, now: Vec<u64>, defined: Vec<u64>) -> Bits {
    let mut value = Vec::with_capacity(now.len());
    let mut both = Vec::with_capacity(now.len());
    let (mut was_false, mut was_defined) = (0, 0);
    for (&now, &defined) in now.iter().zip(&defined) {
        let is_false = defined & !now;
        value.push(now & (is_false << 1 | was_false >> 63));
        both.push(defined & (defined << 1 | was_defined >> 63));
        (was_false, was_defined) = (is_false, defined);
    }
    Bits { len, value, defined: both }
}

fn both_defined(len: usize, a: Numbers<'_>, b: Numbers<'_>) -> Vec<u64> {
    let scalar = |value: f64| if value.is_nan() { vec![0; len.div_ceil(64)] } else { ones(len) };
    match (a, b) {
        (Numbers::Series(a), Numbers::Series(b)) => {
            a.defined_words().iter().zip(b.defined_words()).map(|(a, b)| a & b).collect()
        }
        (Numbers::Series(series), Numbers::Scalar(value))
        | (Numbers::Scalar(value), Numbers::Series(series)) => {
            if value.is_nan() {
                vec![0; len.div_ceil(64)]
            } else {
                series.defined_words().to_vec()
            }
        }
        (Numbers::Scalar(a), Numbers::Scalar(b)) => scalar(a + b),
    }
}

/// The words of a test of one series.
pub(crate) fn pack1(values: &[f64], test: impl Fn(f64) -> bool) -> Vec<u64> {
    let (blocks, tail) = values.as_chunks::<64>();
    let mut words = Vec::with_capacity(values.len().div_ceil(64));
    words.extend(blocks.iter().map(|block| pack_block(|i| test(block[i]))));
    if !tail.is_empty() {
        words.push(pack_tail(tail.len(), |i| test(tail[i])));
    }
    words
}

/// The words of a test of two operands. A comparison with a NaN is false, so undefined bars give a zero bit.
fn pack2(len: usize, a: Numbers<'_>, b: Numbers<'_>, test: impl Fn(f64, f64) -> bool) -> Vec<u64> {
    match (a, b) {
        (Numbers::Series(a), Numbers::Series(b)) => {
            let (a_blocks, a_tail) = a.as_chunks::<64>();
            let (b_blocks, b_tail) = b.as_chunks::<64>();
            let mut words = Vec::with_capacity(len.div_ceil(64));
            words.extend(a_blocks.iter().zip(b_blocks).map(|(a, b)| pack_block(|i| test(a[i], b[i]))));
            if !a_tail.is_empty() {
                words.push(pack_tail(a_tail.len().min(b_tail.len()), |i| test(a_tail[i], b_tail[i])));
            }
            words
        }
        (Numbers::Series(a), Numbers::Scalar(b)) => pack1(a, |x| test(x, b)),
        (Numbers::Scalar(a), Numbers::Series(b)) => pack1(b, |y| test(a, y)),
        (Numbers::Scalar(a), Numbers::Scalar(b)) if test(a, b) => ones(len),
        (Numbers::Scalar(_), Numbers::Scalar(_)) => vec![0; len.div_ceil(64)],
    }
}

#[inline(always)]
fn pack_block(test: impl Fn(usize) -> bool) -> u64 {
    let mut word = 0;
    for i in 0..64 {
        word |= u64::from(test(i)) << i;
    }
    word
}

fn pack_tail(len: usize, test: impl Fn(usize) -> bool) -> u64 {
    (0..len).fold(0, |word, i| word | u64::from(test(i)) << i)
}
